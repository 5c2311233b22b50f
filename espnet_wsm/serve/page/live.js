// The text of a recording while it is made: samples go out over a WebSocket, text comes back.

import { is_local } from "./server.js";

const MOST_WAITING = 4_000_000; // bytes that are not sent yet: a connection this slow gets no more

export class Live {
  // show is called with the text that is final and with what may change; tell with a sentence, or "".
  constructor(rate, show, tell) {
    this.final = "";
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(`${scheme}//${location.host}/api/live?rate=${rate}`);
    this.socket.binaryType = "arraybuffer";
    this.waiting = []; // blocks from before it is open
    this.socket.onopen = () => {
      this.waiting.forEach((block) => this.socket.send(block));
      this.waiting = [];
    };
    this.socket.onmessage = ({ data }) => {
      const update = JSON.parse(data);
      for (const word of update.words) this.final += this.final && !this.final.endsWith("\n") ? ` ${word.text}` : word.text;
      if (update.ends_utterance && this.final) this.final += "\n";
      const space = this.final && !this.final.endsWith("\n") && (update.begun || update.tail) ? " " : "";
      show(this.final + space + update.begun, update.tail);
      const where = is_local() ? "This computer" : "The server";
      tell(update.behind ? `${where} cannot keep up: the text is ${Math.round(update.behind)} s late. The recording is whole.` : "");
    };
    this.socket.onclose = ({ code, reason }) => {
      this.is_over = true;
      if (code !== 1000 && code !== 1005) tell(`No text while you speak${reason ? `: ${reason}` : ""}. The recording goes on.`);
    };
  }

  send(samples) {
    const block = Int16Array.from(samples, (sample) => Math.max(-32768, Math.min(32767, Math.round(32768 * sample))));
    if (this.is_over) return;
    if (this.socket.readyState === WebSocket.CONNECTING) this.waiting.push(block);
    else if (this.socket.bufferedAmount < MOST_WAITING) this.socket.send(block);
  }

  close() {
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
  }
}
