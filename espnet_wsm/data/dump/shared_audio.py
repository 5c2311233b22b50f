"""Which utterances of two sets of a dump are the same recording, whatever their ids are."""

from pathlib import Path

from espnet_wsm.data.dump.audio import read_flac_md5
from espnet_wsm.data.dump.lists import read_dump
from espnet_wsm.data.kaldi.lists import count, name_some


def read_digests(folder: Path) -> dict[str, str]:
    """The digest of the samples of each utterance of a set, from the headers of its flac files."""
    return {each.id: read_flac_md5(Path(each.audio)) for each in read_dump(folder)[0]}


def find_shared_audio(one: Path, other: Path) -> dict[str, str]:
    """``{id in other: id in one}`` for each utterance of ``other`` whose samples ``one`` has too.

    Digests in the headers of the flac files are compared. An utterance that was cut elsewhere, or that lies
    within a longer one, has other samples and is not found.

    Args:
        one: a set of the dump, e.g. dump/raw/unlabelled.
        other: another one, e.g. dump/raw/test.

    Raises:
        UserError: a list is faulty.
    """
    by_digest = {digest: id for id, digest in read_digests(one).items()}
    return {id: by_digest[digest] for id, digest in read_digests(other).items() if digest in by_digest}


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
