"""A data directory without what is wrong with it, and a log of what was dropped and why."""

from dataclasses import dataclass
from pathlib import Path

from espnet_wsm.data.kaldi import DataLists, read_lists, write_data_dir
from espnet_wsm.data.lists import byte_order, count, find_id_fault
from espnet_wsm.data.text import TextRules
from espnet_wsm.data.validation import survey_data_dir
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text

LOG = "fix.log"
UNDECODABLE = "\ufffd"  # what read_list has in the place of bytes that are not UTF-8


@dataclass(frozen=True)
class Repair:
    """What :func:`repair_data_dir` has done; prints as one line."""

    out: Path
    kept: int
    dropped: int
    faults: int

    def __str__(self) -> str:
        return (
            f"{self.out}: kept {self.kept} of {count(self.kept + self.dropped, 'utterance')}; "
            f"{count(self.faults, 'fault')} found (see {self.out / LOG})"
        )


def repair_data_dir(
    source: Path,
    out: Path,
    allow_pipes: bool = False,
    open_audio: bool = True,
    rules: TextRules | None = None,
) -> Repair:
    """Write to ``out`` what is sound in ``source``, sorted, and ``fix.log``: what was found and dropped.

    Byte order marks, carriage returns and empty lines go; of an id given twice the first line stays.
    Utterances go that a list lacks, that have no transcript, whose id, transcript or speaker cannot stand in
    a list, of whose transcript ``rules`` leave nothing, or whose audio cannot be opened. Transcripts stay as
    they are written.

    Args:
        source: the directory as it is; nothing in it is changed.
        out: another directory, replaced when it is one of data.
        allow_pipes: whether commands in the place of audio stay.
        open_audio: whether to read the headers of the audio, or only to see that it is there.
        rules: how stage 2 will spell the transcripts.

    Raises:
        UserError: ``out`` is ``source`` or no data directory, or nothing in ``source`` is sound.
    """
    source, out = Path(source), Path(out)
    if out.resolve() == source.resolve():
        raise UserError(f"{out} is the directory to be fixed: name a new one, so that nothing is lost")
    survey = survey_data_dir(source, allow_pipes=allow_pipes, open_audio=open_audio, rules=rules)
    lists = read_lists(source, True, [])
    dropped = {}
    for id in sorted(set().union(*lists.entries.values()), key=byte_order):
        reason = _find_reason(id, lists, allow_pipes) or survey.unusable.get(id)
        if reason:
            dropped[id] = reason
    ids = (each.utterance.id for each in survey.measured)
    sound = [lists.make_utterance(id) for id in ids if id not in dropped]
    if not sound:
        raise UserError(f"{source}: no utterance is sound; look at what validate_data_dir says of it")
    write_data_dir(out, sound)
    found = [f"found: {fault}" for fault in survey.errors]
    write_text(out / LOG, [*found, *(f"dropped: {id}: {reason}" for id, reason in dropped.items())])
    return Repair(out, len(sound), len(dropped), len(survey.errors))


def _find_reason(id: str, lists: DataLists, allow_pipes: bool) -> str | None:
    """What in the lists speaks against an utterance."""
    if fault := find_id_fault(id):
        return f"its id {fault}"
    if lacking := [name for name, entries in lists.entries.items() if id not in entries]:
        return f"not in {' and '.join(lacking)}"
    for name, entries in lists.entries.items():
        if UNDECODABLE in entries[id].value:
            return f"its line in {name} is not UTF-8"
        if fault := lists.find_fault(name, id, allow_pipes):
            return f"{name}{fault}"
    return None
