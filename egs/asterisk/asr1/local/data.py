#!/usr/bin/env python3
"""Kaldi data directories from the Asterisk core sounds: telephone prompts in five languages.

The prompts come as two Debian packages a language, one with the texts and one with the recordings
(G.722, 16 kHz). They were made for telephone exchanges, not for training: this script decides what is
speech with a text that can be trusted, lists the rest in ``dropped.txt``, and splits by text.
"""

import argparse
import gzip
import hashlib
import re
import shutil
import subprocess
import tempfile
import unicodedata
import urllib.parse
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from G722 import G722
from tqdm import tqdm

from espnet_wsm.data.kaldi import Utterance, write_data_dir
from espnet_wsm.errors import UserError, report_user_errors

VOICES = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
SAMPLE_RATE = 16_000
BIT_RATE = 64_000
# The fastest voice (it) reaches 17.8 in long sentences; what lies above does not say its text.
MAX_LETTERS_PER_SECOND = 18.0

NOTE = re.compile(r"\[[^]]*\]|\([^)]*\)|<[^>]*>")
LONE_DIGIT = re.compile(r"(?<![\w.,-])[0-9](?!\w)")
# A line break is missing between some lines; the next key then stands inside the text before it.
EMBEDDED_KEY = re.compile(r"(?<=[ .])[a-z]+(?:-[a-z]+)+: ")
APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ`´", "'"))
# "Press * to": the voice says a word for these, and the text does not say which.
SPOKEN_SYMBOLS = "*#@$&%=+/"


@dataclass(frozen=True)
class Prompt:
    """One recording; ``reason`` says why it is not used, and is empty for those that are."""

    key: str
    text: str
    seconds: float
    reason: str


def package_names(lang: str) -> tuple[str, str]:
    """The packages with the texts and with the recordings."""
    return f"asterisk-core-sounds-{lang}", f"asterisk-core-sounds-{lang}-g722"


def find_corpus(downloads: Path, lang: str) -> tuple[Path | None, Path | None]:
    """The text file and the voice folder below ``downloads`` or one of its folders; None if absent."""

    def first(pattern: str) -> Path | None:
        return next((hit for level in ("", "*/") for hit in sorted(downloads.glob(level + pattern))), None)

    recording = first(f"usr/share/asterisk/sounds/{VOICES[lang]}/*.g722")
    text = first(f"usr/share/doc/{package_names(lang)[0]}/core-sounds-{lang}.txt.gz")
    return text, recording and recording.parent


def locate_corpus(downloads: Path, lang: str) -> tuple[Path, Path]:
    """Text file and voice folder, downloaded when ``downloads`` has neither; UserError for half a tree."""
    if find_corpus(downloads, lang) == (None, None):
        download_packages(downloads, lang)
    text, voice = find_corpus(downloads, lang)
    if text and voice:
        return text, voice
    what, package = ("recordings", package_names(lang)[1]) if text else ("text file", package_names(lang)[0])
    raise UserError(
        f"{downloads}: no {what} of {package}; unpack that package there too "
        "(dpkg-deb -x PACKAGE.deb DIR), or name another folder with --downloads"
    )


def download_packages(downloads: Path, lang: str) -> None:
    """Fetch and unpack both packages into ``downloads/LANG``, which appears only when it is complete."""
    packages, target = package_names(lang), downloads / lang
    if target.exists():
        raise UserError(f"{target}: holds neither {' nor '.join(packages)}; remove it to download them again")
    print(f"{lang}: downloading {' and '.join(packages)} (10 to 13 MB) to {target}", flush=True)
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{lang}-partial-", dir=downloads) as scratch:
            run = partial(subprocess.run, cwd=scratch, check=True, stderr=subprocess.PIPE, text=True)
            run(["apt-get", "download", *packages])
            for package in sorted(Path(scratch).glob("*.deb")):
                run(["dpkg-deb", "-x", package.name, "tree"])
            (Path(scratch) / "tree").rename(target)
    except (OSError, subprocess.CalledProcessError) as error:
        detail = (getattr(error, "stderr", None) or str(error)).strip().split("\n")[-1]
        raise UserError(
            f"cannot fetch {' and '.join(packages)} ({detail}); run `apt-get update` first, or fetch these "
            "two Debian packages elsewhere, unpack each with `dpkg-deb -x PACKAGE.deb DIR` and give "
            "--downloads DIR"
        ) from error


def read_texts(path: Path) -> dict[str, str]:
    """Texts by case-folded key from ``key: text`` lines; of two texts for one key the first counts."""
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
    """Lower-case words with their accents and inner apostrophes; what is perhaps spoken stays visible.

    Notes in brackets go, and other punctuation turns into blanks. A digit that stands alone ("press 1")
    is read as ``digit_words`` says. Longer numbers and symbols such as ``*`` are left for the caller to
    refuse, since nobody knows how the voice read them.
    """
    text = unicodedata.normalize("NFC", NOTE.sub(" ", text)).translate(APOSTROPHES)
    if lang == "it":  # "E' in uso": a capital that a typewriter did not have, no elision
        text = re.sub(r"\bE'(?=\s)", "È", text)
    text = LONE_DIGIT.sub(lambda match: digit_words.get(match[0], match[0]), text).lower()
    kept = (c if unicodedata.category(c)[0] in "LMN" or c in SPOKEN_SYMBOLS + "'" else " " for c in text)
    words = re.sub(r"(?<!\w)'|'(?!\w)", " ", "".join(kept))
    return unicodedata.normalize("NFC", " ".join(words.split()))


def why_unusable(key: str, text: str, seconds: float, lang: str) -> str:
    """The reason to leave a prompt out, given its cleaned text; empty if it can be used."""
    script = "CYRILLIC" if lang == "ru" else "LATIN"
    letters = [c for c in text if c.isalpha()]
    if key.startswith("silence/"):
        return "silence"
    if seconds == 0:
        return "empty recording"
    if not letters:
        return "no words in the text (tone or noise)"
    if any(c.isnumeric() for c in text):
        return "number that can be read in several ways"
    if any(c in SPOKEN_SYMBOLS for c in text) or "www" in text.split():
        return "spoken symbol or web address"
    if any(script not in unicodedata.name(c, "") for c in letters):
        return f"letters outside the {script.lower()} script"
    if len(letters) > MAX_LETTERS_PER_SECOND * seconds:
        return f"more than {MAX_LETTERS_PER_SECOND:g} letters a second"
    return ""


def read_prompts(text_file: Path, voice: Path, lang: str) -> list[Prompt]:
    """Every recording and every text without one, sorted by key, with the reasons for leaving some out."""
    texts = read_texts(text_file)
    digit_words = {str(digit): texts[f"digits/{digit}"] for digit in range(10) if f"digits/{digit}" in texts}
    prompts = []
    for path in voice.rglob("*.g722"):
        key = path.relative_to(voice).with_suffix("").as_posix()
        seconds = path.stat().st_size * 8 / BIT_RATE
        if key.casefold() not in texts and not key.startswith("silence/"):
            prompts.append(Prompt(key, "", seconds, "no text"))
            continue
        text = clean_text(texts.get(key.casefold(), ""), lang, digit_words)
        prompts.append(Prompt(key, text, seconds, why_unusable(key, text, seconds, lang)))
    recorded = {prompt.key.casefold() for prompt in prompts}
    prompts += [Prompt(key, "", 0.0, "no recording") for key in texts.keys() - recorded]
    return sorted(prompts, key=lambda prompt: prompt.key)


def utterance_id(voice: str, key: str) -> str:
    """``en_US_f_Allison-digits.1``: the speaker comes first; distinct keys give distinct ids."""
    return f"{voice}-" + urllib.parse.quote(key, safe="/").replace(".", "%2E").replace("/", ".")


def split_texts(texts: Iterable[str]) -> dict[str, str]:
    """Split by text: test and dev get a tenth of ``texts`` each, train the rest.

    Equal texts stay together. Their SHA-256 digests give the order in which the splits are filled, so
    neither the order of ``texts`` nor the machine matters.
    """
    counts = Counter(texts)
    split, done = {}, 0
    for text in sorted(counts, key=lambda text: hashlib.sha256(text.encode()).digest()):
        share = done / counts.total()
        split[text] = "test" if share < 0.1 else "dev" if share < 0.2 else "train"
        done += counts[text]
    return split


def require_disjoint_texts(splits: Mapping[str, Sequence[Utterance]]) -> None:
    """Raise RuntimeError if one text is in two splits."""
    home: dict[str, str] = {}
    for name, utterances in splits.items():
        for utterance in utterances:
            if home.setdefault(utterance.text, name) != name:
                raise RuntimeError(f"{utterance.text!r} is in {home[utterance.text]} and in {name}")


def decode_g722(source: Path, target: Path) -> None:
    """Write one prompt as 16-bit wav."""
    samples = G722(SAMPLE_RATE, BIT_RATE).decode(source.read_bytes())
    soundfile.write(target, np.asarray(samples, dtype=np.int16), SAMPLE_RATE, subtype="PCM_16")


@report_user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Write OUT/{train,dev,test}, OUT/wav and OUT/dropped.txt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lang", choices=sorted(VOICES), default="en", help="default: en")
    parser.add_argument(
        "--downloads",
        type=Path,
        default=Path("downloads"),
        help="folder that holds the unpacked packages, or that they are downloaded to (default: downloads)",
    )
    parser.add_argument("--out", type=Path, help="folder to write (default: data/LANG)")
    args = parser.parse_args(argv)
    lang, out = args.lang, args.out or Path("data") / args.lang

    text_file, voice = locate_corpus(args.downloads, lang)
    prompts = read_prompts(text_file, voice, lang)
    used = {utterance_id(voice.name, prompt.key): prompt for prompt in prompts if not prompt.reason}
    split_of = split_texts(prompt.text for prompt in used.values())
    splits: dict[str, list[Utterance]] = {name: [] for name in ("train", "dev", "test")}
    minutes: Counter[str] = Counter()
    for uid, prompt in used.items():
        name = split_of[prompt.text]
        splits[name].append(Utterance(uid, f"{out}/wav/{uid}.wav", prompt.text, voice.name))
        minutes[name] += prompt.seconds / 60
    require_disjoint_texts(splits)
    if not all(splits.values()):
        raise UserError(f"{voice}: {len(used)} usable prompts are too few to split; unpack the package again")

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".wav-partial-", dir=out) as scratch:
        (Path(scratch) / "wav").mkdir()
        for uid, prompt in tqdm(used.items(), desc=f"decode {lang}", unit="file"):
            decode_g722(voice / f"{prompt.key}.g722", Path(scratch) / "wav" / f"{uid}.wav")
        shutil.rmtree(out / "wav", ignore_errors=True)
        (Path(scratch) / "wav").rename(out / "wav")
    dropped = [prompt for prompt in prompts if prompt.reason]
    listing = "".join(f"{prompt.key} {prompt.reason}\n" for prompt in dropped)
    (out / "dropped.txt").write_text(listing, encoding="utf-8")
    for name, utterances in splits.items():
        write_data_dir(out / name, utterances)
        words = sum(len(utterance.text.split()) for utterance in utterances)
        print(f"{lang} {name}: {len(utterances)} utterances, {minutes[name]:.1f} minutes, {words} words")
    reasons = Counter(prompt.reason for prompt in dropped).most_common()
    summary = ", ".join(f"{count} {reason}" for reason, count in reasons)
    print(f"{lang}: {len(used)} used, {len(dropped)} dropped ({summary}), see {out / 'dropped.txt'}")


if __name__ == "__main__":
    main()
