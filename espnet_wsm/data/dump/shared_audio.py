"""Which utterances of two sets of a dump are the same recording, whatever their ids are."""

from collections import defaultdict
from pathlib import Path

from espnet_wsm.data.dump.lists import read_dump
from espnet_wsm.data.kaldi.lists import count, name_some
from espnet_wsm.files import digest_file


def find_shared_audio(one: Path, other: Path) -> dict[str, str]:
    """``{id in other: id in one}`` for each utterance of ``other`` whose samples ``one`` has too.

    Formatted audio is the same file where its samples are the same. Only files of as many samples are read,
    so that a few test utterances are found in many hours quickly. An utterance that was cut elsewhere, or
    that lies within a longer one, has other samples and is not found.

    Args:
        one: a set of the dump, e.g. dump/raw/unlabelled.
        other: another one, e.g. dump/raw/test.

    Raises:
        UserError: a list is faulty.
    """
    utterances, num_samples = read_dump(one)
    sought, lengths = read_dump(other)
    wanted = set(lengths.values())
    candidates: dict[int, list[str]] = defaultdict(list)
    audio = {each.id: each.audio for each in utterances}
    for id, samples in num_samples.items():
        if samples in wanted:
            candidates[samples].append(id)
    by_digest = {digest_file(audio[id]): id for ids in candidates.values() for id in ids}
    shared = {}
    for each in sought:
        if lengths[each.id] in candidates and (found := by_digest.get(digest_file(each.audio))):
            shared[each.id] = found
    return shared


def tell_shared_audio(unlabelled: Path, labelled: Path, source: str) -> str | None:
    """A sentence about the audio of a set to measure on that is in what was given as ``--unlabelled``.

    Args:
        unlabelled: dump/raw/unlabelled.
        labelled: the set of the dump to measure on.
        source: the directory as it was given.
    """
    shared = find_shared_audio(unlabelled, labelled)
    if not shared:
        return None
    ids = name_some(f"{id} (there {found})" for id, found in shared.items())
    return (
        f"--unlabelled {source}: {count(len(shared), 'utterance')} of the set {labelled.name} in it: {ids}: "
        "with --transfer, the blocks have heard what is measured on this set, although without its text; "
        "leave the audio out where that is not meant"
    )
