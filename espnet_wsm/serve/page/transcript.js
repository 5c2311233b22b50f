// The utterances of one recording: shown, played, marked and corrected.

import { realign } from "./words.js";

export function format_time(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const tail = `${String(whole % 60).padStart(2, "0")}`;
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

export class Transcript {
  constructor(list, audio, segments, threshold, on_change) {
    Object.assign(this, { list, audio, segments, threshold, on_change });
    this.rows = segments.map((_, place) => this.make_row(place));
    list.replaceChildren(...this.rows);
    audio.addEventListener("play", () => this.follow_sound());
    audio.addEventListener("seeked", () => this.show_now());
  }

  make_row(place) {
    const row = document.getElementById("utterance").content.cloneNode(true).firstElementChild;
    const time = row.querySelector(".time");
    time.textContent = format_time(this.segments[place].start);
    time.setAttribute("aria-label", `Play from ${time.textContent}`);
    time.addEventListener("click", () => this.play(this.segments[place].start));
    row.querySelector(".edit").addEventListener("click", () => this.edit(place));
    row.querySelector(".edit").setAttribute("aria-label", `Edit the utterance at ${time.textContent}`);
    const text = row.querySelector(".text");
    text.addEventListener("click", (event) => event.target.word && this.play(event.target.word.start));
    text.addEventListener("dblclick", (event) => this.edit(place, event.target.word));
    text.addEventListener("keydown", (event) => this.on_key(event, place));
    this.fill(row, place);
    return row;
  }

  fill(row, place) {
    const text = row.querySelector(".text");
    const words = this.segments[place].words ?? [];
    const shown = words.map((word, number) => {
      const span = document.createElement("span");
      span.className = "word";
      span.textContent = word.text;
      span.word = word;
      span.tabIndex = number ? -1 : 0;
      span.setAttribute("role", "button");
      this.mark(span);
      return span;
    });
    if (shown.length) text.replaceChildren(...shown.flatMap((span) => [span, " "]));
    else text.textContent = "no text";
    text.classList.toggle("empty", !shown.length);
  }

  mark(span) {
    const { text, confidence } = span.word;
    const known = confidence != null;
    const doubtful = known && confidence < this.threshold;
    span.classList.toggle("doubtful", doubtful);
    const sure = known ? `confidence ${confidence.toFixed(2)}` : "corrected";
    span.title = sure;
    span.setAttribute("aria-label", `${text}, ${sure}${doubtful ? ", doubtful" : ""}`);
  }

  set_threshold(threshold) {
    this.threshold = threshold;
    this.list.querySelectorAll(".word").forEach((span) => this.mark(span));
  }

  get doubtful() {
    return [...this.list.querySelectorAll(".word.doubtful")];
  }

  // To the next doubtful word behind the one that was visited last.
  visit_next() {
    const all = this.doubtful;
    if (!all.length) return;
    const behind = (span) => this.visited?.compareDocumentPosition(span) & Node.DOCUMENT_POSITION_FOLLOWING;
    const next = all.find((span) => this.visited?.isConnected && behind(span)) ?? all[0];
    this.focus(next);
    next.scrollIntoView({ block: "center" });
    this.play(next.word.start);
  }

  focus(span) {
    this.visited = span;
    span.parentElement.querySelectorAll(".word").forEach((one) => (one.tabIndex = one === span ? 0 : -1));
    span.focus({ preventScroll: true });
  }

  on_key(event, place) {
    const span = event.target;
    if (!span.word || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const line = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" || event.key === " ") this.play(span.word.start);
    else if (event.key === "e" || event.key === "E" || event.key === "F2") this.edit(place, span.word);
    else if (step) {
      const all = [...this.list.querySelectorAll(".word")];
      const turn = getComputedStyle(span.parentElement).direction === "rtl" ? -step : step;
      const next = all[all.indexOf(span) + turn];
      if (next) this.focus(next);
    } else if (line) {
      const next = this.rows[place + line]?.querySelector(".word");
      if (next) this.focus(next);
    } else return;
    event.preventDefault();
  }

  edit(place, word) {
    const row = this.rows[place];
    if (row.querySelector("textarea")) return;
    this.audio.pause();
    const segment = this.segments[place];
    const text = row.querySelector(".text");
    const field = document.createElement("textarea");
    field.dir = "auto";
    field.rows = 1;
    field.value = segment.text;
    field.setAttribute("aria-label", `Text at ${format_time(segment.start)}; Enter keeps it, Escape does not`);
    const fit = () => {
      field.style.height = "auto";
      field.style.height = `${field.scrollHeight}px`;
    };
    let open = true;
    const close = (keep) => {
      if (!open) return;
      open = false;
      if (keep && field.value.trim().split(/\s+/).join(" ") !== segment.text) {
        this.segments[place] = realign(segment, field.value);
        row.classList.add("corrected");
        this.fill(row, place);
        this.on_change();
      }
      field.replaceWith(text);
      text.hidden = false;
    };
    field.addEventListener("input", fit);
    field.addEventListener("blur", () => close(true));
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
      event.preventDefault();
      if (event.key === "Enter" && event.ctrlKey) return this.play(segment.start);
      close(event.key === "Enter");
      const first = text.querySelector(".word");
      if (first) this.focus(first);
      else row.querySelector(".edit").focus();
    });
    text.before(field);
    text.hidden = true;
    fit();
    field.focus();
    const words = segment.words ?? [];
    const number = word ? words.indexOf(word) : -1;
    const start = words.slice(0, Math.max(number, 0)).reduce((sum, one) => sum + one.text.length + 1, 0);
    if (number >= 0) field.setSelectionRange(start, start + word.text.length);
    else field.setSelectionRange(field.value.length, field.value.length);
  }

  play(seconds) {
    this.audio.currentTime = seconds;
    this.audio.play().catch(() => null); // what cannot be played is said beside the player
  }

  follow_sound() {
    const look = () => {
      this.show_now();
      if (!this.audio.paused) requestAnimationFrame(look);
    };
    look();
  }

  show_now() {
    const now = this.audio.currentTime;
    const place = this.segments.findLastIndex((segment) => segment.start <= now);
    const spans = place < 0 ? [] : [...this.rows[place].querySelectorAll(".word")];
    const span = spans.find(({ word }) => word.start <= now && now < word.end) ?? null;
    if (span === this.now) return;
    this.now?.classList.remove("now");
    span?.classList.add("now");
    this.now = span;
  }

  // Utterances as they are now; those without text are left out.
  get spoken() {
    return this.segments.filter((segment) => segment.text.trim());
  }
}
