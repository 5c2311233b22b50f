"""Whether two systems differ on a set by more than noise, in a sentence."""

from collections.abc import Iterator

from espnet_wsm.data.kaldi.lists import name_some
from espnet_wsm.errors import UserError
from espnet_wsm.report.decoded import Decoded, Utterance
from espnet_wsm.report.experiment import Experiment
from espnet_wsm.scoring.results import show_p
from espnet_wsm.scoring.significance import compare_paired


def share_sets(first: Experiment, second: Experiment) -> list[str]:
    """The sets that both decoded.

    Raises:
        UserError: there is none.
    """
    names = [{one.name for one in experiment.sets} for experiment in (first, second)]
    if not (shared := sorted(names[0] & names[1])):
        decoded = " and ".join(
            f"{experiment.folder / experiment.decoding} has {name_some(sorted(found))}"
            for experiment, found in zip((first, second), names, strict=True)
        )
        raise UserError(f"the two experiments decoded no set in common: {decoded}: decode one with both")
    return shared


def check_same_texts(first: Decoded, second: Decoded) -> None:
    """Raise UserError where two systems were not scored against the same utterances and texts."""
    files = f"{first.of.dump / 'text'} and {second.of.dump / 'text'}"
    one, other = ({u.pair.id: u.pair.reference for u in side.utterances} for side in (first, second))
    if differing := sorted(one.keys() ^ other.keys()):
        raise UserError(
            f"{files} have different utterances, e.g. {differing[0]}: two systems are compared on one set"
        )
    if differing := [id for id in one if one[id] != other[id]]:
        raise UserError(
            f"{files} have different texts, e.g. of {differing[0]}: two systems are compared on one set"
        )


def compare_sets(first: Decoded, second: Decoded) -> Iterator[str]:
    """A sentence for each rate, A and B being the two systems; none for a single utterance."""
    if len(first.utterances) < 2:
        yield f"{first.of.name} has one utterance: a difference takes more."
        return
    rates = [("CER", "character errors", _character_errors)]
    if first.by_words:
        rates.append(("WER", "word errors", _word_errors))
    for rate, noun, count in rates:
        errors = [[count(one)[0] for one in side.utterances] for side in (first, second)]
        sizes = [count(one)[1] for one in first.utterances]
        found = compare_paired(*errors, sizes)
        gap = found.difference
        verdict = {
            "A better": f"A makes fewer {noun} than B",
            "B better": f"B makes fewer {noun} than A",
            "no difference": f"A and B are not told apart by {noun}",
        }[gap.verdict]
        caution = f"; {found.caution}" if found.caution else ""
        yield (
            f"On {first.of.name}, {verdict}: {rate} {found.rate_a.estimate:.2f} % and "
            f"{found.rate_b.estimate:.2f} %, A − B = {gap.estimate:+.2f} points, 95 % interval "
            f"{gap.low:+.2f} to {gap.high:+.2f}, p {_show_p(found.p)} (paired bootstrap over {found.units} "
            f"utterances{caution})."
        )


def _show_p(p: float) -> str:
    shown = show_p(p)
    return f"< {shown[1:]}" if shown.startswith("<") else f"= {shown}"


def _character_errors(one: Utterance) -> tuple[int, int]:
    return one.characters.errors, one.characters.words


def _word_errors(one: Utterance) -> tuple[int, int]:
    return one.errors, len(one.pair.reference)
