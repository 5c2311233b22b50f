"""The rules of ``espnet-wsm suggest`` as tables: what is suggested when, why, and from where.

For each setting the first rule that fits is taken. Figures are read from configurations and records when the
command runs; those that are written here are compared with their sources by tests/consistency.
"""

from collections.abc import Callable
from dataclasses import dataclass

from espnet_wsm.advice.case import Case
from espnet_wsm.arms import ARMS
from espnet_wsm.experiments.records import TEST

NOT_MEASURED = "no grid of ours has this"


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Args:
        fits: whether it applies.
        value: what is suggested.
        why: the reason, a clause.
        source: where the reason comes from.
    """

    fits: Callable[[Case], bool]
    value: Callable[[Case], str]
    why: Callable[[Case], str]
    source: Callable[[Case], str]


def _always(_: Case) -> bool:
    return True


def _records(case: Case) -> str:
    return case.evidence.source


def _grid(case: Case) -> str:
    return f"conf/experiments/{case.evidence.name}.yaml"


def _explain_arm(case: Case) -> str:
    ranking = case.evidence.ranking
    told = ", ".join(f"{arm} {rate:.1f}" for arm, rate in ranking[:4])
    corpora = " and ".join(case.evidence.corpora)
    second = ranking[1][0]
    alike, of = case.evidence.count_not_told_apart(case.arm, second)
    tests = " and ".join(
        f"{case.evidence.mean(case.evidence.contenders[arm], TEST):.1f}" for arm in (case.arm, second)
    )
    return (
        f"lowest CER on the development sets of {corpora}, in %: {told}; against {second} no difference is "
        f"found on {alike} of {of} test sets ({tests})"
    )


def _explain_depth(case: Case) -> str:
    depths = case.evidence.list_depths(case.arm)
    if len(depths) == 1:
        return f"the only one that our grid has for {case.arm} so far; the paper's tables settle on it"
    told = ", ".join(f"{k}: {rate:.1f}" for k, rate in sorted(depths))
    return f"lowest CER on the development sets that all have, in %: {told}"


def _explain_steps(case: Case) -> str:
    least, most = case.measured_minutes
    took = f"{case.evidence.minutes_of_training:.0f} min on two cores there"
    if case.is_larger:
        return (
            f"as many passes as {most:.0f} min of speech had in the grid, which has no more: {NOT_MEASURED}, "
            "so look at the curves in report.html"
        )
    if case.corpus.minutes is None:
        return (
            f"those of the grid, for {least:.0f} to {most:.0f} min of speech; how long yours is is not known"
        )
    if case.corpus.minutes < least:
        return f"those of the grid, whose least is {least:.0f} min: {NOT_MEASURED}; a training took {took}"
    return f"those of the grid, for {least:.0f} to {most:.0f} min of speech; a training took {took}"


def _explain_longest(case: Case) -> str:
    limit = case.evidence.grid.recipe_options.get("max_wav_duration", "20")
    reason = "what Whisper has positions for" if case.upstream == "whisper_base" else "as in the grid"
    number, minutes = case.corpus.longer_than(float(limit))
    if number:
        return f"{reason}; {number} of yours ({minutes:.1f} min) are longer and would be left out: cut them"
    return f"{reason}; none of yours is longer" if case.corpus.seconds else f"{reason}; yours are not known"


RULES: dict[str, tuple[Rule, ...]] = {
    "upstream": (
        Rule(
            lambda case: case.upstream == "box",
            lambda case: "the one in the box",
            lambda case: (
                "with less than a minute of speech a run shows that everything works, and nothing else"
            ),
            lambda case: "docs/upstreams.md",
        ),
        Rule(
            _always,
            lambda case: "whisper_base",
            lambda case: (
                "the only really pre-trained one that our grids were made with, on languages that it has "
                f"heard: for others {NOT_MEASURED}"
            ),
            _records,
        ),
    ),
    "mixer": (Rule(_always, lambda case: str(ARMS[case.arm].options["mixer"]), _explain_arm, _records),),
    "transfer": (
        Rule(
            lambda case: ARMS[case.arm].transfers,
            lambda case: f"{case.evidence.grid.transfer} steps",
            lambda case: f"the blocks of {case.arm} first learn what attention gives, without labels",
            _grid,
        ),
        Rule(
            lambda case: case.arm == "attention",
            lambda case: "none",
            lambda case: "the pre-trained attention stays, so there is nothing to hand on",
            lambda case: "docs/transfer.md",
        ),
        Rule(_always, lambda case: "none", lambda case: f"{case.arm} is without it in the grid", _grid),
    ),
    "num_replaced": (
        Rule(
            lambda case: len(case.evidence.list_depths(case.arm)) == 1,
            lambda case: str(case.depth),
            _explain_depth,
            lambda case: f"{_records(case)}, arXiv 2602.09043",
        ),
        Rule(_always, lambda case: str(case.depth), _explain_depth, _records),
    ),
    "learning rate": (
        Rule(
            _always,
            lambda case: f"{case.evidence.rates[case.arm]:g}",
            lambda case: f"what {case.arm} has chosen on development sets",
            lambda case: case.evidence.find_rate_source(case.arm),
        ),
    ),
    "steps": (Rule(_always, lambda case: str(case.steps), _explain_steps, _grid),),
    "batch": (
        Rule(
            lambda case: case.card_seconds is not None,
            lambda case: f"{case.batch_seconds:g} s",
            lambda case: (
                f"that of the grid, as far as it fits: about {case.card_seconds:.0f} s do on this GPU, by a "
                "benchmark on a CPU; larger batches were not tried"
            ),
            lambda case: f"{_grid(case)}, conf/upstream/{case.upstream}.yaml",
        ),
        Rule(
            _always,
            lambda case: f"{case.batch_seconds:g} s",
            lambda case: "of audio in a step, as in the grid; larger ones for more speech were not tried",
            _grid,
        ),
    ),
    "token type": (
        Rule(
            lambda case: case.corpus.unspaced is not None,
            lambda case: "char",
            lambda case: f"all our runs have characters, none has {case.corpus.unspaced}: {NOT_MEASURED}",
            _grid,
        ),
        Rule(
            _always,
            lambda case: "char",
            lambda case: "all our runs have characters: of bpe and unigram we have measured nothing",
            _grid,
        ),
    ),
    "longest": (
        Rule(
            _always,
            lambda case: f"{case.evidence.grid.recipe_options.get('max_wav_duration', '20')} s",
            _explain_longest,
            _grid,
        ),
    ),
    "speeds": (
        Rule(
            lambda case: "speed_perturb" in case.evidence.grid.recipe_options,
            lambda case: case.evidence.grid.recipe_options["speed_perturb"],
            lambda case: "as in the grid: copies at other speeds help there",
            lambda case: f"{_grid(case)}, docs/experiments.md",
        ),
        Rule(
            _always,
            lambda case: "as recorded",
            lambda case: f"copies at other speeds: with this upstream {NOT_MEASURED}",
            _grid,
        ),
    ),
    "processes": (
        Rule(
            lambda case: case.machine.ngpu > 0,
            lambda case: f"--ngpu {case.machine.ngpu} --nj 1",
            lambda case: "one job for stages 2 and 4, so that jobs do not share the card",
            lambda case: "docs/clusters.md",
        ),
        Rule(
            _always,
            lambda case: f"--nj {case.machine.cores}",
            lambda case: "a job and a thread of the training for each core",
            lambda case: "egs/common/lib.sh",
        ),
    ),
}
