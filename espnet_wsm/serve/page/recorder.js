// The microphone as a wav file of 16 bits, uncompressed: it may become training data.

export function encode_wav(blocks, rate) {
  const count = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const write = (place, text) => [...text].forEach((sign, k) => view.setUint8(place + k, sign.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, 2 * count, true);
  let place = 44;
  for (const block of blocks) {
    for (const sample of block) {
      view.setInt16(place, Math.max(-32768, Math.min(32767, Math.round(32768 * sample))), true);
      place += 2;
    }
  }
  return view.buffer;
}

export class Recorder {
  // on_level is called with the peak of each block and the seconds so far, on_block with its samples and
  // their rate.
  async start(on_level, on_block) {
    const sound = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: sound });
    try {
      this.context = new AudioContext();
      await this.context.audioWorklet.addModule("capture.js");
      const options = { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" };
      this.node = new AudioWorkletNode(this.context, "capture", options);
    } catch (error) {
      await this.close();
      throw error;
    }
    this.blocks = [];
    let samples = 0;
    this.node.port.onmessage = ({ data }) => {
      this.blocks.push(data);
      samples += data.length;
      on_block(data, this.context.sampleRate);
      on_level(data.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0), samples / this.context.sampleRate);
    };
    this.context.createMediaStreamSource(this.stream).connect(this.node);
  }

  async stop() {
    const content = encode_wav(this.blocks, this.context.sampleRate);
    await this.close();
    const time = new Date(Date.now() - 60000 * new Date().getTimezoneOffset()).toISOString();
    const name = `recording ${time.slice(0, 10)} ${time.slice(11, 19).replaceAll(":", ".")}.wav`;
    return new File([content], name, { type: "audio/wav" });
  }

  async close() {
    this.stream.getTracks().forEach((track) => track.stop());
    if (this.context) await this.context.close();
  }
}
