"""Kaldi data directories: strict reading, atomic writing.

``wav.scp``, ``text``, ``utt2spk``, ``spk2utt``, ``segments`` where utterances are parts of recordings, and
``reco2file_and_channel`` where they are one of several channels.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from espnet_wsm.data.audio.faults import is_pipe, refuse_pipe
from espnet_wsm.data.audio.recordings import LARGEST_OVERSHOOT
from espnet_wsm.data.kaldi.channels import (
    CHANNEL_LIST,
    find_channel_fault,
    format_channel_list,
    name_recordings,
    parse_file_and_channel,
    read_channel_list,
    tell_unknown_recordings,
)
from espnet_wsm.data.kaldi.lists import (
    Entry,
    byte_order,
    count,
    find_id_fault,
    name_some,
    raise_collected,
    read_list,
    replace_directory,
    tell_ids,
    write_list,
)
from espnet_wsm.errors import UserError

# What the lines of a list give an utterance.
VALUES = {"text": "transcript", "wav.scp": "audio path", "utt2spk": "speaker", "segments": "segment"}


@dataclass(frozen=True)
class Utterance:
    """One line of each list.

    Args:
        id: utterance id.
        audio: a file, ``FILE.ark:OFFSET`` in a Kaldi archive, or, if pipes are allowed, a ``COMMAND |`` that
            writes audio.
        text: empty if the directory has no transcripts.
        speaker: the utterance's own id if there is no ``utt2spk``.
        start: start time in the audio, in seconds.
        end: end time in seconds; None = the end of the audio.
        channel: which one of the audio, from 1; None = as the options say.
    """

    id: str
    audio: Path | str
    text: str
    speaker: str
    start: float = 0.0
    end: float | None = None
    channel: int | None = None

    @property
    def is_part(self) -> bool:
        """Whether the audio holds more than this utterance."""
        return self.start > 0 or self.end is not None

    def choose_channel(self, channels: int, shared: set[str], default: int | None) -> int | None:
        """The channel to take of audio with so many ``channels``; None = the mean.

        What has one channel is the named one already, unless others of it are named too, as in ``shared``.
        """
        if self.channel and channels == 1 and str(self.audio) not in shared:
            return None
        return self.channel or default


def write_texts(directory: Path, utterances: Sequence[Utterance]) -> None:
    """Write ``text`` (removed if no utterance has one), ``utt2spk`` and ``spk2utt`` into ``directory``."""
    if any(each.text for each in utterances):
        write_list(directory / "text", {each.id: each.text.strip(" \t") for each in utterances})
    else:
        (directory / "text").unlink(missing_ok=True)
    write_list(directory / "utt2spk", {each.id: each.speaker for each in utterances})
    spoken: dict[str, list[str]] = defaultdict(list)
    for each in sorted(utterances, key=lambda each: byte_order(each.id)):
        spoken[each.speaker].append(each.id)
    write_list(directory / "spk2utt", {speaker: " ".join(ids) for speaker, ids in spoken.items()})


def clip_start(start: float) -> float:
    """0 for a start up to half a second before the recording; ``find_part`` clips ends as far behind it."""
    return 0.0 if -LARGEST_OVERSHOOT <= start < 0 else start


def find_time_fault(start: float, end: float | None) -> str | None:
    """Why an utterance cannot be this part of a recording, at the millisecond to which times are written."""
    if 0 <= start < math.inf and (end is None or round(start, 3) < round(end, 3) < math.inf):
        return None
    return f"from {start:g} to {end} s is not a part of a recording" + (
        ": let it begin at 0 or later" if start < 0 else ": correct the times"
    )


def _find_faults(utterance: Utterance, with_text: bool) -> Iterable[str]:
    """Why ``utterance`` cannot be written as one line of each list and read back unchanged."""
    if fault := find_id_fault(utterance.id):
        yield f"utterance id {utterance.id!r} {fault}: rename it"
    if fault := find_id_fault(utterance.speaker):
        yield f"utterance {utterance.id!r}: speaker {utterance.speaker!r} {fault}: rename it"
    if with_text and not utterance.text.strip():
        yield f"utterance {utterance.id!r} has an empty transcript: leave the utterance out"
    audio = str(utterance.audio)
    if not audio or audio != audio.strip() or "\n" in audio or "\r" in audio:
        yield f"utterance {utterance.id!r}: audio {audio!r} is empty or has white space at its ends"
    if fault := find_time_fault(utterance.start, utterance.end):
        yield f"utterance {utterance.id!r}: {fault}"
    for name, value in (("text", utterance.text), ("audio", audio)):
        if "\n" in value or "\r" in value:
            yield f"utterance {utterance.id!r}: the {name} holds a line break: replace it by a space"
        if any(0xD800 <= ord(char) <= 0xDFFF for char in value):
            yield f"utterance {utterance.id!r}: the {name} cannot be written as UTF-8: {value!r}"


def write_data_dir(directory: Path, utterances: Iterable[Utterance], with_text: bool = True) -> None:
    """Write ``wav.scp``, ``text``, ``utt2spk`` and ``spk2utt``, sorted as ``LC_ALL=C sort`` does.

    If an utterance is a part of its audio, ``segments`` is written too, and ``wav.scp`` lists recordings,
    with ids made from their file names; times are written to the millisecond. If utterances are a channel of
    their audio, ``reco2file_and_channel`` is written.

    Without ``with_text`` utterances may have none. The lists are written to a temporary folder, which then
    replaces ``directory`` as a whole. Spaces at the ends of a text are dropped; everything else is kept byte
    for byte.

    Raises UserError if there are no utterances, for duplicate ids, ids or speakers with white space, an empty
    text, a line break, invalid times, a channel for some but not for all, or if ``directory`` is something
    else.
    """
    directory = Path(directory)
    utterances = sorted(utterances, key=lambda utterance: utterance.id)
    if not utterances:
        raise UserError(f"{directory}: there is no utterance to write")
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory} is a file, so no data directory can be written there: move it away")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / "wav.scp").exists():
        raise UserError(f"{directory} is not empty and holds no wav.scp, so it is not replaced: move it away")
    problems = [problem for utterance in utterances for problem in _find_faults(utterance, with_text)]
    problems += [
        f"utterance id {first.id!r} was given twice ({first.audio} and {second.audio}): ids must differ"
        for first, second in pairwise(utterances)
        if first.id == second.id
    ]
    without = [each.id for each in utterances if each.channel is None]
    if 0 < len(without) < len(utterances):
        problems += tell_ids("name one for all (1 of mono audio) or for none", (without, "without a channel"))
    raise_collected(problems, directory)

    def fill(new: Path) -> None:
        if any(utterance.is_part for utterance in utterances):
            named = name_recordings((str(each.audio), each.channel) for each in utterances)
            segments = {
                each.id: _format_segment(named[str(each.audio), each.channel], each) for each in utterances
            }
            write_list(new / "segments", segments)
            recordings = {id: source for source, id in named.items()}
        else:
            recordings = {each.id: (str(each.audio), each.channel) for each in utterances}
        write_list(new / "wav.scp", {id: audio for id, (audio, _) in recordings.items()})
        if not without:
            write_list(new / CHANNEL_LIST, format_channel_list(recordings))
        write_texts(new, utterances)

    replace_directory(directory, fill)


def _format_segment(recording: str, utterance: Utterance) -> str:
    """The rest of an utterance's line in ``segments``; Kaldi writes the end of the recording as -1."""
    end = -1 if utterance.end is None else f"{utterance.end:.3f}"
    return f"{recording} {utterance.start:.3f} {end}"


@dataclass(frozen=True)
class DataLists:
    """The lists of a data directory, including their faults.

    Args:
        directory: folder of the lists.
        entries: entries by name of the list. The list that gives the audio of utterances comes first:
            ``segments``, or ``wav.scp`` if utterances are whole files.
        recordings: ``wav.scp``, if there is ``segments``.
        channels: ``reco2file_and_channel``, if there is one.
    """

    directory: Path
    entries: dict[str, dict[str, Entry]]
    recordings: dict[str, Entry]
    channels: dict[str, Entry]

    @property
    def audio_list(self) -> str:
        """``segments`` or ``wav.scp``."""
        return next(iter(self.entries))

    def find_recording(self, recording: str) -> Entry | None:
        """The line of ``wav.scp`` for a recording of ``segments``: its own, or that of its file."""
        if recording in self.recordings or recording not in self.channels:
            return self.recordings.get(recording)
        parsed = parse_file_and_channel(self.channels[recording].value)
        return self.recordings.get(parsed[0]) if parsed else None

    def find_fault(self, name: str, id: str, allow_pipes: bool) -> str | None:
        """What is wrong with a line of the list ``name``, as the rest of a sentence that begins with it."""
        value = self.entries[name][id].value
        if not value.strip():
            return f" has an empty {VALUES[name]}: fill it in or remove the id from all lists"
        recording = id
        if name == "segments":
            try:
                recording, start, end = value.split()
                times = float(start), float(end)
            except ValueError:
                return f" has {value!r} instead of RECORDING START END: write seconds, -1 for the end"
            source = self.find_recording(recording)
            if source is None:
                return f" is a part of {recording}, which wav.scp does not have: add it, or remove the id"
            if not (0 <= clip_start(times[0]) < math.inf):
                return f" goes from {start} to {end} s: let it begin at 0 or later"
            if not (clip_start(times[0]) < times[1] < math.inf or times[1] == -1):
                return f" goes from {start} to {end} s: the end has to be after the start"
            value = source.value
            if not value:
                return f" is a part of {recording}, whose audio path is empty: fill it in"
        if name == self.audio_list and (fault := find_channel_fault(recording, self.channels)):
            return fault
        if name == self.audio_list and not allow_pipes and is_pipe(value):
            return f": {refuse_pipe(value)}"
        if name == "utt2spk" and (fault := find_id_fault(value)):
            return f": speaker {value!r} {fault}: rename it"
        return None

    def make_utterance(self, id: str) -> Utterance:
        """The utterance with this id, which has no fault in any list."""
        audio, start, end, recording = self.entries[self.audio_list][id].value, 0.0, None, id
        if self.audio_list == "segments":
            recording, *times = audio.split()
            audio, start = self.find_recording(recording).value, clip_start(float(times[0]))
            end = None if float(times[1]) == -1 else float(times[1])
        channel = parse_file_and_channel(self.channels[recording].value)[1] if self.channels else None
        text, speaker = (self.entries.get(name, {}).get(id) for name in ("text", "utt2spk"))
        spoken = text.value if text else "", speaker.value if speaker else id
        return Utterance(id, audio, *spoken, start, end, channel)

    def tell_unknown_recordings(self) -> list[str]:
        """The fault of ``reco2file_and_channel`` if it has lines about recordings that there are not."""
        known: Iterable[str] = self.entries[self.audio_list]
        if self.audio_list == "segments":
            known = filter(self.find_recording, self.channels)
        return tell_unknown_recordings(self.directory, self.channels, known)


def read_lists(directory: Path, need_text: bool | None, problems: list[str]) -> DataLists:
    """The lists of a data directory; their faults are appended to ``problems``."""
    wanted = ("utt2spk",) if need_text is None else ("text", "utt2spk")
    names = ["wav.scp", *(name for name in wanted if (directory / name).exists())]
    if need_text and "text" not in names:
        names.insert(1, "text")
    entries, recordings = {}, {}
    if (directory / "segments").exists():
        recordings = read_list(directory / "wav.scp", problems)
        names[0] = "segments"
    for name in names:
        entries[name] = read_list(directory / name, problems)
    return DataLists(directory, entries, recordings, read_channel_list(directory, problems))


def _require_same_ids(lists: DataLists, problems: list[str]) -> None:
    """Report the ids that are in the list of the audio but not in another list, and vice versa."""
    audio = lists.entries[lists.audio_list]
    for name, entries in lists.entries.items():
        for have, lack, only in (
            (lists.audio_list, name, audio.keys() - entries.keys()),
            (name, lists.audio_list, entries.keys() - audio.keys()),
        ):
            if only:
                ids = sorted(only, key=byte_order)
                line = lists.entries[have][ids[0]].line
                problems.append(
                    f"{lists.directory / have}:{line}: {count(len(only), 'id')} without a line in "
                    f"{lists.directory / lack}: {name_some(ids)}: add the missing lines or remove the others"
                )


def inspect_data_dir(
    directory: Path, need_text: bool | None = True, allow_pipes: bool = False
) -> tuple[list[Utterance], list[str]]:
    """The utterances that are complete in all lists of a data directory, and all faults of the lists.

    ``utt2spk`` may be missing: each utterance is then its own speaker. Without ``need_text``, ``text`` may be
    missing too: every text is then empty. None: it is not read. Nor is ``spk2utt``, which follows from
    ``utt2spk``, and no audio is opened; commands in its place are a fault unless ``allow_pipes`` is set.

    Returns:
        The utterances in byte order of their ids, and for each fault its file, line, id and remedy.
    """
    directory = Path(directory)
    if not directory.is_dir():
        return [], [f"{directory} is not a directory: prepare the data first"]
    problems: list[str] = []
    lists = read_lists(directory, need_text, problems)
    if all(lists.entries.values()):  # a missing or empty list is one fault, not one per id
        _require_same_ids(lists, problems)
    problems += lists.tell_unknown_recordings()
    faulty = set()
    for name, entries in lists.entries.items():
        for id, entry in entries.items():
            if fault := lists.find_fault(name, id, allow_pipes):
                problems.append(f"{directory / name}:{entry.line}: id {id}{fault}")
                faulty.add(id)
    shared = set.intersection(*(set(entries) for entries in lists.entries.values())) - faulty
    return [lists.make_utterance(id) for id in sorted(shared, key=byte_order)], problems


def find_early_segments(directory: Path, ids: Iterable[str]) -> list[str]:
    """Those of ``ids`` that begin a little before their recording according to ``segments``, if it exists."""
    if not (directory / "segments").exists():
        return []
    entries = read_list(directory / "segments", [])
    return [id for id in ids if float(entries[id].value.split()[1]) < 0]


def find_audio_list(directory: Path) -> Path:
    """The list that gives the audio of the utterances of a data directory."""
    segments = directory / "segments"
    return segments if segments.exists() else directory / "wav.scp"


def read_data_dir(
    directory: Path, need_text: bool | None = True, allow_pipes: bool = False
) -> list[Utterance]:
    """The utterances of a faultless data directory, see :func:`inspect_data_dir`.

    Raises UserError with file, line, id and remedy of the first ten faults, and the number of all faults.
    """
    utterances, problems = inspect_data_dir(directory, need_text, allow_pipes)
    raise_collected(problems, directory)
    return utterances
