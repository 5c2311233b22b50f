"""festvox-ru: sentences read by one Russian voice for a speech synthesiser.

The package holds the recordings of a Festival voice (wav, 16 kHz) and the prompts that were read, with stress
marks. The marks are removed, what is left out is listed in ``dropped.txt``, and the split is by text.
"""

import re
from pathlib import Path

from tqdm import tqdm

from espnet_wsm.data.audio.recordings import read_recording
from espnet_wsm.data.corpora.debian import Package, locate_package, read_text
from espnet_wsm.data.corpora.splits import Candidate, split_by_text, write_splits
from espnet_wsm.data.corpora.trees import list_files
from espnet_wsm.data.text.spoken_text import find_pace_fault, find_text_fault, spell_words
from espnet_wsm.errors import UserError

VOICE = "msu_ru_nsh_clunits"
FOLDER = f"usr/share/festival/voices/russian/{VOICE}"
PACKAGE = Package("festvox-ru", f"{FOLDER}/wav/*.wav", "179 MB")
# The voice speaks 5.8 to 10.7 letters per second, with pauses; a text far above that is not what is read.
MAX_LETTERS_PER_SECOND = 12.0

PROMPT = re.compile(r'\(\s*(?P<key>\S+)\s+"(?P<text>.*)"\s*\)')


def read_prompts(path: Path) -> dict[str, str]:
    """Texts by key from lines ``( ru_0001 "Text." )``, unchanged."""
    texts: dict[str, str] = {}
    for number, line in enumerate(read_text(path, PACKAGE.name).splitlines(), 1):
        if not line.strip():
            continue
        match = PROMPT.fullmatch(line.strip())
        if match is None:
            raise UserError(f'{path}: line {number} is no `( key "text" )` line: {line!r}; correct it')
        if match["key"] in texts:
            raise UserError(
                f"{path}: line {number}: {match['key']} was given before; remove one of the lines"
            )
        texts[match["key"]] = match["text"]
    return texts


def clean_text(text: str) -> str:
    """The words of a prompt, without the ``+`` before each stressed vowel."""
    return spell_words(text.replace("+", ""))


def check_recording(key: str, text: str | None, path: Path) -> Candidate:
    """A recording with its text, and the reason for leaving it out if there is one."""
    if text is None:
        return Candidate(key, reason="no text")
    try:
        recording = read_recording(path)
    except UserError:
        return Candidate(key, reason="empty or damaged recording")
    words, seconds = clean_text(text), len(recording.samples) / recording.rate
    reason = find_text_fault(words, "cyrillic") or find_pace_fault(words, seconds, MAX_LETTERS_PER_SECOND)
    return Candidate(key, words, seconds, reason, speaker=VOICE, audio=path)


def read_candidates(voice: Path) -> list[Candidate]:
    """Every recording, and every text without one, sorted by key."""
    texts = read_prompts(voice / "etc" / "txt.done.data")
    audio = {path.stem: path for path in list_files(voice / "wav", "*.wav")}
    return [
        check_recording(key, texts.get(key), audio[key])
        if key in audio
        else Candidate(key, reason="no recording")
        for key in tqdm(sorted(texts.keys() | audio.keys()), desc="check festvox_ru", unit="file")
    ]


def prepare(downloads: Path, out: Path) -> list[str]:
    """Write ``out/{train,dev,test}`` and ``out/dropped.txt``; returns a summary."""
    voice = locate_package(PACKAGE, downloads) / FOLDER
    candidates = read_candidates(voice)
    return write_splits(out, "festvox_ru", split_by_text(candidates, voice), candidates)
