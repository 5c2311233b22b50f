"""Fish Fillets: game dialogue of two fish and others, in Czech or Dutch.

The game comes as a Debian package with the texts of its levels and one with the recordings of each language.
Here they are joined, what is no speech with a text that can be trusted is listed in ``dropped.txt``, and the
split is by level.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from espnet_wsm.data.audio.recordings import Recording, read_recording
from espnet_wsm.data.corpora.debian import Package, locate_package, read_text
from espnet_wsm.data.corpora.splits import Candidate, group_by_split, split_by_digest, write_splits
from espnet_wsm.data.corpora.trees import list_files
from espnet_wsm.data.text.spoken_text import find_pace_fault, find_text_fault, spell_words
from espnet_wsm.errors import UserError

GAME = "usr/share/games/fillets-ng"
# Measured between the first and the last sound, without the surrounding silence (Dutch 1.5 s, Czech 0.7 s).
# The fastest natural recordings reach 19.3 and 26.6; the next two, at 25.6 and 40.3, are truncated.
MAX_LETTERS_PER_SECOND = {"cs": 22.0, "nl": 33.0}
PACKAGE_SIZES = {"cs": "39 MB", "nl": "33 MB"}
FISH = ("small", "big")
FISH_RATE = 22_050
# In this level, the gods play battleships: in Czech, 18 times "Voda!" or "Zásah!" would dominate a small set.
TRAINING_LEVEL = "gods"

CALL = re.compile(r'\bdialog(Id|Str)\b(?:\s*\(\s*((?:"(?:[^"\\]|\\.)*"[\s,]*)+)\))?')
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
COMMENT = re.compile(r"^[ \t]*--.*$", re.MULTILINE)
TEMPLATE = re.compile(r"%[0-9]")
ADDRESS = re.compile(r"[a-z]\.[a-z]")
STAMMER = re.compile(r"\b([^\W\d_])-\1", re.IGNORECASE)
# "Krrrutý", "Halóóó", "Pssst", "Ha, ha, ha": the spelling does not say what is heard.
SOUND = re.compile(r"([^\W\d_])\1\1|\b([^\W\d_]{1,3})(?:\W+\2\b){2}", re.IGNORECASE)
VOWELS = set("aeiouyáéěíóúůýäëïöü")


@dataclass(frozen=True)
class Line:
    """A line of dialogue: its name in the level, the colour of its subtitle, the text."""

    name: str
    font: str
    text: str


def read_lines(path: Path) -> list[Line]:
    """The lines of a script: ``dialogId("name", "font_COLOUR", "English")``, then ``dialogStr("text")``."""
    # Comments become empty lines, so that line numbers stay correct.
    content = COMMENT.sub("", read_text(path, "fillets-ng-data"))
    lines, name, font = [], "", ""
    for call in CALL.finditer(content):
        match call[1], STRING.findall(call[2] or ""):
            case "Id", [name, font, _]:
                font = font.removeprefix("font_")
            case "Str", [text] if name:
                text = re.sub(r"\\(.)", lambda escape: " " if escape[1] in "nrt" else escape[1], text)
                lines.append(Line(name, font, text))
            case _:
                number = content.count("\n", 0, call.start()) + 1
                raise UserError(
                    f'{path}: line {number} is no dialogId("name", "font", "English"), nor dialogStr("text") '
                    "after one; correct it or unpack fillets-ng-data again"
                )
    return lines


def read_scripts(scripts: Path, lang: str) -> dict[tuple[str, str], set[Line]]:
    """The lines of every folder of scripts, by folder and name; a name with several lines is a mistake."""
    lines = defaultdict(set)
    for path in list_files(scripts, f"*/*dialogs_{lang}.lua"):
        for line in read_lines(path):
            if line.text.strip():
                lines[path.parent.name, line.name].add(line)
    return dict(lines)


def measure_span(recording: Recording) -> float:
    """Seconds from the first to the last 20 ms above 15 % of the 95th percentile of the level."""
    size = recording.rate // 50
    mono = recording.samples.mean(axis=1)
    frames = mono[: len(mono) // size * size].reshape(-1, size)
    if not len(frames):
        return 0.0
    level = np.sqrt(np.mean(frames**2, axis=1))
    loud = np.flatnonzero(level > 0.15 * np.percentile(level, 95))
    return float(loud[-1] - loud[0] + 1) / 50 if len(loud) else 0.0


def level_of(key: str) -> str:
    """``cave`` for ``cave/jes-m-tvor``, ``share/border`` for ``share/border/cil-v-hlaska1``."""
    return key.rpartition("/")[0]


def name_speaker(lang: str, level: str, font: str, rate: int) -> str:
    """A font distinguishes characters within a level; only the two fish keep their voices in all levels.

    The Czech levels that were added later, at 44.1 kHz, have other voices for the fish too.
    """
    if font in FISH and rate == FISH_RATE:
        return f"{lang}_{font}"
    return f"{lang}_{font}_{level.replace('/', '.')}"


def find_raw_fault(text: str) -> str | None:
    """A fault that is only visible in the unprocessed text; None if there is none."""
    for fault, pattern in (
        ("template, filled in by the game", TEMPLATE),
        ("spoken symbol or web address", ADDRESS),
        ("stammered letters", STAMMER),
        ("laughter or letters drawn out", SOUND),
    ):
        if pattern.search(text):
            return fault
    return None


def check_recording(key: str, path: Path, lines: Iterable[Line], lang: str) -> Candidate:
    """A recording with its text, and the reason for leaving it out if there is one."""
    line, *others = lines or [None]
    if line is None:
        return Candidate(key, reason="no text")
    if others:
        return Candidate(key, reason="several texts for one name")
    if line.font == "both":
        return Candidate(key, reason="two voices at once")
    try:
        recording = read_recording(path)
    except UserError:
        return Candidate(key, reason="empty or damaged recording")
    words = spell_words(line.text)
    reason = find_raw_fault(line.text) or find_text_fault(words, "latin")
    if not reason and not VOWELS & set(words):
        reason = "no vowel: a sound, no word"
    reason = reason or find_pace_fault(words, measure_span(recording), MAX_LETTERS_PER_SECOND[lang])
    speaker = name_speaker(lang, level_of(key), line.font, recording.rate)
    return Candidate(key, words, len(recording.samples) / recording.rate, reason, speaker, path)


def read_candidates(scripts: Path, sounds: Path, lang: str) -> list[Candidate]:
    """Every recording, as ``LEVEL/NAME``, and every text without one, sorted.

    The text of ``sound/LEVEL/LANG/NAME.ogg`` is in ``script/LEVEL``; those of all groups in
    ``sound/share/GROUP/LANG`` are in ``script/share``.
    """
    lines = read_scripts(scripts, lang)
    candidates, recorded = [], set()
    for path in tqdm(list_files(sounds, f"**/{lang}/*.ogg"), desc=f"check {lang}", unit="file"):
        level = path.parents[1].relative_to(sounds)
        name = (level.parts[0], path.stem)
        recorded.add(name)
        key = f"{level.as_posix()}/{path.stem}"
        candidates.append(check_recording(key, path, lines.get(name, ()), lang))
    candidates += [Candidate("/".join(name), reason="no recording") for name in lines.keys() - recorded]
    return sorted(candidates, key=lambda candidate: candidate.key)


def split_by_level(candidates: Iterable[Candidate]) -> dict[str, str]:
    """Assign whole levels to splits, in the order of their digests."""
    levels = [level_of(each.key) for each in candidates if not each.reason]
    return split_by_digest(level for level in levels if level != TRAINING_LEVEL) | {TRAINING_LEVEL: "train"}


def drop_shared_texts(candidates: Iterable[Candidate], split_of: dict[str, str]) -> list[Candidate]:
    """Leave out of train the texts of test and dev, and out of dev those of test.

    Levels share short exclamations. Train loses the least without them, and test remains complete.
    """
    candidates = list(candidates)
    homes = defaultdict(set)
    for each in candidates:
        if not each.reason:
            homes[each.text].add(split_of[level_of(each.key)])

    def check(each: Candidate) -> Candidate:
        if each.reason:
            return each
        own, splits = split_of[level_of(each.key)], homes[each.text]
        for other in ("test", "dev"):
            if own == other:
                break
            if other in splits:
                return replace(each, reason=f"text is in {other} too")
        return each

    return [check(each) for each in candidates]


def prepare(lang: str, downloads: Path, out: Path) -> list[str]:
    """Write ``out/{train,dev,test}`` and ``out/dropped.txt``; returns a summary. ``lang`` is cs or nl."""
    texts = Package("fillets-ng-data", f"{GAME}/script/*/dialogs_{lang}.lua", "71 MB")
    recordings = Package(f"fillets-ng-data-{lang}", f"{GAME}/sound/*/{lang}/*.ogg", PACKAGE_SIZES[lang])
    scripts = locate_package(texts, downloads) / GAME / "script"
    sounds = locate_package(recordings, downloads) / GAME / "sound"
    candidates = read_candidates(scripts, sounds, lang)
    split_of = split_by_level(candidates)
    candidates = drop_shared_texts(candidates, split_of)
    splits = group_by_split(candidates, lambda each: split_of[level_of(each.key)], sounds)
    return write_splits(out, lang, splits, candidates)
