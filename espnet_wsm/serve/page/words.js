// Which words of a corrected text are those of before, and when the others are said.

const to_milliseconds = (seconds) => Math.round(seconds * 1000) / 1000;

// Words that share a span of time by their lengths.
export function spread(texts, start, end) {
  const sizes = texts.map((text) => [...text].length + 1);
  const whole = sizes.reduce((sum, size) => sum + size, 0);
  let before = 0;
  return texts.map((text, place) => {
    const from = start + ((end - start) * before) / whole;
    before += sizes[place];
    return { start: to_milliseconds(from), end: to_milliseconds(start + ((end - start) * before) / whole), text };
  });
}

// Pairs of places [old, new] of the longest common subsequence.
function match(old, texts) {
  const lengths = Array.from({ length: old.length + 1 }, () => new Uint32Array(texts.length + 1));
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = texts.length - 1; j >= 0; j--) {
      lengths[i][j] =
        old[i].text === texts[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const pairs = [];
  for (let i = 0, j = 0; i < old.length && j < texts.length; ) {
    if (old[i].text === texts[j]) pairs.push([i++, j++]);
    else if (lengths[i + 1][j] >= lengths[i][j + 1]) i++;
    else j++;
  }
  return pairs;
}

// A word that stays keeps its times and confidence. Words in place of others take their time; words that are
// put between two share the time of the one before them (or behind, at the beginning).
export function realign(segment, text) {
  const texts = text.split(/\s+/).filter(Boolean);
  const old = segment.words ?? [];
  const pairs = [...match(old, texts), [old.length, texts.length]];
  const words = [];
  let [i, j] = [0, 0];
  for (const [old_place, place] of pairs) {
    const gone = old.slice(i, old_place);
    const added = texts.slice(j, place);
    const behind = old[old_place];
    let [now_old, now_new] = [old_place, place];
    if (added.length && gone.length === added.length) {
      words.push(...gone.map(({ start, end }, k) => ({ start, end, text: added[k] })));
    } else if (added.length && gone.length) {
      words.push(...spread(added, gone[0].start, gone.at(-1).end));
    } else if (added.length && words.length) {
      const { characters, ...before } = words.pop();
      const [first, ...others] = spread([before.text, ...added], before.start, before.end);
      words.push({ ...before, start: first.start, end: first.end }, ...others);
    } else if (added.length && behind) {
      const { characters, ...kept } = behind;
      const shared = spread([...added, kept.text], kept.start, kept.end);
      const last = shared.pop();
      words.push(...shared, { ...kept, start: last.start, end: last.end });
      [now_old, now_new] = [old_place + 1, place + 1];
    } else if (added.length) {
      words.push(...spread(added, segment.start, segment.end));
    }
    if (behind && now_old === old_place) {
      words.push(behind);
      [now_old, now_new] = [old_place + 1, place + 1];
    }
    [i, j] = [now_old, now_new];
  }
  const { confidence, ...kept } = segment;
  const sure = words.map((word) => word.confidence).filter((value) => value != null);
  if (sure.length) kept.confidence = sure.reduce((sum, value) => sum + value, 0) / sure.length;
  return { ...kept, text: words.map((word) => word.text).join(" "), words };
}
