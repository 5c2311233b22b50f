"""Copy a data directory without its faults, and log what was dropped and why."""

from pathlib import Path

from espnet_wsm.data.kaldi.directory import DataLists, find_early_segments, read_lists, write_data_dir
from espnet_wsm.data.kaldi.lists import byte_order, count, find_id_fault
from espnet_wsm.data.kaldi.validation import survey_data_dir
from espnet_wsm.data.text.rules import TextRules
from espnet_wsm.errors import UserError
from espnet_wsm.files import write_text

LOG = "fix.log"
UNDECODABLE = "\ufffd"  # read_list replaces bytes that are not UTF-8 by it


def repair_data_dir(
    source: Path,
    out: Path,
    allow_pipes: bool = False,
    open_audio: bool = True,
    rules: TextRules | None = None,
) -> str:
    """Write what is sound in ``source`` to ``out``, sorted; ``fix.log`` has the faults, warnings and drops.

    Byte order marks, carriage returns and empty lines are removed; of lines with the same id, the first is
    kept. An utterance is dropped if a list lacks it, if it has no transcript, if its id, transcript or
    speaker is not allowed in a list, if ``rules`` leave nothing of its transcript, or if its audio cannot be
    opened. Transcripts are not changed; segments that begin up to half a second before their recording begin
    with it.

    Args:
        source: the faulty directory; nothing in it is changed.
        out: another directory; a data directory there is replaced.
        allow_pipes: whether commands in place of audio are kept.
        open_audio: whether to read the headers of the audio, or only to check that it exists.
        rules: how stage 2 will spell the transcripts.

    Returns:
        A summary in one line.

    Raises:
        UserError: ``out`` is ``source`` or is not a data directory, or nothing in ``source`` is sound.
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
    found += [f"warning: {warning}" for warning in survey.warnings]
    early = find_early_segments(source, (each.id for each in sound))
    clipped = [f"changed: {id}: began before its recording, begins at 0 s" for id in early]
    write_text(out / LOG, [*found, *clipped, *(f"dropped: {id}: {reason}" for id, reason in dropped.items())])
    warnings = f" and {count(len(survey.warnings), 'warning')}" if survey.warnings else ""
    return (
        f"{out}: kept {len(sound)} of {count(len(sound) + len(dropped), 'utterance')}; "
        f"{count(len(survey.errors), 'fault')}{warnings} found (see {out / LOG})"
    )


def _find_reason(id: str, lists: DataLists, allow_pipes: bool) -> str | None:
    """Why an utterance has to be dropped, according to the lists; None if it need not be."""
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
