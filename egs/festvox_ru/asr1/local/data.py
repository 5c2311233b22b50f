#!/usr/bin/env python3
"""Kaldi data directories from festvox-ru: sentences read by one Russian voice for a speech synthesiser.

The package holds the recordings of a Festival voice (wav, 16 kHz) and the prompts that were read, with stress
marks. This script removes the marks, lists what it leaves out in ``dropped.txt``, and splits by text.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from espnet_wsm.data.audio.recordings import read_recording
from espnet_wsm.data.corpora.debian import Package, locate_package
from espnet_wsm.data.corpora.splits import Candidate, group_by_split, split_by_digest, write_splits
from espnet_wsm.data.text.spoken_text import count_letters, find_text_fault, spell_words
from espnet_wsm.errors import UserError, report_user_errors

VOICE = "msu_ru_nsh_clunits"
FOLDER = f"usr/share/festival/voices/russian/{VOICE}"
PACKAGE = Package("festvox-ru", f"{FOLDER}/wav/*.wav", "179 MB")
# The voice speaks 5.8 to 10.7 letters per second, with pauses; a text far above that is not what is read.
MAX_LETTERS_PER_SECOND = 12.0

PROMPT = re.compile(r'\(\s*(?P<key>\S+)\s+"(?P<text>.*)"\s*\)')


def read_prompts(path: Path) -> dict[str, str]:
    """Texts by key from lines ``( ru_0001 "Text." )``, unchanged."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no file of UTF-8 text ({error}); unpack {PACKAGE.name} again") from error
    texts: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
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
    reason = find_text_fault(words, "cyrillic") or ""
    if not reason and count_letters(words) > MAX_LETTERS_PER_SECOND * seconds:
        reason = f"more than {MAX_LETTERS_PER_SECOND:g} letters a second"
    return Candidate(key, words, seconds, reason, speaker=VOICE, audio=path)


def read_candidates(voice: Path) -> list[Candidate]:
    """Every recording, and every text without one, sorted by key."""
    texts = read_prompts(voice / "etc" / "txt.done.data")
    audio = {path.stem: path for path in (voice / "wav").glob("*.wav")}
    return [
        check_recording(key, texts.get(key), audio[key])
        if key in audio
        else Candidate(key, reason="no recording")
        for key in tqdm(sorted(texts.keys() | audio.keys()), desc="check festvox_ru", unit="file")
    ]


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Write OUT/{train,dev,test} and OUT/dropped.txt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--downloads",
        type=Path,
        default=Path("downloads"),
        help="folder with the unpacked package, or to which it is downloaded (default: downloads)",
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to write (default: data)")
    args = parser.parse_args(argv)

    voice = locate_package(PACKAGE, args.downloads) / FOLDER
    candidates = read_candidates(voice)
    split_of = split_by_digest(each.text for each in candidates if not each.reason)
    splits = group_by_split(candidates, lambda each: split_of[each.text], voice)
    print(write_splits(args.out, "festvox_ru", splits, candidates))


if __name__ == "__main__":
    main()
