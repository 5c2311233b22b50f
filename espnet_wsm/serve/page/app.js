// The page: where recordings come from.

import { Card } from "./card.js";
import { Live } from "./live.js";
import { Recorder } from "./recorder.js";
import { is_local, read_settings } from "./server.js";
import { format_time } from "./transcript.js";

const find = (id) => document.getElementById(id);
const cards = [];
const asked = read_settings();
let recorder = null;
let live = null;

function notify(sentence) {
  find("notice").textContent = sentence;
  find("notice").hidden = !sentence;
}

async function add(files) {
  notify("");
  const chosen = [...files]; // the list is emptied meanwhile
  const settings = await asked;
  for (const file of chosen) {
    const card = new Card(file, settings);
    cards.push(card);
    find("cards").prepend(card.element);
  }
}

function show_settings(settings) {
  find("model").textContent = settings.model;
  find("model").title = `Model ${settings.model}`;
  find("limits").textContent = `wav, flac, mp3, ogg and more; up to ${settings.max_minutes} minutes and ${settings.max_megabytes} MB`;
  const where = is_local() ? "Recordings do not leave this computer." : `Recordings are sent to ${location.hostname} and nowhere else.`;
  const kept = settings.corpus
    ? `They are removed once they are transcribed; only what you add to the corpus is stored, in ${settings.corpus}.`
    : "They are removed once they are transcribed; nothing is stored. Corrections are in this page alone until you download them.";
  find("stored").textContent = `${where} ${kept}`;
}

function watch_files() {
  find("choose_files").addEventListener("click", () => find("files").click());
  find("files").addEventListener("change", (event) => {
    add(event.target.files);
    event.target.value = "";
  });
  let inside = 0;
  const show = (change) => {
    inside = Math.max(0, inside + change);
    find("drop").classList.toggle("over", inside > 0);
  };
  document.addEventListener("dragenter", () => show(1));
  document.addEventListener("dragleave", () => show(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    show(-inside);
    add(event.dataTransfer.files);
  });
}

function show_live(final, tail) {
  find("final").textContent = final;
  find("tail").textContent = tail;
  find("live").scrollTop = find("live").scrollHeight;
}

function hear(samples, rate) {
  live ??= new Live(rate, show_live, (sentence) => (find("late").textContent = sentence));
  live.send(samples);
}

function show_recording(is_on) {
  if (!is_on) {
    live?.close();
    live = null;
    show_live("", "");
    find("late").textContent = "";
  }
  find("recording").hidden = !is_on;
  find("choose").hidden = is_on;
  find(is_on ? "stop" : "record").focus();
}

function watch_microphone() {
  if (!navigator.mediaDevices) {
    find("record").disabled = true;
    find("record").title = "Browsers open the microphone on this computer's own pages and over https only.";
    return;
  }
  find("record").addEventListener("click", async () => {
    notify("");
    const starting = new Recorder();
    try {
      await starting.start((peak, seconds) => {
        find("level").value = Math.sqrt(peak);
        find("recorded").textContent = format_time(seconds);
      }, hear);
      recorder = starting;
      show_recording(true);
    } catch (error) {
      notify(
        error.name === "NotAllowedError"
          ? "The browser may not use the microphone: allow it beside the address."
          : `The microphone cannot be used: ${error.message}`,
      );
    }
  });
  find("stop").addEventListener("click", async () => {
    const file = await recorder.stop();
    show_recording(false);
    add([file]);
  });
  find("discard").addEventListener("click", async () => {
    await recorder.close();
    show_recording(false);
  });
}

addEventListener("beforeunload", (event) => {
  if (cards.some((card) => card.unsaved && !card.removed)) event.preventDefault();
});
addEventListener("pagehide", () => cards.forEach((card) => card.give_up()));

watch_files();
watch_microphone();
asked.then(show_settings, (error) => notify(error.message));
