"""Sections of the report about error rates: summary, tables, one axis at a time, one pair in full."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from espnet_wsm.arms import WITH_WIDTH
from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.experiments.cells import (
    CONFIGURED,
    SIGNED,
    join,
    name_amount,
    name_setting,
    name_value,
    show_comparison,
    show_difference,
    show_rate,
    show_size,
    show_span,
)
from espnet_wsm.experiments.estimates import (
    LEVEL,
    NO_DIFFERENCE,
    OPPONENT,
    REFERENCE,
    Setting,
    Study,
    System,
    combine,
    compare,
    examine_runs,
)
from espnet_wsm.experiments.figures import INTERVAL, MOST_PANELS, Panel, plot_arms, plot_lines
from espnet_wsm.experiments.records import DEV, TEST
from espnet_wsm.experiments.runs import rank_arm
from espnet_wsm.experiments.sources import Sources
from espnet_wsm.experiments.verdicts import list_verdicts
from espnet_wsm.scoring.results import NONE, show_p
from espnet_wsm.scoring.seeds import SeedComparison, SeedSummary
from espnet_wsm.tables import render_table

CER = "test CER (%)"
MAIN_FIGURE = "arms"
AXES = {  # field of a run -> title of its section, label in its figure
    "num_replaced": ("Number of replaced layers", "replaced layers k, counted from the top"),
    "minutes": ("Amount of training data", "training data"),
    "window": ("Window", "half width of the window (frames of 20 ms)"),
    "width": ("Width", "width of the block (channels)"),
}
ONE_SEED = "One seed of an arm: only the test set's noise is seen there, training again may turn the result."


def list_summary(sources: Sources) -> Iterator[str]:
    """The arms at the setting with the most runs, in all corpora."""
    main = sources.study.main
    yield "## Summary"
    where = f" on {main[0].corpus}" if len(main) == 1 else ""
    yield f"Test CER{where}, {name_setting(main[0])}:"
    yield render_main(sources.study)
    if len(main) > 1:
        yield from list_verdicts(sources.study)
    panels = {
        setting.corpus: {arm: system.cer for arm, system in sources.study.arms(setting).items()}
        for setting in main[:MOST_PANELS]
    }
    shown = "" if len(panels) == len(main) else f", {len(panels)} of {len(main)} corpora"
    caption = f"Test CER of each arm, {name_setting(main[0])}{shown}; bars: {INTERVAL}"
    yield sources.draw(MAIN_FIGURE, caption, plot_arms, panels, CER)


def render_main(study: Study) -> str:
    """For one corpus, a table of arms with their differences; for several, a table of arms by corpora."""
    if len(study.main) == 1:
        return _render_setting(study, study.main[0], with_dev=False)
    by_corpus = {setting.corpus: study.arms(setting) for setting in study.main}
    signs = {setting.corpus: _find_signs(study.compare_arms(setting)) for setting in study.main}
    best = {corpus: min(s.cer.mean for s in systems.values()) for corpus, systems in by_corpus.items()}
    rows = []
    for arm in sorted({arm for systems in by_corpus.values() for arm in systems}, key=rank_arm):
        cells = []
        for corpus, systems in by_corpus.items():
            if arm not in systems:
                cells.append(NONE)
                continue
            cell = f"{systems[arm].cer.mean:.2f}"
            cell = f"**{cell}**" if systems[arm].cer.mean == best[corpus] else cell
            cells.append(cell + signs[corpus].get(arm, ""))
        if NONE in cells:
            cells += [NONE, NONE]
        else:
            mean = combine([systems[arm].cer for systems in by_corpus.values()])
            cells += [f"{mean.estimate:.2f}", show_span(mean)]
        rows.append((arm, *cells))
    return render_table(("arm", *by_corpus, "mean", INTERVAL), rows, num_left=1)


def _find_signs(comparisons: Mapping[str, SeedComparison]) -> dict[str, str]:
    signs = {"A better": " <", "B better": " >"}
    return {arm: signs.get(comparison.verdict, "") for arm, comparison in comparisons.items()}


def list_tables(sources: Sources) -> Iterator[str]:
    """One table per corpus, amount of training data and k."""
    yield "## Tables"
    for setting in sources.study.settings():
        yield f"### {setting.corpus}, {name_setting(setting)}"
        yield _render_setting(sources.study, setting)
        yield from _list_cautions(sources.study.compare_arms(setting).values())


def _list_cautions(comparisons: Iterable[SeedComparison]) -> Iterator[str]:
    if any(comparison.caution for comparison in comparisons):
        yield ONE_SEED


def _render_setting(study: Study, setting: Setting, with_dev: bool = True) -> str:
    """One row per arm, sorted by test CER."""
    systems, comparisons = study.arms(setting), study.compare_arms(setting)
    rows = []
    for arm, system in sorted(systems.items(), key=lambda item: item[1].cer.mean):
        dev = (f"{system.mean('cer', DEV):.2f}",) if with_dev else ()
        rates = (*dev, *show_rate(system.cer), *show_rate(system.wer))
        difference = show_comparison(comparisons.get(arm), arm, REFERENCE)
        rows.append((arm, str(len(system.records)), *rates, show_size(system), *difference))
    dev = ("dev CER",) if with_dev else ()
    header = ("arm", "seeds", *dev, "CER", INTERVAL, "WER", INTERVAL, "trainable", f"CER - {REFERENCE}")
    return render_table((*header, INTERVAL, "verdict"), rows, num_left=1)


def list_axis(sources: Sources, axis: str) -> Iterator[str]:
    """CER of all arms over k or the amount of training data: a table per corpus, and one figure."""
    groups = sources.study.along(axis)
    if not groups:
        return
    title, label = AXES[axis]
    yield f"## {title}"
    values = {value for arms in groups.values() for found in arms.values() for value in found}
    places = _place_values(values - {0})  # frozen, which replaces no layer: a horizontal line, not a point
    panels = []
    for setting, arms in groups.items():
        rest = name_amount(setting.minutes) if axis == "num_replaced" else f"k = {setting.num_replaced}"
        heading = f"{setting.corpus}, {rest}"
        columns = sorted({value for found in arms.values() for value in found}, key=_rank_value)
        yield f"### {heading}"
        yield _render_axis(axis, columns, arms)
        lines = {arm: _place_rates(found, places) for arm, found in arms.items()}
        levels = {arm: arms[arm][0].cer.mean for arm, rates in lines.items() if not rates}
        panels.append(Panel(heading, {arm: rates for arm, rates in lines.items() if rates}, levels))
    what = "k" if axis == "num_replaced" else "the amount of training data"
    yield _draw_lines(sources, axis, what, panels, places, label)


def _render_axis(
    axis: str, columns: Sequence[int | None], arms: Mapping[str, Mapping[int | None, System]]
) -> str:
    rows = []
    for arm, found in arms.items():
        cells = (
            f"{found[value].cer.mean:.2f} ({show_span(found[value].cer)})" if value in found else NONE
            for value in columns
        )
        rows.append((arm, *cells))
    names = (name_value(axis, value) for value in columns)
    header = ("arm", *(f"k = {name}" if axis == "num_replaced" else name for name in names))
    return render_table(header, rows, num_left=1)


def list_size(sources: Sources, axis: str) -> Iterator[str]:
    """CER over the window or the width of the blocks, with the arms that have neither for comparison."""
    groups = sources.study.along(axis)
    if not groups:
        return
    title, label = AXES[axis]
    yield f"## {title}"
    yield (
        f"Each value against the arm {CONFIGURED}. The rates on dev are those to choose a value by: the "
        "lowest of several test rates is too low by chance."
    )
    default = (sources.costs or {}).get("configured", {}).get(axis)
    default = default if isinstance(default, int) else None  # a list of windows has no place on an axis
    values = {value for arms in groups.values() for found in arms.values() for value in found}
    places = _place_values((values | {default}) - {None})
    panels = []
    for setting, arms in groups.items():
        heading = f"{setting.corpus}, {name_setting(setting)}"
        yield f"### {heading}"
        yield from _list_size_table(axis, arms, default)
        lines, levels = {}, {}
        for arm in (arm for arm in WITH_WIDTH if arm in arms):
            if set(arms[arm]) == {None}:  # the size was not varied, or the arm has none
                levels[arm] = arms[arm][None].cer.mean
                continue
            found = {default if value is None else value: system for value, system in arms[arm].items()}
            lines[arm] = _place_rates(found, places)
            if None in found:
                levels[f"{arm} {CONFIGURED}"] = found[None].cer.mean
        panels.append(Panel(heading, lines, levels))
    yield _draw_lines(sources, axis, f"the {axis}", panels, places, label)


def _list_size_table(
    axis: str, arms: Mapping[str, Mapping[int | None, System]], default: int | None
) -> Iterator[str]:
    configured = CONFIGURED + ("" if default is None else f" ({name_value(axis, default)})")
    rows, comparisons = [], []
    for arm in (arm for arm in WITH_WIDTH if arm in arms):
        found = arms[arm]
        for value in sorted(found, key=lambda value: (value is not None, _rank_value(value))):
            system, comparison = found[value], None
            if value is not None and None in found:
                comparison = compare(system, found[None])
                comparisons.append(comparison)
            name = configured if value is None else name_value(axis, value)
            difference = show_comparison(comparison, f"{axis} {name}", "configured")
            name = NONE if (arm, axis) == ("sm", "window") else name
            rates = (f"{system.mean('cer', DEV):.2f}", *show_rate(system.cer))
            rows.append((arm, name, str(len(system.records)), *rates, show_size(system), *difference))
    header = ("arm", axis, "seeds", "dev CER", "CER", INTERVAL, "trainable", "CER - configured", INTERVAL)
    yield render_table((*header, "verdict"), rows, num_left=2)
    yield from _list_cautions(comparisons)


def _draw_lines(
    sources: Sources,
    axis: str,
    what: str,
    panels: Sequence[Panel],
    places: Mapping[int | None, int],
    label: str,
) -> str:
    shown = "" if len(panels) <= MOST_PANELS else f", the first {MOST_PANELS} of {len(panels)} tables"
    dashed = "; dashed: for comparison" if any(panel.levels for panel in panels) else ""
    caption = f"Test CER over {what}{shown}; bars: {INTERVAL}{dashed}"
    ticks = {place: name_value(axis, value) for value, place in places.items()}
    return sources.draw(axis, caption, plot_lines, panels[:MOST_PANELS], ticks, label, CER)


def _place_values(values: Iterable[int | None]) -> dict[int | None, int]:
    """Equidistant places on an axis; all training data comes last."""
    return {value: place for place, value in enumerate(sorted(values, key=_rank_value))}


def _place_rates(
    found: Mapping[int | None, System], places: Mapping[int | None, int]
) -> dict[int, SeedSummary]:
    """The rates of the values that have a place, from left to right."""
    return {place: found[value].cer for value, place in places.items() if value in found}


def _rank_value(value: int | None) -> float:
    return float("inf") if value is None else value


def list_arm_pairs(sources: Sources) -> Iterator[str]:
    """Every arm compared with every better one, if there are others than the reference."""
    by_setting = {
        setting: sorted(systems.values(), key=lambda system: system.cer.mean)
        for setting in sources.study.main
        if len((systems := sources.study.arms(setting)).keys() - {REFERENCE}) > 1
    }
    if not by_setting:
        return
    total = sum(len(systems) * (len(systems) - 1) // 2 for systems in by_setting.values())
    yield "## Arm against arm"
    yield (
        "CER of the arm of the row minus that of the column, in points; **bold**: its interval leaves out 0, "
        f"the others are no difference found. Of {count(total, 'comparison')} {(1 - LEVEL) * total:.1f} "
        "would be bold by chance if there were no difference at all; the arms are in the order of these same "
        "rates."
    )
    for setting, systems in by_setting.items():
        better = systems[:-1]
        rows = []
        for number, system in enumerate(systems[1:], 1):
            cells = [_mark_difference(compare(system, other)) for other in better[:number]]
            rows.append((system.run.arm, *cells, *(NONE,) * (len(better) - number)))
        yield f"### {setting.corpus}, {name_setting(setting)}"
        yield render_table(("arm", *(f"- {other.run.arm}" for other in better)), rows, num_left=1)


def _mark_difference(comparison: SeedComparison) -> str:
    """The estimate, in bold if there is a difference."""
    cell = f"{comparison.difference.estimate:{SIGNED}}"
    return cell if comparison.verdict == NO_DIFFERENCE else f"**{cell}**"


def list_pair(sources: Sources) -> Iterator[str]:
    """Two arms on the first corpus, seed by seed, with the tests for two systems."""
    setting = sources.study.main[0]
    systems = sources.study.arms(setting)
    others = [arm for arm in (OPPONENT, *systems) if arm in systems and arm != REFERENCE]
    reference = sources.results / "references" / setting.corpus / TEST
    if REFERENCE not in systems or not others or not reference.is_file():
        return
    theirs = {record.run.seed: record for record in systems[others[0]].records}
    rows, cautions = [], []
    for ours in systems[REFERENCE].records:
        if ours.run.seed not in theirs:
            continue
        for metric, tests in examine_runs(sources.results, theirs[ours.run.seed], ours).items():
            comparison, mapsswe = tests.comparison, tests.mapsswe
            rates = (f"{rate.estimate:.2f}" for rate in (comparison.rate_a, comparison.rate_b))
            bootstrap = (*show_difference(comparison.difference), show_p(comparison.p))
            segments = (str(mapsswe.segments), f"{mapsswe.z:{SIGNED}}", show_p(mapsswe.p))
            rows.append((str(ours.run.seed), metric.upper(), *rates, *bootstrap, *segments))
            cautions += [text for text in (comparison.caution, mapsswe.caution) if text]
    if not rows:
        return
    yield f"## {REFERENCE} and {others[0]}, seed by seed"
    yield f"{setting.corpus}, {name_setting(setting)}; each row compares two runs on the same utterances."
    header = ("seed", "rate", others[0], REFERENCE, "difference", INTERVAL, "bootstrap p", "segments", "z")
    yield render_table((*header, "MAPSSWE p"), rows, num_left=2)
    yield (
        "Interval and p of the paired bootstrap over utterances; MAPSSWE as NIST's sc_stats. Above 0, "
        f"{REFERENCE} makes fewer errors. Both tests see these two runs only, not their seeds. On "
        "characters, which depend on each other far, MAPSSWE finds differences too easily."
    )
    if cautions:
        yield f"Caution: {join(dict.fromkeys(cautions))}."
