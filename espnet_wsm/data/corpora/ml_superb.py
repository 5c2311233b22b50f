"""ML-SUPERB: one language of one of its corpora, or all together."""

import re
from collections.abc import Sequence
from pathlib import Path

from espnet_wsm.data.corpora.preparation import prepare_sets, write_corpus
from espnet_wsm.data.corpora.tables import Row
from espnet_wsm.data.corpora.trees import read_utf8, refuse_tree
from espnet_wsm.data.kaldi.lists import name_some
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text

TRANSCRIPTS = {
    "train_10min": "transcript_10min_train.txt",
    "train_1h": "transcript_1h_train.txt",
    "dev_10min": "transcript_10min_dev.txt",
    "test_10min": "transcript_10min_test.txt",
}
# The benchmark's monolingual track.
TRACK = {
    "eng1": "mls/eng", "eng2": "nchlt/eng", "eng3": "voxpopuli/eng",
    "fra1": "voxforge/fra", "fra2": "voxpopuli/fra", "deu1": "swc/deu", "deu2": "voxpopuli/deu",
    "rus": "M-AILABS/rus", "swa": "ALFFA/swa", "swe": "NST/swe",
    "jpn": "commonvoice/jpn", "cmn": "fleurs/cmn", "xty": "mexico-el/xty",
}  # fmt: skip
# Languages from which the multilingual track trains on five utterances each, with the numbers of these by
# corpus: cv_lit_000026 and so on (Shi et al., Interspeech 2023, and ESPnet's recipe).
FEW_SHOT = {
    "bos": {"fleurs": [67, 78, 80, 88, 90]},
    "ceb": {"fleurs": [54, 64, 69, 71, 80]},
    "dan": {"NST": [7, 72], "cv": [158], "fleurs": [58, 71]},
    "epo": {"cv": [6, 39, 63, 66, 76]},
    "frr": {"cv": [23, 86, 95, 102, 104]},
    "ful": {"fleurs": [55, 59, 67, 76, 81]},
    "kaz": {"cv": [80, 97, 111], "fleurs": [36, 66]},
    "kea": {"fleurs": [52, 70, 78, 83, 85]},
    "lit": {"cv": [26, 105], "fleurs": [97], "mls": [40], "voxpopuli": [1707]},
    "luo": {"fleurs": [56, 62, 67, 73, 77]},
    "srp": {"cv": [78, 145], "fleurs": [68, 93, 105]},
    "sun": {"googlei18n-asr": [1, 7, 41, 99, 106]},
    "tok": {"cv": [4, 11, 30, 84, 101]},
    "tos": {"mexico-el": [6, 122, 152, 496, 563]},
    "tsn": {"googlei18n-tts": [26, 44, 108], "nchlt": [1, 32]},
    "tso": {"nchlt": [35, 40, 89, 104, 125]},
    "tur": {"cv": [95, 101], "fleurs": [60, 69, 95]},
    "umb": {"fleurs": [28, 29, 33, 40, 47]},
    "vie": {"cv": [105, 128], "fleurs": [67, 68, 77]},
    "zul": {"fleurs": [49, 57], "nchlt": [27, 90, 104]},
}
FEW_SHOT_IDS = {
    f"{corpus}_{lang}_{number:06}"
    for lang, corpora in FEW_SHOT.items()
    for corpus, numbers in corpora.items()
    for number in numbers
}
MARKUP = re.compile(r"\[[^\]]*\]")  # transcribers' notes


def find_folders(downloads: Path, lang: str) -> list[Path]:
    """The folders for ``--lang``: a name in the track, CORPUS/LANGUAGE, a language, or all.

    Raises:
        UserError: there is none, or a language is in several corpora.
    """
    there = sorted(path.parent for path in downloads.glob(f"*/*/{TRANSCRIPTS['test_10min']}"))
    if not there:
        raise refuse_tree(downloads, f"CORPUS/LANGUAGE/{TRANSCRIPTS['test_10min']}")
    if lang == "all":
        return there
    names = {folder.relative_to(downloads).as_posix(): folder for folder in there}
    wanted = TRACK.get(lang, lang)
    found = [name for name in names if wanted in (name, name.split("/")[1])]
    if len(found) > 1:
        raise UserError(f"--lang {lang} is in several corpora: choose one of {', '.join(found)}")
    if not found:
        raise UserError(
            f"--lang {lang}: {downloads} has no {wanted}, but {name_some(names)}: choose one of them, or all"
        )
    return [names[found[0]]]


def read_transcripts(path: Path, with_language: bool) -> list[Row]:
    """The rows of a list with lines ``ID NAME TEXT``; NAME, that of the recording in its corpus, is not used.

    Args:
        path: file of the list; the audio is ``wav/ID.wav`` beside it.
        with_language: whether texts begin with ``[LANGUAGE]``.

    Raises:
        UserError: the file cannot be read.
    """
    folder = path.parent
    try:
        lines = read_utf8(path).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): unpack the archive again") from None
    rows = []
    for number, line in enumerate(lines, 1):
        id, _, text = [*line.split(maxsplit=2), "", "", ""][:3]
        if id:
            text = " ".join(MARKUP.sub(" ", text).split())
            if with_language and text:
                text = f"[{folder.name}] {text}"
            rows.append(Row(f"{path}:{number}", folder, f"wav/{id}.wav", text, id=id))
    return rows


def read_sets(folders: Sequence[Path], multilingual: bool) -> dict[str, list[Row]]:
    """The rows of all sets; the multilingual track trains on five utterances of each few-shot language."""
    sets = {}
    for name, transcripts in TRANSCRIPTS.items():
        rows = [row for folder in folders for row in read_transcripts(folder / transcripts, multilingual)]
        if multilingual and name.startswith("train"):
            rows = [row for row in rows if row.folder.name not in FEW_SHOT or row.id in FEW_SHOT_IDS]
        if not rows:
            raise UserError(f"{folders[0] / transcripts} is empty: unpack the archive again")
        sets[name] = rows
    return sets


def prepare(lang: str, downloads: Path, out: Path) -> list[str]:
    """Write ``out/{train_10min,train_1h,dev_10min,test_10min}``; returns a summary.

    Of all languages together, ``out/nlsyms.txt`` names the symbols that their texts begin with.
    """
    folders = find_folders(downloads, lang)
    lines = write_corpus(prepare_sets(read_sets(folders, lang == "all"), "unpack the archive again"), out)
    if lang == "all":
        languages = sorted({folder.name for folder in folders})
        write_text(out / "nlsyms.txt", [f"[{language}]" for language in languages])
        lines.append(f"{len(folders)} folders of {len(languages)} languages")
    return lines
