"""LibriSpeech, and Libri-light's subsets of 10 min, 1 h and 10 h."""

from collections import defaultdict
from collections.abc import Iterable, Set
from pathlib import Path

from espnet_wsm.data.corpora.preparation import prepare_sets, write_corpus
from espnet_wsm.data.corpora.tables import Row
from espnet_wsm.data.corpora.trees import list_files, read_utf8, refuse_tree, require_sets
from espnet_wsm.errors import UserError

LIMITED = "librispeech_finetuning"  # Libri-light's
HOUR = [f"{LIMITED}/1h/{part}" for part in range(6)]  # of ten minutes each
SETS = {
    "train_10min": HOUR[:1],
    "train_1h": HOUR,
    "train_10h": [*HOUR, f"{LIMITED}/9h"],
    "train_100h": ["LibriSpeech/train-clean-100"],
    "dev_clean": ["LibriSpeech/dev-clean"],
    "dev_other": ["LibriSpeech/dev-other"],
    "test_clean": ["LibriSpeech/test-clean"],
    "test_other": ["LibriSpeech/test-other"],
}


def read_chapter(transcripts: Path, audio: Set[str], whole: bool) -> list[Row]:
    """The utterances of ``SPEAKER-CHAPTER.trans.txt``, which is in the same folder.

    Args:
        transcripts: file with lines ``SPEAKER-CHAPTER-UTTERANCE TEXT``.
        audio: ids with a flac file in that folder.
        whole: whether every line must have audio, as in LibriSpeech; otherwise the set consists of the lines
            that have audio.

    Raises:
        UserError: the file is not UTF-8.
    """
    folder = transcripts.parent
    try:
        lines = read_utf8(transcripts).splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{transcripts}: not UTF-8 ({error}): unpack the archive again") from error
    speaker = transcripts.name.removesuffix(".trans.txt")
    rows, named = [], set()
    for number, line in enumerate(lines, 1):
        id, _, text = line.strip().partition(" ")
        named.add(id)
        if id and (whole or id in audio):
            rows.append(Row(f"{transcripts}:{number}", folder, f"{id}.flac", text.strip(), speaker, id=id))
    unnamed = [f"{id}.flac" for id in sorted(audio - named)]
    return rows + [Row(f"{folder / name}", folder, name, "", speaker) for name in unnamed]


def read_sets(downloads: Path) -> dict[str, list[Row]]:
    """The sets for which all folders are there.

    Raises:
        UserError: there is none, or a folder has no transcripts.
    """
    sets = {}
    for name, folders in SETS.items():
        if not all((downloads / folder).is_dir() for folder in folders):
            continue
        sets[name] = []
        for folder in folders:
            lists = list_files(downloads / folder, "**/*.trans.txt")
            if not lists:
                raise UserError(f"{downloads / folder} holds no *.trans.txt: unpack the archive again")
            audio = defaultdict(set)
            for path in list_files(downloads / folder, "**/*.flac"):
                audio[path.parent].add(path.stem)
            for transcripts in lists:
                sets[name] += read_chapter(
                    transcripts, audio[transcripts.parent], not folder.startswith(LIMITED)
                )
    if not sets:
        raise refuse_tree(downloads, f"{LIMITED}/{{1h,9h}} or LibriSpeech/{{train-clean-100,dev-clean,...}}")
    return sets


def prepare(downloads: Path, out: Path, need: Iterable[str] = ()) -> list[str]:
    """Write ``out/SET`` for each set that is there, as those of ``need`` have to be; returns a summary."""
    sets = read_sets(downloads)
    require_sets(need, sets, downloads)
    return write_corpus(prepare_sets(sets, "unpack the archive again"), out)
