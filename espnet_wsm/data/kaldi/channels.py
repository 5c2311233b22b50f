"""Kaldi's ``reco2file_and_channel``: which channel of which file a recording is."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet_wsm.data.kaldi.lists import Entry, byte_order, make_ids, read_list, tell_ids

CHANNEL_LIST = "reco2file_and_channel"


def read_channel_list(directory: Path, problems: list[str]) -> dict[str, Entry]:
    """``RECORDING FILE CHANNEL``, by recording; nothing if the directory has no such list."""
    path = directory / CHANNEL_LIST
    return read_list(path, problems) if path.exists() else {}


def parse_channel(word: str) -> int | None:
    """The number of a channel, from 1; None if the word is something else. Kaldi calls them A, B, ..."""
    match = re.fullmatch(r"([A-Z])|([1-9][0-9]?)", word)
    if match is None:
        return None
    return ord(match[1]) - ord("A") + 1 if match[1] else int(match[2])


def parse_file_and_channel(value: str) -> tuple[str, int] | None:
    """``sw02001 B`` -> ("sw02001", 2); None if it is something else. Channels are letters or count from 1."""
    match = re.fullmatch(r"(\S+)[ \t]+(\S+)", value)
    channel = parse_channel(match[2]) if match else None
    return None if channel is None else (match[1], channel)


def find_channel_fault(recording: str, channels: Mapping[str, Entry]) -> str | None:
    """Why the channel of a recording is not known, as the rest of a sentence; None if there is no list."""
    if not channels:
        return None
    if recording not in channels:
        return f": recording {recording} has no line in {CHANNEL_LIST}: add it, or remove the file"
    value = channels[recording].value
    if parse_file_and_channel(value) is None:
        line = f"{CHANNEL_LIST}:{channels[recording].line}"
        return f": {line} has {value!r} instead of FILE CHANNEL: write A or 1, B or 2, ..."
    return None


def tell_unknown_recordings(
    directory: Path, channels: Mapping[str, Entry], known: Iterable[str]
) -> list[str]:
    """The fault of a list that names recordings that the other lists do not have."""
    unknown = channels.keys() - set(known)
    faults = tell_ids("remove the lines", (unknown, "that no other list has"))
    return [f"{directory / CHANNEL_LIST}: {fault}" for fault in faults]


def find_shared_audio(named: Iterable[tuple[Path | str, int | None]]) -> set[str]:
    """The audio of which several channels are named, among pairs of audio and channel.

    Only that has to have several. Kaldi's recipes name a channel of the call also for files and commands that
    give nothing but this channel.
    """
    channels: dict[str, set[int | None]] = defaultdict(set)
    for audio, channel in named:
        channels[str(audio)].add(channel)
    return {audio for audio, found in channels.items() if len(found) > 1}


def _name_files(audio: Iterable[str]) -> dict[str, str]:
    """An id for each audio, made from its file name."""
    return make_ids({path: Path(path).stem or "recording" for path in sorted(set(audio), key=byte_order)})


def name_recordings(sources: Iterable[tuple[str, int | None]]) -> dict[tuple[str, int | None], str]:
    """An id for each audio and channel, made from its file name."""
    ordered = sorted(set(sources), key=lambda source: (byte_order(source[0]), source[1] or 0))
    stems = {source: Path(source[0]).stem or "recording" for source in ordered}
    return make_ids({source: f"{stem}-{source[1]}" if source[1] else stem for source, stem in stems.items()})


def format_channel_list(recordings: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    """Lines of the list, by recording, from (audio, channel); a file's id is made of its name."""
    files = _name_files(audio for audio, _ in recordings.values())
    lines = {}
    for id in sorted(recordings, key=byte_order):
        audio, channel = recordings[id]
        lines[id] = f"{files[audio]} {chr(ord('A') + channel - 1) if channel <= 26 else channel}"
    return lines
