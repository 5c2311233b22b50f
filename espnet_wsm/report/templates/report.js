"use strict";
// Shows the utterances of the page's data: sorted, filtered, a page at a time, with a player. Texts and ids are
// only ever put in as text.
(() => {
  const PAGE = 50;
  const MOST_SPEAKERS = 500; // in a list to choose from; the text filter finds any
  const WORDS = { S: "substituted", D: "deleted", I: "inserted" };
  const LOOKS = { C: "", S: "sub", D: "del", I: "ins" };

  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("data").textContent);
  const two = data.badges.length > 1;
  const audio = at("audio");

  // make(tag, attributes, children): an element; children are elements and texts.
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  const fold = (text) => text.normalize("NFC").toLowerCase();
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  const percent = (rate) => rate.toFixed(1);

  const rows = data.utterances.map((utterance) => {
    const speaker = data.speakers[utterance.speaker];
    const texts = [utterance.reference, ...utterance.systems.map((system) => system.hypothesis)];
    const between = data.unit === "word" ? " " : "";
    return {
      ...utterance,
      speaker,
      cer: utterance.systems.map((one) => (100 * one.characterErrors) / utterance.characters),
      errors: utterance.systems.map((one) => one.steps.replaceAll("C", "").length),
      changed: two && utterance.systems[0].hypothesis.join(" ") !== utterance.systems[1].hypothesis.join(" "),
      searched: fold([utterance.id, speaker, ...texts.map((text) => text.join(between))].join("\n")),
    };
  });

  // What can be sorted by; `shown` are columns of the table, the others are in the list alone.
  const known = (name) => rows.some((row) => row[name] !== undefined);
  const sure = rows.some((row) => row.systems.some((one) => one.confidence !== undefined));
  const columns = [{ key: "id", title: "Utterance", shown: true, text: true, value: (row) => row.id }];
  for (const [number, badge] of data.badges.entries()) {
    const name = (title) => (badge ? `${badge}: ${title}` : title);
    columns.push({ key: `errors${number}`, title: name("Errors"), shown: !two, value: (row) => row.errors[number] });
    columns.push({ key: `cer${number}`, title: name("CER %"), shown: true, value: (row) => row.cer[number], show: percent });
    if (sure) {
      const show = (value) => value.toFixed(2);
      columns.push({ key: `confidence${number}`, title: name("Confidence"), shown: !two, value: (row) => row.systems[number].confidence, show });
    }
  }
  if (two) {
    const show = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(1)}`;
    columns.push({ key: "difference", title: "A − B", shown: true, value: (row) => row.cer[0] - row.cer[1], show });
  }
  if (known("seconds")) {
    columns.push({ key: "seconds", title: "Seconds", shown: true, value: (row) => row.seconds, show: (value) => value.toFixed(1) });
  }

  const state = { key: two ? "difference" : "errors0", down: true, page: 0, pair: null, playing: null, system: 0 };
  let found = [];
  let words = new Map(); // row -> its words on this page, by system
  const numbers = new Map(rows.map((row, number) => [row, number]));

  function find() {
    const text = fold(at("text").value.trim());
    const only = at("only").value;
    const set = at("set").value;
    const speaker = at("speaker").value;
    found = rows.filter(
      (row) =>
        (!text || row.searched.includes(text)) &&
        (!set || data.sets[row.set] === set) &&
        (!speaker || row.speaker === data.speakers[Number(speaker)]) &&
        (only !== "errors" || row.errors.some(Boolean)) &&
        (only !== "changed" || row.changed) &&
        (!state.pair || holds(row, state.pair)),
    );
    const column = columns.find((one) => one.key === state.key);
    const direction = state.down ? -1 : 1;
    found.sort((one, other) => {
      const [x, y] = [column.value(one), column.value(other)];
      if (x === y) return numbers.get(one) - numbers.get(other);
      if (x === undefined || y === undefined) return x === undefined ? 1 : -1; // what is not known comes last
      return (x < y ? -1 : 1) * direction;
    });
  }

  // The alignment: one column a token of the reference, and between them those of what was inserted.
  function align(row) {
    const sides = row.systems.map((system) => {
      const kept = [];
      const inserted = [[]];
      let place = 0;
      for (const step of system.steps) {
        if (step === "I") {
          inserted.at(-1).push({ step, place: place++ });
        } else {
          kept.push({ step, place: step === "D" ? null : place++ });
          inserted.push([]);
        }
      }
      return { kept, inserted };
    });
    const aligned = [];
    for (let i = 0; i <= row.reference.length; i++) {
      const most = Math.max(...sides.map((side) => side.inserted[i].length));
      for (let k = 0; k < most; k++) {
        aligned.push({ reference: null, cells: sides.map((side) => side.inserted[i][k] ?? null) });
      }
      if (i < row.reference.length) {
        aligned.push({ reference: row.reference[i], cells: sides.map((side) => side.kept[i]) });
      }
    }
    return aligned;
  }
  const said = (row, system, cell) => (cell && cell.place !== null ? row.systems[system].hypothesis[cell.place] : "");

  function holds(row, pair) {
    return align(row).some(({ reference, cells }) =>
      cells.some(
        (cell, system) =>
          cell && cell.step !== "C" && (reference ?? "") === pair.reference && said(row, system, cell) === pair.hypothesis,
      ),
    );
  }

  function showToken(row, system, cell, first) {
    if (!cell) return make("span", {}, "\u00a0");
    const token = said(row, system, cell);
    const look = LOOKS[cell.step];
    const aside = WORDS[cell.step] ? make("span", { class: "hidden" }, ` (${WORDS[cell.step]})`) : null;
    if (cell.step === "D") return make("span", { class: "nothing" }, "·", aside);
    const one = row.systems[system];
    const start = one.starts?.[cell.place];
    const confidence = one.confidences?.[cell.place];
    const told = [];
    if (start !== undefined) told.push(`${start.toFixed(2)} s`);
    if (confidence !== undefined && confidence !== null) told.push(`confidence ${confidence.toFixed(2)}`);
    const attributes = { class: look, dir: "auto", title: told.join(", ") || null };
    if (start === undefined || !row.audio) return make("span", attributes, token, aside);
    const button = make("button", { ...attributes, class: `word ${look}`, type: "button", tabindex: first ? 0 : -1 }, token, aside);
    button.addEventListener("click", () => play(row, start, system));
    return button;
  }

  function showText(row) {
    const box = make("div", {
      class: `aligned${data.unit === "character" ? " characters" : ""}`,
      dir: row.rtl ? "rtl" : "ltr",
    });
    const names = two ? data.badges : ["hyp"];
    box.append(make("div", { class: "column labels", "aria-hidden": "true" }, ...["ref", ...names].map((name) => make("span", {}, name))));
    const lines = row.systems.map(() => []);
    for (const { reference, cells } of align(row)) {
      const gone = cells.some((cell) => cell?.step === "D");
      const changed = two && said(row, 0, cells[0]) !== said(row, 1, cells[1]);
      const column = make("div", { class: changed ? "column changed" : "column" });
      column.append(
        reference === null
          ? make("span", { class: "reference" }, "\u00a0")
          : make("span", { class: gone ? "reference del" : "reference", dir: "auto" }, reference),
      );
      cells.forEach((cell, system) => {
        const token = showToken(row, system, cell, !lines[system].length);
        if (token.tagName === "BUTTON") lines[system].push(token);
        column.append(token);
      });
      box.append(column);
    }
    if (row.systems.every((one) => !one.hypothesis.length)) box.append(make("span", { class: "nothing" }, "nothing was recognised"));
    words.set(row, lines);
    return box;
  }

  function icon(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 12 12");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", name === "play" ? "M2.5 1v10l8-5z" : "M2 1h3v10H2zM7 1h3v10H7z");
    svg.append(path);
    return svg;
  }

  function showRow(row) {
    const button = make("button", { class: "play", type: "button", "aria-label": `Play ${row.id}`, "data-row": numbers.get(row) }, icon("play"));
    button.addEventListener("click", () => {
      if (state.playing === row && !audio.paused) audio.pause();
      else play(row, state.playing === row ? null : 0, state.system);
    });
    const about = data.sets.length > 1 ? data.sets[row.set] : "";
    const speaker = data.speakers.length > 1 && row.speaker !== row.id ? make("bdi", {}, row.speaker) : null;
    const who = make("td", { class: "who", role: "cell" }, make("bdi", {}, row.id), make("span", { class: "muted" }, about, about && speaker ? " · " : "", speaker));
    const line = make("tr", { role: "row" }, make("td", { role: "cell" }, row.audio ? button : null), who);
    line.append(make("td", { class: "said", role: "cell" }, showText(row)));
    for (const column of columns.filter((one) => one.shown && !one.text)) {
      const value = column.value(row);
      const text = value === undefined ? "–" : column.show ? column.show(value) : String(value);
      line.append(make("td", { class: "number", role: "cell", "data-label": column.title }, text));
    }
    return line;
  }

  function showHead() {
    const cells = [make("th", { role: "columnheader", scope: "col" }, make("span", { class: "hidden" }, "Play"))];
    for (const column of columns.filter((one) => one.shown)) {
      const sorted = column.key === state.key;
      const mark = make("span", { class: "mark", "aria-hidden": "true" }, sorted ? (state.down ? "↓" : "↑") : "");
      const button = make("button", { type: "button" }, column.title, mark);
      button.addEventListener("click", () => {
        sortBy(column.key, sorted ? !state.down : !column.text);
        at("head").querySelector(`[data-key="${column.key}"] button`).focus();
      });
      const order = sorted ? (state.down ? "descending" : "ascending") : null;
      cells.push(make("th", { role: "columnheader", scope: "col", "aria-sort": order, "data-key": column.key }, button));
      if (column.key === "id") cells.push(make("th", { role: "columnheader", scope: "col" }, "Text"));
    }
    at("head").replaceChildren(...cells);
    at("sort").value = state.key;
    at("order").textContent = state.down ? "Descending ↓" : "Ascending ↑";
  }

  function show() {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const first = state.page * PAGE;
    const shown = found.slice(first, first + PAGE);
    words = new Map();
    at("rows").replaceChildren(...shown.map(showRow));
    const all = found.length === rows.length ? "" : ` of ${rows.length.toLocaleString("en")}`;
    at("count").textContent = found.length === rows.length ? count(rows.length, "utterance") : `${found.length.toLocaleString("en")}${all} utterances`;
    at("place").textContent = `${shown.length ? first + 1 : 0} to ${first + shown.length}`;
    at("previous").disabled = state.page === 0;
    at("next").disabled = state.page >= pages - 1;
    showChip();
    follow();
  }

  function showChip() {
    const { pair } = state;
    if (!pair) return at("chips").replaceChildren();
    const text = pair.reference && pair.hypothesis ? `${pair.reference} → ${pair.hypothesis}` : pair.reference ? `deleted: ${pair.reference}` : `inserted: ${pair.hypothesis}`;
    const chip = make("button", { class: "chip", type: "button", "aria-label": `Remove the filter ${text}` }, make("bdi", {}, text), " ✕");
    chip.addEventListener("click", () => {
      state.pair = null;
      refresh();
      at("text").focus();
    });
    return at("chips").replaceChildren(chip);
  }

  function refresh() {
    state.page = 0;
    find();
    showHead();
    show();
  }
  function sortBy(key, down) {
    state.key = key;
    state.down = down;
    refresh();
  }
  function turn(step) {
    state.page += step;
    show();
    at("table").scrollIntoView({ block: "start" });
    if (document.activeElement.disabled) at(step > 0 ? "previous" : "next").focus();
  }

  // play(row, start, system): from `start` seconds on; null goes on where it was.
  function play(row, start, system) {
    at("fault").textContent = "";
    at("player").hidden = false;
    state.system = system;
    if (state.playing !== row) {
      state.playing = row;
      at("playing").textContent = row.id;
      audio.src = row.audio;
    }
    if (start !== null) audio.currentTime = start;
    audio.play().catch((error) => {
      if (error.name !== "AbortError") at("fault").textContent = "This audio cannot be played: it may have been moved.";
    });
  }

  // Mark the word that is heard, and the buttons of what plays.
  function follow() {
    for (const marked of at("rows").querySelectorAll(".now")) marked.classList.remove("now");
    const row = state.playing;
    for (const button of at("rows").querySelectorAll(".play")) {
      const on = row !== null && Number(button.dataset.row) === numbers.get(row) && !audio.paused;
      if (on !== button.classList.contains("on")) {
        button.classList.toggle("on", on);
        button.replaceChildren(icon(on ? "pause" : "play"));
        button.setAttribute("aria-label", `${on ? "Pause" : "Play"} ${rows[Number(button.dataset.row)].id}`);
      }
    }
    const starts = row?.systems[state.system].starts;
    const buttons = row && words.get(row)?.[state.system];
    if (!starts || !buttons || audio.paused) return;
    const place = starts.findLastIndex((start) => start <= audio.currentTime + 0.02);
    buttons[place]?.classList.add("now");
  }
  for (const event of ["timeupdate", "play", "pause", "ended"]) audio.addEventListener(event, follow);
  at("close").addEventListener("click", () => {
    audio.pause();
    at("player").hidden = true;
    at("rows").querySelector(`.play[data-row="${numbers.get(state.playing)}"]`)?.focus();
  });

  // Words of a line are one stop of the tabulator key; arrows go from word to word.
  at("rows").addEventListener("keydown", (event) => {
    const line = [...words.values()].flat().find((buttons) => buttons.includes(event.target));
    if (!line) return;
    const here = line.indexOf(event.target);
    const forwards = event.target.closest(".aligned").dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    const backwards = forwards === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
    const goals = { [forwards]: here + 1, [backwards]: here - 1, Home: 0, End: line.length - 1 };
    const goal = line[goals[event.key]];
    if (goals[event.key] === undefined || !goal) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    goal.tabIndex = 0;
    goal.focus();
  });

  function offer(id, options) {
    at(id).replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
  }
  offer("only", [["", "all"], ["errors", "with errors"], ...(two ? [["changed", "where A and B differ"]] : [])]);
  offer("sort", columns.map((column) => [column.key, column.title]));
  offer("set", [["", "all"], ...data.sets.map((name) => [name, name])]);
  at("set-field").hidden = data.sets.length < 2;
  const choose = data.speakers.length > 1 && data.speakers.length <= MOST_SPEAKERS && data.speakers.length < rows.length;
  offer("speaker", [["", "all"], ...(choose ? data.speakers.map((name, number) => [number, name]) : [])]);
  at("speaker-field").hidden = !choose;

  at("tools").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["text", "set", "speaker", "only"]) at(id).addEventListener("input", refresh);
  at("sort").addEventListener("input", () => sortBy(at("sort").value, at("sort").value !== "id"));
  at("order").addEventListener("click", () => sortBy(state.key, !state.down));
  at("previous").addEventListener("click", () => turn(-1));
  at("next").addEventListener("click", () => turn(1));
  for (const button of document.querySelectorAll("button.find")) {
    button.addEventListener("click", () => {
      const { reference, hypothesis, speaker } = button.dataset;
      if (speaker === undefined) state.pair = { reference, hypothesis };
      else if (choose) at("speaker").value = String(data.speakers.indexOf(speaker));
      else at("text").value = speaker;
      refresh();
      at("utterances").scrollIntoView();
      at("text").focus({ preventScroll: true });
    });
  }
  refresh();
})();
