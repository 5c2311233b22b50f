"""The Asterisk core sounds: telephone prompts in five languages.

The prompts of each language come in two Debian packages, one with the texts and one with the recordings
(G.722, 16 kHz). They were made for telephone exchanges, not for training: what is no speech with a text
that can be trusted is listed in ``dropped.txt``. The split is by text.
"""

import gzip
import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from G722 import G722
from tqdm import tqdm

from espnet_wsm.data.corpora.debian import Package, locate_package
from espnet_wsm.data.corpora.splits import Candidate, split_by_text, write_splits
from espnet_wsm.data.corpora.trees import list_files
from espnet_wsm.data.kaldi.lists import replace_directory
from espnet_wsm.data.text.spoken_text import APOSTROPHES, find_pace_fault, find_text_fault, spell_words
from espnet_wsm.errors import UserError
from espnet_wsm.frames import SAMPLE_RATE

VOICES = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
BIT_RATE = 64_000
# The fastest voice (it) reaches 17.8 in long sentences; recordings above this limit do not match their text.
MAX_LETTERS_PER_SECOND = 18.0

LONE_DIGIT = re.compile(r"(?<![\w.,-])[0-9](?!\w)")
# Between some lines the line break is missing, so the next key is inside the previous text.
EMBEDDED_KEY = re.compile(r"(?<=[ .])[a-z]+(?:-[a-z]+)+: ")


def locate_corpus(downloads: Path, lang: str) -> tuple[Path, Path]:
    """The text file and the voice folder; the packages are fetched if they are not in ``downloads``."""
    text = f"usr/share/doc/asterisk-core-sounds-{lang}/core-sounds-{lang}.txt.gz"
    voice = f"usr/share/asterisk/sounds/{VOICES[lang]}"
    texts = Package(f"asterisk-core-sounds-{lang}", text, "25 kB")
    recordings = Package(f"asterisk-core-sounds-{lang}-g722", f"{voice}/*.g722", "10 to 13 MB")
    return locate_package(texts, downloads) / text, locate_package(recordings, downloads) / voice


def read_texts(path: Path) -> dict[str, str]:
    """Texts by case-folded key from ``key: text`` lines; if a key has two texts, the first counts."""
    try:
        content = gzip.decompress(path.read_bytes()).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no gzip file of UTF-8 text ({error}); unpack its package again") from error
    texts: dict[str, str] = {}
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip() or line.startswith(";"):
            continue
        if ":" not in line:
            raise UserError(f"{path}: line {number} is no `key: text` line: {line.strip()!r}; correct it")
        for entry in EMBEDDED_KEY.sub(lambda match: "\n" + match[0], line).split("\n"):
            key, text = entry.split(":", 1)
            if text.strip():
                texts.setdefault(key.strip().casefold(), text.strip())
    return texts


def clean_text(text: str, lang: str, digit_words: Mapping[str, str]) -> str:
    """The words of a prompt. A single digit ("press 1") is replaced by its word in ``digit_words``; longer
    numbers stay, and are refused later."""
    text = unicodedata.normalize("NFC", text).translate(APOSTROPHES)
    if lang == "it":  # "E' in uso": a typewriter's substitute for È, not an elision
        text = re.sub(r"\bE'(?=\s)", "È", text)
    return spell_words(LONE_DIGIT.sub(lambda match: digit_words.get(match[0], match[0]), text))


def why_unusable(key: str, text: str, seconds: float, lang: str) -> str:
    """Why a prompt is left out, given its cleaned text; empty if it can be used."""
    if key.startswith("silence/"):
        return "silence"
    if seconds == 0:
        return "empty recording"
    fault = find_text_fault(text, "cyrillic" if lang == "ru" else "latin")
    return fault or find_pace_fault(text, seconds, MAX_LETTERS_PER_SECOND)


def read_prompts(text_file: Path, voice: Path, lang: str) -> list[Candidate]:
    """Every recording, and every text without one, sorted by key, with the reasons for leaving some out."""
    texts = read_texts(text_file)
    digit_words = {str(digit): texts[f"digits/{digit}"] for digit in range(10) if f"digits/{digit}" in texts}
    prompts = []
    for path in list_files(voice, "**/*.g722"):
        key = path.relative_to(voice).with_suffix("").as_posix()
        seconds = path.stat().st_size * 8 / BIT_RATE
        if key.casefold() not in texts and not key.startswith("silence/"):
            prompts.append(Candidate(key, reason="no text"))
            continue
        text = clean_text(texts.get(key.casefold(), ""), lang, digit_words)
        reason = why_unusable(key, text, seconds, lang)
        prompts.append(Candidate(key, text, seconds, reason, speaker=voice.name, audio=path))
    recorded = {prompt.key.casefold() for prompt in prompts}
    prompts += [Candidate(key, reason="no recording") for key in texts.keys() - recorded]
    return sorted(prompts, key=lambda prompt: prompt.key)


def decode_g722(source: Path, target: Path) -> None:
    """Write one prompt as 16-bit wav."""
    samples = G722(SAMPLE_RATE, BIT_RATE).decode(source.read_bytes())
    soundfile.write(target, np.asarray(samples, dtype=np.int16), SAMPLE_RATE, subtype="PCM_16")


def decode_prompts(
    splits: Mapping[str, Sequence[Candidate]], folder: Path, lang: str
) -> dict[str, list[Candidate]]:
    """``splits`` with wav files in ``folder``; an existing folder is replaced as a whole."""
    used = [prompt for prompts in splits.values() for prompt in prompts]

    def fill(new: Path) -> None:
        for prompt in tqdm(used, desc=f"decode {lang}", unit="file"):
            decode_g722(Path(prompt.audio), new / f"{prompt.utterance_id}.wav")

    replace_directory(folder, fill)
    return {
        name: [replace(prompt, audio=folder / f"{prompt.utterance_id}.wav") for prompt in prompts]
        for name, prompts in splits.items()
    }


def prepare(lang: str, downloads: Path, out: Path) -> list[str]:
    """Write ``out/{train,dev,test}``, ``out/wav`` and ``out/dropped.txt``; returns a summary."""
    text_file, voice = locate_corpus(downloads, lang)
    prompts = read_prompts(text_file, voice, lang)
    decoded = decode_prompts(split_by_text(prompts, voice), out / "wav", lang)
    return write_splits(out, lang, decoded, prompts)
