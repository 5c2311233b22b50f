"""Mini AN4: eight recordings in the ESPnet wheel, for trying out a recipe."""

import re
import tarfile
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import soundfile

from espnet_wsm.data.corpora.trees import list_files, read_utf8
from espnet_wsm.data.kaldi.directory import Utterance, write_data_dir
from espnet_wsm.errors import UserError

ARCHIVE = "egs3/mini_an4/esp2_asr/downloads.tar.gz"
# "yes": train has all its letters, and so keeps both longer sentences.
DEV_UTTERANCES = frozenset({"fash-an251-fash-b"})
# Training lines are "<s> TEXT </s> (id)", test lines "TEXT (id)".
TRANSCRIPT = re.compile(r"(?:<s> )?(?P<text>.*?)(?: </s>)? \((?P<id>\w+-(?P<speaker>\w+)-\w+)\)")


def find_archive() -> Path:
    """The archive in the installed ESPnet wheel, found without importing ESPnet."""
    remedy = "install espnet[asr]==202611, or unpack the archive so that DOWNLOADS/an4 exists"
    try:
        archive = Path(distribution("espnet").locate_file(ARCHIVE))
    except PackageNotFoundError as error:
        raise UserError(f"ESPnet is not installed, and mini AN4 comes with it: {remedy}") from error
    if not archive.is_file():
        raise UserError(f"{archive}: not in this ESPnet ({distribution('espnet').version}): {remedy}")
    return archive


def unpack_archive(archive: Path, downloads: Path) -> None:
    """Write ``downloads/an4`` atomically."""
    if downloads.exists() and not downloads.is_dir():
        raise UserError(f"{downloads} is not a folder: name one with --downloads")
    downloads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=downloads) as scratch:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
            (Path(scratch) / "downloads" / "an4").rename(downloads / "an4")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise UserError(
                f"{archive}: cannot be unpacked to {downloads} ({error}); reinstall ESPnet"
            ) from error


def read_transcripts(path: Path) -> dict[str, str]:
    """Texts by utterance id with the speaker in front: ``fash-an251-fash-b`` for ``(an251-fash-b)``."""
    if not path.is_file():
        raise UserError(f"{path}: missing; remove {path.parents[1]} to unpack it again")
    texts = {}
    for number, line in enumerate(read_utf8(path).splitlines(), 1):
        match = TRANSCRIPT.fullmatch(line.strip())
        if match is None:
            raise UserError(f"{path}: line {number} is not `TEXT (id)`: {line!r}; unpack the archive again")
        texts[f"{match['speaker']}-{match['id']}"] = match["text"]
    return texts


def read_utterances(an4: Path, part: str) -> tuple[list[Utterance], list[Path]]:
    """The utterances of ``part`` ("an4" or "an4test"), and the recordings that have no text."""
    texts = read_transcripts(an4 / "etc" / f"an4_{'test' if part == 'an4test' else 'train'}.transcription")
    folder = an4 / "wav" / f"{part}_clstk"
    audio = {f"{path.parent.name}-{path.stem}": path for path in list_files(folder, "*/*.sph")}
    if missing := sorted(texts.keys() - audio.keys()):
        raise UserError(f"{folder}: no recording of {', '.join(missing)}; remove {an4} to unpack it again")
    utterances = [Utterance(uid, audio[uid], texts[uid], uid.split("-")[0]) for uid in sorted(texts)]
    return utterances, [path for uid, path in audio.items() if uid not in texts]


def prepare(downloads: Path, out: Path) -> list[str]:
    """Write ``out/{train,dev,test}``; returns a summary, and what was left out."""
    an4 = downloads / "an4"
    if not an4.is_dir():
        unpack_archive(find_archive(), downloads)
    train, without_text = read_utterances(an4, "an4")
    test, more_without_text = read_utterances(an4, "an4test")
    lines = [f"mini_an4: left out, no text: {path}" for path in without_text + more_without_text]
    splits = {
        "train": [utterance for utterance in train if utterance.id not in DEV_UTTERANCES],
        "dev": [utterance for utterance in train if utterance.id in DEV_UTTERANCES],
        "test": test,
    }
    for name, utterances in splits.items():
        write_data_dir(out / name, utterances)
        seconds = sum(soundfile.info(utterance.audio).duration for utterance in utterances)
        words = sum(len(utterance.text.split()) for utterance in utterances)
        lines.append(f"mini_an4 {name}: {len(utterances)} utterances, {seconds:.1f} seconds, {words} words")
    return lines
