// A recording, from the file to what is kept of it.

import * as server from "./server.js";
import { Transcript, format_time } from "./transcript.js";

export class Card {
  constructor(file, settings) {
    Object.assign(this, { file, settings, id: null, transcript: null, unsaved: false, removed: false });
    this.element = document.getElementById("card").content.cloneNode(true).firstElementChild;
    this.find = (selector) => this.element.querySelector(selector);
    this.find("h2").textContent = file.name;
    this.element.setAttribute("aria-label", file.name);
    this.find(".remove").setAttribute("aria-label", `Remove ${file.name}`);
    this.find(".remove").addEventListener("click", () => this.remove());
    this.run();
  }

  async run() {
    this.say("Waiting to be sent", 0);
    try {
      if (this.file.size > this.settings.max_megabytes * 1e6) {
        throw new Error(`It has more than ${this.settings.max_megabytes} MB: send a shorter recording or a compressed one.`);
      }
      if (!this.file.size) throw new Error("The file is empty: choose another one.");
      const job = await server.send_recording(this.file, (...said) => this.say(...said), () => !this.removed);
      if (job === null) return;
      this.id = job.id;
      if (this.removed) return server.forget(this.id);
      server.follow(this.id, (news) => this.on_news(news));
    } catch (error) {
      this.fail(error.message);
    }
  }

  async on_news({ state, before, progress, message }) {
    if (state === "waiting") {
      this.say(before === 1 ? "Waiting: one recording before it" : before ? `Waiting: ${before} recordings before it` : "Waiting");
    } else if (state === "working") {
      this.say(progress ? `Transcribing, ${Math.round(100 * progress)} %` : "Transcribing", progress || undefined);
    } else if (state === "silent") {
      this.say(message);
    } else if (state === "done") {
      try {
        this.annotations = await server.read_result(this.id);
        server.forget(this.id);
        this.id = null;
        this.show();
      } catch (error) {
        this.fail(error.message);
      }
    } else {
      this.fail(state === "unknown" ? "The server knows nothing of it any more: add it again." : message);
    }
  }

  say(sentence, share) {
    this.find(".say").textContent = sentence;
    const bar = this.find("progress");
    if (share === undefined) bar.removeAttribute("value");
    else bar.value = share;
  }

  fail(sentence) {
    this.find("progress").hidden = true;
    this.find(".state").classList.add("failed");
    this.find(".say").textContent = sentence;
  }

  show() {
    const { annotations } = this;
    const audio = this.find("audio");
    this.address = URL.createObjectURL(this.file);
    audio.src = this.address;
    audio.setAttribute("aria-label", `Player of ${this.file.name}`);
    audio.addEventListener("error", () => {
      audio.hidden = true;
      this.find(".unplayable").hidden = false;
    });
    this.find(".length").textContent = format_time(annotations.duration);
    const [tier] = annotations.tiers;
    const silent = !tier.segments.length;
    const segments = silent ? [{ start: 0, end: annotations.duration, text: "", words: [] }] : tier.segments;
    this.find(".state").hidden = !silent;
    this.find("progress").hidden = true;
    this.find(".say").textContent = silent ? "No speech was found. What is said can be written by hand." : "";
    this.find(".result").hidden = false;
    this.transcript = new Transcript(this.find(".utterances"), audio, segments, this.settings.threshold, () => {
      this.unsaved = true;
      this.count_doubtful();
    });
    const slider = this.find(".threshold");
    slider.addEventListener("input", () => this.set_threshold(Number(slider.value)));
    this.find(".next").addEventListener("click", () => this.transcript.visit_next());
    this.set_threshold(this.settings.threshold);
    this.offer_files();
    if (this.settings.corpus) this.offer_corpus();
  }

  set_threshold(threshold) {
    this.find(".threshold").value = threshold;
    this.find("output").textContent = threshold.toFixed(2);
    this.transcript.set_threshold(threshold);
    this.count_doubtful();
  }

  count_doubtful() {
    const count = this.transcript.doubtful.length;
    const button = this.find(".next");
    button.disabled = !count;
    button.textContent = count ? `Next of ${count} doubtful word${count > 1 ? "s" : ""}` : "No doubtful words";
  }

  offer_files() {
    const buttons = this.settings.formats.map(({ name, suffix }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = suffix.slice(1);
      button.dataset.format = name;
      button.setAttribute("aria-label", `Download as ${suffix.slice(1)}`);
      button.addEventListener("click", () => this.attempt(button, () => this.download(name)));
      return button;
    });
    this.find(".formats").replaceChildren(...buttons);
  }

  // The annotations with what has been corrected.
  get corrected() {
    const [tier] = this.annotations.tiers;
    const speaker = this.find("[name=speaker]").value.trim();
    return { ...this.annotations, tiers: [{ ...tier, ...(speaker && { speaker }), segments: this.transcript.spoken }] };
  }

  async download(format) {
    const { name, content } = await server.write_file(format, this.corrected);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    this.unsaved = false;
  }

  offer_corpus() {
    const form = this.find(".corpus");
    form.hidden = false;
    this.find(".where").textContent = `Stores the recording and its text in ${this.settings.corpus}${server.is_local() ? "" : ` of ${location.hostname}`}.`;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.attempt(form.querySelector("[type=submit]"), () => this.add());
    });
    this.find(".copy").addEventListener("click", () => navigator.clipboard?.writeText(this.find("pre").textContent));
    this.find(".copy").hidden = !navigator.clipboard;
  }

  async add() {
    const added = await server.add_to_corpus(this.file, this.corrected, this.find("[name=speaker]").value);
    const many = (count) => (count === 1 ? "one utterance" : `${count} utterances`);
    const replaced = added.replaced ? `, in place of ${many(added.replaced)} of this recording` : "";
    this.find(".added p").textContent = `Added ${many(added.utterances)}${replaced}. The corpus has ${many(added.total)}.`;
    this.find("pre").textContent = added.commands.join("\n");
    this.find(".added").hidden = false;
    this.unsaved = false;
  }

  async attempt(button, action) {
    const trouble = this.find(".trouble");
    trouble.hidden = true;
    button.disabled = true;
    try {
      await action();
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    }
    button.disabled = false;
  }

  remove() {
    if (this.unsaved && !confirm("Its corrections have not been downloaded. Remove it all the same?")) return;
    this.give_up();
    if (this.address) URL.revokeObjectURL(this.address);
    this.element.remove();
  }

  give_up() {
    this.removed = true;
    if (this.id) server.forget(this.id);
  }
}
