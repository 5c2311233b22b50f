"""The section of the report about what blocks had learnt from attention before they were trained."""

from collections.abc import Iterator
from statistics import mean, median

from espnet_wsm.experiments.records import Record
from espnet_wsm.experiments.runs import rank_amount, rank_arm
from espnet_wsm.experiments.sources import Sources
from espnet_wsm.tables import render_table

HEADER = ("corpus", "arm", "k", "steps", "left in each layer", "mean", "time / training")


def list_transfer(sources: Sources) -> Iterator[str]:
    """The error left in each layer, and the time it took; nothing without a run that had a transfer."""
    found: dict[tuple, list[Record]] = {}
    for record in sources.study.records:
        if record.transfer is not None:
            run = record.run
            found.setdefault((run.corpus, run.arm, run.num_replaced, run.minutes), []).append(record)
    if not found:
        return
    yield "## What blocks had learnt from attention"
    yield (
        "Before the training, without labels: squared error of what each block gives on held-out speech, "
        "normalised by the variance of what the attention in its place gives, from the lowest replaced layer "
        "up. A transfer serves all seeds; its time is compared with the median of their trainings."
    )
    rows = []
    keys = sorted(found, key=lambda key: (key[0], key[2], rank_amount(key[3]), rank_arm(key[1])))
    for corpus, arm, k, minutes in keys:
        records = found[corpus, arm, k, minutes]
        transfer = records[0].transfer
        left = [error for _, error in sorted(transfer["left"].items(), key=lambda item: int(item[0]))]
        share = transfer["seconds"] / max(median(record.seconds for record in records), 1e-9)
        shown = ", ".join(f"{error:.3f}" for error in left)
        name = arm if minutes is None else f"{arm}, {minutes} min"
        rows.append(
            (corpus, name, str(k), str(transfer["steps"]), shown, f"{mean(left):.3f}", f"{share:.2f}")
        )
    yield render_table(HEADER, rows, num_left=2)
