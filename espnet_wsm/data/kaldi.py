"""Kaldi data directories (``wav.scp``, ``text``, ``utt2spk``, ``spk2utt``): read strictly, written whole."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from espnet_wsm.data.audio import is_pipe, refuse_pipe
from espnet_wsm.data.lists import (
    Entry,
    byte_order,
    count,
    find_id_fault,
    name_some,
    raise_collected,
    read_list,
    replace_directory,
    write_list,
)
from espnet_wsm.errors import UserError


@dataclass(frozen=True)
class Utterance:
    """One line of each list. ``audio`` is a file, ``FILE.ark:OFFSET`` in a Kaldi archive, or, where pipes are
    allowed, a ``COMMAND |`` that writes audio; ``text`` is empty where the directory has no transcripts."""

    id: str
    audio: Path | str
    text: str
    speaker: str


def write_speakers(directory: Path, speakers: dict[str, str]) -> None:
    """Write ``utt2spk`` and ``spk2utt`` of ``speakers`` (utterance -> speaker) into ``directory``."""
    write_list(directory / "utt2spk", speakers)
    utterances: dict[str, list[str]] = defaultdict(list)
    for utterance in sorted(speakers, key=byte_order):
        utterances[speakers[utterance]].append(utterance)
    write_list(directory / "spk2utt", {speaker: " ".join(ids) for speaker, ids in utterances.items()})


def _find_faults(utterance: Utterance) -> Iterable[str]:
    """What keeps ``utterance`` from being written as one line of each list and read back the same."""
    if fault := find_id_fault(utterance.id):
        yield f"utterance id {utterance.id!r} {fault}: rename it"
    if fault := find_id_fault(utterance.speaker):
        yield f"utterance {utterance.id!r}: speaker {utterance.speaker!r} {fault}: rename it"
    if not utterance.text.strip():
        yield f"utterance {utterance.id!r} has an empty transcript: leave the utterance out"
    audio = str(utterance.audio)
    if not audio or audio != audio.strip() or "\n" in audio or "\r" in audio:
        yield f"utterance {utterance.id!r}: audio {audio!r} is empty or has white space at its ends"
    for name, value in (("text", utterance.text), ("audio", audio)):
        if "\n" in value or "\r" in value:
            yield f"utterance {utterance.id!r}: the {name} holds a line break: replace it by a blank"
        if any(0xD800 <= ord(char) <= 0xDFFF for char in value):
            yield f"utterance {utterance.id!r}: the {name} cannot be written as UTF-8: {value!r}"


def write_data_dir(directory: Path, utterances: Iterable[Utterance]) -> None:
    """Write ``wav.scp``, ``text``, ``utt2spk`` and ``spk2utt``, sorted as ``LC_ALL=C sort`` does.

    The lists are written into a temporary sibling that then takes the place of ``directory``; an old data
    directory is replaced whole. Blanks at the ends of a text are dropped, all else is kept byte for byte.

    Raises UserError for no utterances at all, an id given twice, ids or speakers with white space, an empty
    text, a line break, or a ``directory`` that is something else.
    """
    directory = Path(directory)
    utterances = sorted(utterances, key=lambda utterance: utterance.id)
    if not utterances:
        raise UserError(f"{directory}: there is no utterance to write")
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory} is a file, so no data directory can be written there: move it away")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / "wav.scp").exists():
        raise UserError(f"{directory} is not empty and holds no wav.scp, so it is not replaced: move it away")
    problems = [problem for utterance in utterances for problem in _find_faults(utterance)]
    problems += [
        f"utterance id {first.id!r} was given twice ({first.audio} and {second.audio}): ids must differ"
        for first, second in pairwise(utterances)
        if first.id == second.id
    ]
    raise_collected(problems, directory)

    def fill(new: Path) -> None:
        write_list(new / "wav.scp", {utterance.id: utterance.audio for utterance in utterances})
        write_list(new / "text", {utterance.id: utterance.text.strip(" \t") for utterance in utterances})
        write_speakers(new, {utterance.id: utterance.speaker for utterance in utterances})

    replace_directory(directory, fill)


def _require_same_ids(lists: dict[Path, dict[str, Entry]], problems: list[str]) -> None:
    """Report the ids that ``wav.scp`` (the first of ``lists``) and another list do not share."""
    (wav_scp, audio), *others = lists.items()
    for path, entries in others:
        for have, lack, only in (
            (wav_scp, path, audio.keys() - entries.keys()),
            (path, wav_scp, entries.keys() - audio.keys()),
        ):
            if only:
                ids = sorted(only, key=byte_order)
                line = lists[have][ids[0]].line
                problems.append(
                    f"{have}:{line}: {count(len(only), 'id')} without a line in {lack}: {name_some(ids)}: "
                    "add the missing lines or remove the others"
                )


def inspect_data_dir(
    directory: Path, need_text: bool = True, allow_pipes: bool = False
) -> tuple[list[Utterance], list[str]]:
    """The utterances that all lists of a data directory have whole, and all faults of the lists.

    ``utt2spk`` may be absent: each utterance is then its own speaker. Without ``need_text`` so may ``text``:
    every text is then empty. ``spk2utt`` follows from ``utt2spk`` and is not read. The audio is not looked
    at; commands in its place are a fault unless ``allow_pipes``.

    Returns:
        utterances in byte order of their ids, and for each fault file, line, id and remedy.
    """
    directory = Path(directory)
    if not directory.is_dir():
        return [], [f"{directory} is not a directory: prepare the data first"]
    problems: list[str] = []
    if (directory / "segments").exists():
        problems.append(
            f"{directory / 'segments'}: segments are not supported: "
            "cut the audio into one file per utterance first"
        )
    lists = {directory / "wav.scp": read_list(directory / "wav.scp", problems)}
    text, utt2spk = directory / "text", directory / "utt2spk"
    if need_text or text.exists():
        lists[text] = read_list(text, problems)
    if utt2spk.exists():
        lists[utt2spk] = read_list(utt2spk, problems)
    if all(lists.values()):  # a missing or empty list is one fault, not one per id
        _require_same_ids(lists, problems)
    faulty = set()
    for path, entries in lists.items():
        for utterance, entry in entries.items():
            if fault := find_value_fault(path.name, entry.value, allow_pipes):
                problems.append(f"{path}:{entry.line}: id {utterance}{fault}")
                faulty.add(utterance)
    shared = set.intersection(*(set(entries) for entries in lists.values())) - faulty
    utterances = [
        Utterance(
            id=utterance,
            audio=lists[directory / "wav.scp"][utterance].value,
            text=lists[text][utterance].value if text in lists else "",
            speaker=lists[utt2spk][utterance].value if utt2spk in lists else utterance,
        )
        for utterance in sorted(shared, key=byte_order)
    ]
    return utterances, problems


def find_value_fault(name: str, value: str, allow_pipes: bool) -> str | None:
    """What is wrong with what follows an id in the list ``name``, as the end of a sentence."""
    if not value.strip():
        what = {"text": "transcript", "wav.scp": "audio path", "utt2spk": "speaker"}[name]
        return f" has an empty {what}: fill it in or remove the id from all lists"
    if name == "wav.scp" and not allow_pipes and is_pipe(value):
        return f": {refuse_pipe(value)}"
    if name == "utt2spk" and (fault := find_id_fault(value)):
        return f": speaker {value!r} {fault}: rename it"
    return None


def read_data_dir(directory: Path, need_text: bool = True, allow_pipes: bool = False) -> list[Utterance]:
    """The utterances of a data directory without faults, see :func:`inspect_data_dir`.

    Raises UserError naming file, line, id and remedy of the first ten faults, with their number.
    """
    utterances, problems = inspect_data_dir(directory, need_text, allow_pipes)
    raise_collected(problems, directory)
    return utterances
