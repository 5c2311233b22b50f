"""The lists of a training on transcripts and on speech without text."""

from collections.abc import Iterable
from pathlib import Path

from espnet_wsm.data.dump.lists import read_num_samples
from espnet_wsm.data.dump.pseudo_labels import plan_pool, read_pool
from espnet_wsm.data.kaldi.lists import byte_order, count, raise_collected, read_list, write_list
from espnet_wsm.files import write_text
from espnet_wsm.frames import SAMPLE_RATE


def write_untold_lists(
    out: Path, known: Path, speech: Path, measured: Iterable[Path], stored: tuple[Path, Path] | None = None
) -> str:
    """Write ``text``, ``speech_shape``, and ``wav.scp`` or ``feats.scp``; say how much speech of each kind.

    An utterance without a transcript has an empty text. Stage 2 refuses those in data directories, so that
    nothing else is taken for it.

    Args:
        out: folder of the lists.
        known: folder of the transcripts that are learnt from, e.g. dump/raw/train.
        speech: dump/raw/unlabelled, or the whole training set; taken is what ``plan_pool`` takes: what is not
            known, and no audio to measure on.
        measured: sets to measure on.
        stored: folders of the stored features of both, in this order; None for waveforms.

    Raises:
        UserError: a list is faulty, or there is no speech without text.
    """
    plan_pool(out, speech, measured, known)
    problems: list[str] = []
    pool, told = read_pool(out), read_num_samples(known / "speech_shape", problems)
    texts = read_list(known / "text", problems)
    name = "wav.scp" if stored is None else "feats.scp"
    places = {}
    for ids, folder in zip((told, pool), stored or (known, speech), strict=True):
        entries = read_list(folder / name, problems)
        places |= {id: entries[id].value for id in ids if id in entries}
        if lost := sorted(ids.keys() - entries.keys(), key=byte_order):
            problems.append(
                f"{folder / name} lacks {count(len(lost), 'id')}, {lost[0]} is one: run stage 2 again"
            )
    raise_collected(problems, out)
    write_list(out / name, places)
    write_list(out / "speech_shape", told | pool)
    lines = {id: f"{id} {texts[id].value}" for id in told} | {id: id for id in pool}
    write_text(out / "text", [lines[id] for id in sorted(lines, key=byte_order)])
    hours = [sum(part.values()) / SAMPLE_RATE / 3600 for part in (told, pool)]
    return (
        f"{out}: {count(len(told), 'utterance')} with text, {hours[0]:.2f} h, and {len(pool)} without, "
        f"{hours[1]:.2f} h"
    )
