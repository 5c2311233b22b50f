"""The report of made-up records: its numbers, its verdicts and its figures."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import Synthetic, make_run

from espnet_wsm.arms import ARMS
from espnet_wsm.bin.make_report import main
from espnet_wsm.errors import UserError
from espnet_wsm.experiments import estimates, figures, report, run_sections
from espnet_wsm.experiments.costs import Setup
from espnet_wsm.experiments.estimates import NO_DIFFERENCE, Study, combine, compare
from espnet_wsm.experiments.grid import Grid
from espnet_wsm.experiments.records import keep_asked, read_record, read_records, record_path
from espnet_wsm.experiments.report import write_report
from espnet_wsm.experiments.runs import INFINITE
from espnet_wsm.experiments.time_sections import find_epoch
from espnet_wsm.files import write_text
from espnet_wsm.scoring.seeds import SeedSummary, compare_over_seeds
from espnet_wsm.scoring.significance import bootstrap_error_rate, name_verdict

LARGEST = 150_000  # bytes of a picture


@pytest.fixture
def synthetic(tmp_path, no_drawing) -> Synthetic:
    """A folder of results to fill."""
    return Synthetic(tmp_path / "results", number=36)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Results with something for every section; read only."""
    results = tmp_path_factory.mktemp("whole") / "results"
    synthetic = Synthetic(results, number=36)
    wrong = {"wsm": 0.2, "sm": 0.21, "attention": 0.2, "frozen": 0.6}
    for corpus in ("a_en", "b_it", "c_ru"):
        for arm, share in wrong.items():
            for seed in range(2):
                synthetic.add(make_run(arm, corpus, seed=seed, lr=1e-3), share)
    for arm in ("wsm", "attention"):
        synthetic.add(make_run(arm, "a_en", k=1, lr=1e-3), 0.3)
        synthetic.add(make_run(arm, "a_en", minutes=5, lr=1e-3), 0.4)
        for rate, share in ((1e-3, 0.2), (2e-3, 0.3)):
            synthetic.add(make_run(arm, "a_en", lr=rate, sweep=True), share)
    for window in (0, 20, INFINITE):
        synthetic.add(make_run("wsm", "a_en", window=window, lr=1e-3), 0.2)
    synthetic.add(make_run("wsm", "a_en", width=64, lr=1e-3), 0.3)
    synthetic.choose(dict.fromkeys(wrong, 1e-3))
    setups = [Setup(arm, 0 if arm == "frozen" else 2) for arm in wrong]
    synthetic.measure([*setups, Setup("attention", 2, attention_dropout=False), Setup("wsm", 2, window=0)])
    write_report(results)
    return results


def read_section(text: str, heading: str) -> str:
    """What stands below a heading of the second level."""
    return re.split(r"^## ", text.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def read_table(section: str, number: int = 0) -> list[dict[str, str]]:
    """The rows of a table by heading; of columns of one name the first."""
    tables = [block.strip().split("\n") for block in section.split("\n\n") if block.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in tables[number]]
    return [dict(reversed(list(zip(cells[0], row, strict=True)))) for row in cells[2:]]


def read_report(results: Path) -> str:
    return (results / "REPORT.md").read_text(encoding="utf-8")


def test_every_section_is_there_when_there_are_records(whole):
    headings = re.findall("^## (.*)$", read_report(whole), re.MULTILINE)
    assert headings == [
        "Summary",
        "What is shown and what is not",
        "Tables",
        "Number of replaced layers",
        "Amount of training data",
        "Window",
        "Width",
        "Learning rates",
        "Arm against arm",
        "wsm and attention, seed by seed",
        "Cost",
        "Training curves",
        "What was run",
    ]


def test_what_blocks_had_learnt_stands_beside_the_time_it_took(synthetic):
    synthetic.add(make_run("wsm"), seconds=200.0)
    for seed, seconds in enumerate((100.0, 200.0, 400.0)):
        learnt = {"left": {"10": 0.5, "9": 0.25}, "steps": 300, "seconds": 50.0}
        synthetic.add(make_run("wsm_transfer", seed=seed), seconds=seconds, transfer=learnt)
    write_report(synthetic.results)
    (row,) = read_table(read_section(read_report(synthetic.results), "What blocks had learnt from attention"))
    assert (row["arm"], row["k"], row["steps"]) == ("wsm_transfer", "2", "300")
    assert row["left in each layer"] == "0.250, 0.500", "from the lowest layer up, by number"
    assert (row["mean"], row["time / training"]) == ("0.375", "0.25")


def test_the_time_to_the_error_rate_of_lora_counts_epochs_and_steps(synthetic):
    curves = {
        ("lora", 2): [0.9, 0.8],
        ("lora", 6): [0.6, 0.4, 0.5],
        ("wsm", 2): [0.7, 0.5, 0.3],
        ("attention", 2): [0.6, 0.5],
    }
    for (arm, k), curve in curves.items():
        synthetic.add(make_run(arm, k=k), curves={"valid cer_ctc": curve})
    synthetic.measure(Setup(arm, k) for arm, k in curves)
    write_report(synthetic.results)
    rows = read_table(read_section(read_report(synthetic.results), "Time to LoRA's error rate"))
    found = {(row["arm"], row["k"]): (row["epochs to LoRA's best"], row["time / LoRA's"]) for row in rows}
    steps = {(row["arm"], row["k"]): float(row["step (s)"]) for row in rows}
    share = 2.5 * steps["wsm", "2"] / (2 * steps["lora", "6"])
    assert found == {
        ("lora", "2"): ("–", "–"),
        ("lora", "6"): ("2.0", "1.00"),
        ("wsm", "2"): ("2.5", found["wsm", "2"][1]),
        ("attention", "2"): ("–", "–"),
    }
    assert float(found["wsm", "2"][1]) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("curve", "epochs"), [([0.5, 0.2], 1.0), ([0.5], 1.0), ([0.9, 0.1], 1.5), ([0.9], None), ([], None)]
)
def test_a_curve_reaches_a_goal_between_two_epochs(curve, epochs):
    found = find_epoch(curve, 0.5)
    assert found is epochs is None or found == pytest.approx(epochs)


def test_a_section_without_records_is_left_out(synthetic):
    for arm in ("wsm", "sm"):
        synthetic.add(make_run(arm))
    write_report(synthetic.results)
    text = read_report(synthetic.results)
    headings = re.findall("^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "Summary",
        "What is shown and what is not",
        "Tables",
        "wsm and sm, seed by seed",
        "Training curves",
        "What was run",
    ]
    assert "No learning rate was searched here: all arms have that of" in text and "(one for all)" in text
    assert sorted(path.name for path in (synthetic.results / "figures").iterdir()) == [
        "arms.png",
        "curves.png",
    ]


def test_two_reports_of_the_same_records_are_the_same(whole, tmp_path, no_drawing):
    copy = tmp_path / "other" / "results"
    shutil.copytree(whole, copy)
    write_report(copy)
    assert read_report(copy) == read_report(whole)


def test_no_path_of_this_machine_is_in_it(whole):
    assert str(whole.parent) not in read_report(whole)


def test_the_command_line_writes_it_elsewhere_with_links_that_lead_to_the_figures(
    whole, tmp_path, capsys, no_drawing
):
    copy = tmp_path / "results" / "full"
    shutil.copytree(whole, copy)
    out = tmp_path / "RESULTS.md"
    main(["--results", str(copy), "--out", str(out)])
    text = out.read_text(encoding="utf-8")
    links = re.findall(r"\]\((.*?\.png)\)", text)
    assert len(links) == 7
    assert all((out.parent / link).is_file() and link.startswith("results/full/figures/") for link in links)
    assert text.replace("(results/full/figures/", "(figures/") == read_report(whole)
    printed = capsys.readouterr().out
    assert str(out) in printed and "arms.png" in printed and "| wsm " in printed


@pytest.mark.parametrize(
    ("out", "remedy"),
    [
        ("folder", "there is a folder where a file has to be"),
        ("file/y.md", "move the existing file or folder away"),
        ("file/x/y.md", "there is a file where a folder has to be"),
    ],
)
def test_a_report_that_cannot_stand_there_is_refused_in_a_sentence(synthetic, tmp_path, capsys, out, remedy):
    synthetic.add(make_run("wsm"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="1"):
        main(["--results", str(synthetic.results), "--out", str(tmp_path / out)])
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / out.split('/')[0]}") and remedy in said


def test_figures_are_small_pictures_with_the_colours_of_the_arms(whole):
    paths = sorted((whole / "figures").iterdir())
    assert [path.stem for path in paths] == sorted(report.NAMES)
    for path in paths:
        assert 3000 < path.stat().st_size < LARGEST, path
        with Image.open(path) as picture:
            pixels = {tuple(colour) for colour in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
        assert (255, 255, 255) in pixels
        shown = (
            {"wsm", "sm", "attention", "frozen"} if path.stem in ("arms", "curves", "trade_off") else {"wsm"}
        )
        for arm in shown:
            assert tuple(bytes.fromhex(ARMS[arm].colour[1:])) in pixels, (path, arm)


def test_figures_of_many_systems_stay_small(tmp_path):
    generator = np.random.default_rng(0)
    values = {arm: 60 * np.exp(-np.arange(30) / 9) + generator.normal(0, 1, (3, 30)) for arm in ARMS}
    corpora = {name: values for name in ("a_en", "b_it", "c_ru")}
    figures.plot_curves(tmp_path / "curves.png", {label: corpora for label in ("one", "two", "three")})
    points = {x: SeedSummary(1, 20 + x, None, 18, 30) for x in range(5)}
    lines = {arm: points for arm in ARMS}
    panels = [figures.Panel(f"corpus {number}", lines, {"sm as configured": 12}) for number in range(6)]
    figures.plot_lines(tmp_path / "lines.png", panels, {x: str(x) for x in range(5)}, "value", "CER (%)")
    for path in tmp_path.iterdir():
        assert path.stat().st_size < LARGEST


def test_the_legend_of_a_single_panel_fits_into_the_picture(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "espnet_wsm.figures.save_picture", lambda figure, file: (file.touch(), seen.append(figure))
    )
    points = {0: SeedSummary(1, 20, None, 18, 30)}
    panel = figures.Panel("a_en", {arm: points for arm in ARMS}, {"attention, without a window": 12})
    figures.plot_lines(tmp_path / "lines.png", [panel], {0: "0"}, "value", "CER (%)")
    (figure,) = seen
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len(ARMS) + 1
    assert legend.get_window_extent().x0 >= 0 and legend.get_window_extent().x1 <= figure.bbox.x1


def test_a_figure_that_is_not_drawn_any_more_goes(whole, tmp_path, no_drawing):
    copy = tmp_path / "results"
    shutil.copytree(whole, copy)
    (copy / "costs.json").unlink()
    write_report(copy)
    assert not (copy / "figures/trade_off.png").exists()


def test_the_report_starts_without_torch():
    heavy = {"torch", "espnet2", "s3prl", "matplotlib"}
    code = f"import sys, espnet_wsm.experiments.report; print({heavy} & {{*sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# Numbers and verdicts


def test_a_clear_difference_and_none_are_told_apart(synthetic):
    """wsm is worse than sm in every utterance, and attention makes the same errors in others."""
    generator = np.random.default_rng(0)
    wrong = generator.integers(2, 6, 60)
    synthetic.add_errors(make_run("wsm"), wrong)
    synthetic.add_errors(make_run("sm"), wrong - 2)
    synthetic.add_errors(make_run("attention"), generator.permutation(wrong))
    synthetic.add_errors(make_run("drop"), wrong + 2)
    write_report(synthetic.results)
    rows = {row["arm"]: row for row in read_table(read_section(read_report(synthetic.results), "Tables"))}
    assert {arm: row["verdict"] for arm, row in rows.items()} == {
        "wsm": "–",
        "sm": "sm better",
        "attention": NO_DIFFERENCE,
        "drop": "wsm better",
    }
    assert [*rows][::3] == ["sm", "drop"]
    assert (rows["sm"]["CER - wsm"], rows["drop"]["CER - wsm"]) == ("-20.00", "+20.00")
    statements = read_section(read_report(synthetic.results), "What is shown and what is not")
    assert "wsm better in 1, the other arm better in 1, no difference found in 1" in statements
    assert "- wsm and drop: wsm better in 1 of 1, drop better in 0, no difference found in 0." in statements
    assert "consistently" not in statements


def test_equal_systems_show_no_difference(synthetic):
    for arm in ("wsm", "sm"):
        for seed in range(3):
            synthetic.add_errors(make_run(arm, seed=seed), [1, 2, 3, 4] * 10)
    study = Study(read_records(synthetic.results))
    (comparison,) = study.compare_arms(study.main[0]).values()
    assert (comparison.verdict, comparison.difference.estimate) == (NO_DIFFERENCE, 0)
    assert comparison.caution is None


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("A better", "sm better"), ("B better", "wsm better"), (NO_DIFFERENCE, NO_DIFFERENCE)],
)
def test_verdicts_carry_names(verdict, words):
    assert name_verdict(verdict, "sm", "wsm") == words


def test_a_table_can_be_made_again_from_the_records(whole):
    """By hand, from the .tsv files and the functions of scoring."""
    rows = {
        row["arm"]: row for row in read_table(read_section(read_report(whole), "Tables").split("### b_it")[1])
    }

    def read(arm):
        runs = [make_run(arm, "b_it", seed=seed) for seed in range(2)]
        counts = [read_record(record_path(whole, run)).sets for run in runs]
        errors = np.array([sets["test"].errors["cer"] for sets in counts])
        dev = np.mean([sets["dev"].rate("cer") for sets in counts])
        return errors, counts[0]["test"].tokens["cer"], dev

    for arm in ("sm", "attention", "frozen", "wsm"):
        errors, tokens, dev = read(arm)
        rates = 100 * errors.sum(1) / tokens.sum()
        assert rows[arm]["CER"] == f"{rates.mean():.2f} ± {rates.std(ddof=1):.2f}"
        assert rows[arm]["dev CER"] == f"{dev:.2f}"
        interval = compare_over_seeds(errors, 0 * errors[:1], tokens).difference
        assert rows[arm]["95 % interval"] == f"{max(0, interval.low):.1f} to {interval.high:.1f}"
        if arm != "wsm":
            gap = compare_over_seeds(errors, read("wsm")[0], tokens).difference
            assert rows[arm]["CER - wsm"] == f"{gap.estimate:+.2f}"


def test_the_interval_of_one_seed_is_the_bootstrap_over_utterances(synthetic):
    errors = np.arange(40) % 7
    synthetic.add_errors(make_run(), errors)
    (system,) = Study(read_records(synthetic.results)).systems
    interval = bootstrap_error_rate(errors, np.full(40, 10))
    assert (system.cer.low, system.cer.high) == (interval.low, interval.high)
    assert system.cer.deviation is None


def test_more_spread_over_seeds_makes_a_wider_interval(synthetic):
    near, far = np.full(40, 4), np.full(40, 4)
    for seed, shift in enumerate((-1, 0, 1)):
        synthetic.add_errors(make_run("wsm", seed=seed), near)
        synthetic.add_errors(make_run("sm", seed=seed), far + shift)
    found = {system.run.arm: system.cer for system in Study(read_records(synthetic.results)).systems}
    assert found["wsm"].high == found["wsm"].low == 40
    assert found["sm"].low < 35 and found["sm"].high > 45
    assert found["sm"].deviation == pytest.approx(10)


def test_the_mean_over_corpora_is_less_noisy_than_one():
    rates = [SeedSummary(1, 20, None, 17, 24), SeedSummary(1, 30, None, 26, 32)]
    interval = combine(rates)
    assert interval.estimate == 25
    assert interval.low == pytest.approx(25 - 5 / 2)
    assert interval.high == pytest.approx(25 + np.hypot(4, 2) / 2)


def test_the_summary_has_the_setting_with_the_most_systems(whole):
    section = read_section(read_report(whole), "Summary")
    assert "Test CER, k = 2, all training data" in section
    rows = {row["arm"]: row for row in read_table(section)}
    assert set(rows) == {"wsm", "sm", "attention", "frozen"}
    assert all(rows["frozen"][corpus].endswith(" >") for corpus in ("a_en", "b_it", "c_ru"))
    assert rows["frozen"]["mean"] != "–"
    (frozen,) = [row for row in read_table(section, 1) if row["arm"] == "frozen"]
    assert (frozen["corpora"], frozen["wsm better"], frozen["arm better"]) == ("3", "3", "0")
    assert frozen["verdict over corpora"] == "wsm better"
    study = Study(read_records(whole))
    (sm,) = [row for row in read_table(section, 2) if row["arm"] == "sm"]
    counted = [int(sm[name]) for name in ("attention better", "no difference", "arm better")]
    assert sum(counted) == int(sm["corpora"]) == 3
    rates = {
        arm: sum(study.arms(setting)[arm].cer.mean for setting in study.main) for arm in ("sm", "attention")
    }
    assert sm["ratio"] == f"{rates['sm'] / rates['attention']:.3f}"


def test_two_corpora_are_not_pooled(synthetic):
    for corpus in ("a_en", "b_it"):
        for arm in ("wsm", "sm"):
            synthetic.add(make_run(arm, corpus))
    write_report(synthetic.results)
    (row,) = read_table(read_section(read_report(synthetic.results), "Summary"), 1)
    assert (row["95 % interval"], row["verdict over corpora"]) == ("–", "–")


def test_frozen_stands_in_the_tables_of_every_k(whole):
    text = read_section(read_report(whole), "Number of replaced layers")
    rows = {row["arm"]: row for row in read_table(text)}
    assert rows["frozen"]["k = 0"] != "–" and rows["frozen"]["k = 2"] == "–"
    assert rows["wsm"]["k = 0"] == "–" and rows["wsm"]["k = 1"] != "–"


def test_amounts_of_training_data_end_with_all(whole):
    (first, *_) = read_table(read_section(read_report(whole), "Amount of training data"))
    assert list(first) == ["all", "5 min", "arm"] or list(reversed(first)) == ["arm", "5 min", "all"]


def test_windows_are_in_order_beside_what_has_none(whole):
    rows = read_table(read_section(read_report(whole), "Window"))
    assert [(row["arm"], row["window"]) for row in rows] == [
        ("wsm", "as configured (10)"),
        ("wsm", "0"),
        ("wsm", "20"),
        ("wsm", "inf"),
        ("sm", "–"),
    ]
    assert rows[1]["CER - configured"] != "–"
    assert "training again may turn" in read_section(read_report(whole), "Window")


def test_the_chosen_rate_is_bold_and_the_effort_counted(whole):
    section = read_section(read_report(whole), "Learning rates")
    for row in read_table(section):
        assert row["0.001"].startswith("**") and not row["0.002"].startswith("**")
        assert (row["rates tried"], row["runs"], row["chosen at the edge"]) == ("2", "2", "yes")
    assert "Each arm had 2 runs." in section
    assert "None of these 4 runs was scored on a test set." in section
    assert "All reported runs have the rate chosen for their arm." in section


def test_unequal_effort_and_test_scores_in_the_sweep_are_said(synthetic):
    for arm, rates in (("wsm", (1e-3, 2e-3)), ("sm", (1e-3,))):
        synthetic.add(make_run(arm, lr=5e-3))
        for rate in rates:
            synthetic.add(make_run(arm, lr=rate, sweep=True))
    rows = [(key, 2, 1, 10, 4, "text") for key in synthetic.reference("toy_en", "dev")]
    synthetic.write(make_run("sm", lr=1e-3, sweep=True), {"dev": rows, "test": rows})
    synthetic.choose({"wsm": 1e-3})
    write_report(synthetic.results)
    section = read_section(read_report(synthetic.results), "Learning rates")
    assert "**The arms had different numbers of runs**: 1 for sm; 2 for wsm." in section
    assert "**1 of these runs were scored on a test set, which should not be.**" in section
    assert "another rate than the chosen one: wsm 0.005; sm 0.005." in section
    assert [row["chosen at the edge"] for row in read_table(section)] == ["yes", "–"]


def test_a_pair_is_examined_seed_by_seed(whole):
    rows = read_table(read_section(read_report(whole), "wsm and attention, seed by seed"))
    assert [(row["seed"], row["rate"]) for row in rows] == [
        ("0", "WER"),
        ("0", "CER"),
        ("1", "WER"),
        ("1", "CER"),
    ]
    record = read_record(record_path(whole, make_run("attention", "a_en", seed=1)))
    assert rows[2]["attention"] == f"{record.sets['test'].rate('wer'):.2f}"
    assert all(0 <= float(row["MAPSSWE p"].removeprefix("<")) <= 1 for row in rows)


def test_every_arm_is_compared_with_every_better_one(synthetic):
    for seed in range(2):
        synthetic.add_errors(make_run("wsm", seed=seed), [1, 2] * 20)
        synthetic.add_errors(make_run("sm", seed=seed), [1, 2, 2, 1] * 10)
        synthetic.add_errors(make_run("attention", seed=seed), [5, 6] * 20)
    write_report(synthetic.results)
    section = read_section(read_report(synthetic.results), "Arm against arm")
    sm, attention = read_table(section)
    assert (sm["arm"], sm["- wsm"], sm["- sm"]) == ("sm", "+0.00", "–")
    assert attention["- wsm"] == attention["- sm"]
    assert attention["- sm"].startswith("**+")


def test_systems_with_nearly_all_words_wrong_are_counted(synthetic):
    synthetic.add(make_run("wsm"), 0.95)
    synthetic.add(make_run("sm"), 0.5)
    write_report(synthetic.results)
    statements = read_section(read_report(synthetic.results), "What is shown and what is not")
    assert "WER is 90 % or more in 1 of 2 systems (an arm at one setting)" in statements


def test_the_pair_wants_the_texts_that_were_scored(synthetic):
    for arm in ("wsm", "attention"):
        synthetic.add(make_run(arm))
    path = synthetic.results / "references/toy_en/test"
    path.write_text(path.read_text().replace("one", "uno"))
    with pytest.raises(UserError, match="was not scored on"):
        write_report(synthetic.results)
    path.unlink()
    write_report(synthetic.results)
    assert "seed by seed" not in read_report(synthetic.results)


def test_costs_stand_beside_the_rates(whole):
    section = read_section(read_report(whole), "Cost")
    rows = {row["arm"]: row for row in read_table(section)}
    assert rows["attention"]["/ attention"] == "1.00"
    summary = read_table(read_section(read_report(whole), "Summary"))
    assert rows["wsm"]["CER"] == next(row["a_en"].strip("*") for row in summary if row["arm"] == "wsm")
    assert "CER: on a_en, all training data." in section
    window = read_table(read_section(read_report(whole), "Window"))
    assert rows["wsm, window 0"]["CER"] == next(row["CER"] for row in window if row["window"] == "0")
    assert rows["attention without dropout"]["CER"] == "–"
    statements = read_section(read_report(whole), "What is shown and what is not")
    assert "Against attention without the dropout of its weights" in statements


def test_the_blocks_that_were_run_add_up(whole):
    rows = read_table(read_section(read_report(whole), "What was run"))
    assert sum(int(row["runs"]) for row in rows) == len(Study(read_records(whole)).records) == 24 + 4 + 3 + 1
    (windows,) = (row for row in rows if row["window"] != "as configured")
    assert (windows["window"], windows["arms"], windows["runs"]) == ("0, 20, inf", "wsm", "3")
    assert {row["corpora"] for row in rows} == {"a_en", "a_en, b_it, c_ru"}


def test_one_seed_one_voice_and_few_utterances_are_said(tmp_path):
    synthetic = Synthetic(tmp_path, number=12)
    for arm in ("wsm", "sm"):
        synthetic.add(make_run(arm))
    write_report(tmp_path)
    statements = read_section(read_report(tmp_path), "What is shown and what is not")
    assert "2 of 2 systems (an arm at one setting) trained from one seed" in statements
    assert "One voice each, by the ids of the utterances, in toy_en (1 of 1 test set)" in statements
    assert "Fewer than 30 test utterances in toy_en" in statements
    assert "One upstream, in models of up to 5.8 M parameters" in statements


def test_few_voices_mixed_rates_and_rates_at_an_edge_are_said(synthetic):
    for seed, lr in ((0, 0.001), (1, 0.002)):
        rows = [(f"{'anna' if i % 2 else 'bo'}-{i:02}", 2, 1, 10, 3, "text") for i in range(40)]
        synthetic.write(make_run("wsm", seed=seed, lr=lr), {"dev": rows, "test": rows})
        synthetic.write(make_run("sm", seed=seed, lr=0.001), {"dev": rows, "test": rows})
    for arm, rates in (("wsm", (0.001, 0.002)), ("sm", (0.0005, 0.001, 0.002))):
        for lr in rates:
            synthetic.add_errors(make_run(arm, lr=lr, sweep=True), [1] * 40)
    synthetic.choose({"wsm": 0.002, "sm": 0.001})
    write_report(synthetic.results)
    statements = read_section(read_report(synthetic.results), "What is shown and what is not")
    assert "Several utterances of a voice in toy_en (2 voices, 40 utterances)" in statements
    assert "One voice each" not in statements
    assert "**The seeds of toy_en/wsm have different learning rates: run the grid to its end.**" in statements
    assert "The highest rate tried was the best for wsm: one beyond it may be better." in statements
    assert "The lowest rate tried" not in statements


# The grid


def make_grid(*runs, sweep=()) -> Grid:
    options = {"downloads": "/somewhere/else", "asr_args": "--max_epoch 60"}
    return Grid("up", "train.yaml", options, tuple(sweep), (tuple(runs),))


def test_runs_that_did_not_learn_are_named_and_counted(synthetic):
    for seed in range(3):
        synthetic.add_errors(make_run("wsm", seed=seed), [1, 2] * 20)
        synthetic.add_errors(make_run("attention", seed=seed), [9 if seed < 2 else 10, 9] * 20)
    write_report(synthetic.results)
    text = read_report(synthetic.results)
    statements = read_section(text, "What is shown and what is not")
    assert "1 of 6 runs did not learn to transcribe (CER above 90 % on dev): " in statements
    assert f"{make_run('attention', seed=2).title}. They count" in statements
    assert (
        "Of the runs that learnt alone, attention on toy_en, k = 2, all training data, has CER " in statements
    )
    assert "(2 seeds), +" in statements and "against wsm: wsm better." in statements
    [attention] = [row for row in read_table(read_section(text, "Summary")) if row["arm"] == "attention"]
    assert attention["seeds"] == "3"
    assert attention["CER"].startswith("91.67 ±")


def test_only_what_the_grid_asks_for_is_reported_and_what_is_missing_named(synthetic):
    for arm in ("wsm", "sm", "drop"):
        synthetic.add(make_run(arm))
    grid = make_grid(make_run("wsm"), make_run("sm"), make_run("local"))
    keep_asked(synthetic.results, grid)
    write_report(synthetic.results)
    text = read_report(synthetic.results)
    assert "Runs: 2 of the 3 that the grid asks for" in text
    assert "1 record beside the grid left out" in text
    assert "toy_en/local-k2-all-s0" in read_section(text, "What was run")
    assert "drop" not in text
    assert "/somewhere" not in text + (synthetic.results / "grid.json").read_text()
    write_report(synthetic.results)  # the grid is remembered
    assert read_report(synthetic.results) == text


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no record"):
        write_report(tmp_path)


@pytest.mark.parametrize("name", ["grid.json", "chosen_lr.json", "costs.json"])
@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_file_is_named(synthetic, name, content):
    synthetic.add(make_run())
    (synthetic.results / name).write_text(content)
    with pytest.raises(UserError, match=name):
        write_report(synthetic.results)


def test_runs_on_different_test_sets_are_not_compared(synthetic):
    synthetic.add_errors(make_run("wsm"), [1] * 40)
    synthetic.add_errors(make_run("sm"), [1] * 41)
    with pytest.raises(
        UserError, match="toy_en/sm-k2-all-s0 and toy_en/wsm-k2-all-s0 were scored on different"
    ):
        write_report(synthetic.results)


def test_two_upstreams_are_said(synthetic):
    synthetic.add(make_run("wsm"))
    synthetic.add(make_run("sm"), upstream="other 123")
    write_report(synthetic.results)
    assert "**The runs have different upstreams" in read_report(synthetic.results)


def test_results_without_the_reference_arm_have_no_verdicts_but_differences(synthetic):
    for arm in ("sm", "attention"):
        synthetic.add(make_run(arm))
    assert "No arm was run beside wsm" not in write_report(synthetic.results)
    text = read_report(synthetic.results)
    assert "wsm was not run, so that there are no verdicts here: see the arms against each other." in text
    assert len(read_table(read_section(text, "Arm against arm"))) == 1
    assert {row["verdict"] for row in read_table(read_section(text, "Tables"))} == {"–"}


def test_curves_are_as_long_as_the_shortest_and_may_have_gaps(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(run_sections, "plot_curves", lambda file, curves: seen.update(curves))
    for seed, number in ((0, 5), (1, 3)):
        curves = {"train loss": [1.0, float("nan"), 2.0, 3.0, 4.0][:number], "valid cer_ctc": []}
        Synthetic(tmp_path).add_errors(make_run(seed=seed), [1, 2, 3], curves=curves)
    write_report(tmp_path)
    assert list(seen) == ["training loss"]
    np.testing.assert_array_equal(seen["training loss"]["toy_en"]["wsm"], [[1, np.nan, 2]] * 2)


def test_comparisons_are_made_once(synthetic, monkeypatch):
    for arm in ("wsm", "sm"):
        synthetic.add(make_run(arm))
    calls = []
    compute = estimates.compare_over_seeds
    monkeypatch.setattr(estimates, "compare_over_seeds", lambda *args: calls.append(1) or compute(*args))
    study = Study(read_records(synthetic.results))
    first, second = study.systems
    assert compare(first, second) is compare(first, second)
    assert len(calls) == 1


def test_what_an_earlier_version_has_kept_of_a_grid_is_read(synthetic):
    run = make_run()
    synthetic.add(run)
    write_text(synthetic.results / "grid.json", [json.dumps({"sweep": [], "runs": [run.title]})])
    write_report(synthetic.results)
    text = read_report(synthetic.results)
    assert "Runs: 1 of the 1 that the grid asks for" in text and "run.sh" not in text


def test_what_is_asked_for_is_kept_as_titles(synthetic):
    synthetic.add(make_run())
    keep_asked(synthetic.results, make_grid(make_run(), sweep=[make_run(lr=1e-3, sweep=True)]))
    write_report(synthetic.results)
    assert json.loads((synthetic.results / "grid.json").read_text()) == {
        "title": None,
        "rates_from": None,
        "upstream": "up",
        "train_config": "train.yaml",
        "recipe_options": {"asr_args": "--max_epoch 60"},
        "sweep": ["toy_en/wsm-k2-all-lr0.001-s0"],
        "runs": ["toy_en/wsm-k2-all-s0"],
    }
    options = "`--train_config train.yaml --asr_args '--max_epoch 60'`"
    assert f"Options that the grid gives to every `run.sh`: {options}." in read_report(synthetic.results)


def test_a_report_of_two_upstreams_begins_with_what_differs_between_them(whole, tmp_path, no_drawing):
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(whole, first)
    other = Synthetic(second, number=36)
    for corpus in ("a_en", "b_it"):
        for seed in range(2):
            other.add(make_run("wsm", corpus, seed=seed), 0.5, upstream="small 00")
            other.add(make_run("attention", corpus, seed=seed), 0.1, upstream="small 00")
    out = tmp_path / "BOTH.md"
    with pytest.raises(UserError, match="needs the file to write: --out"):
        write_report([first, second])
    keep_asked(second, replace(make_grid(*(r.run for r in read_records(second))), title="a small one"))
    said = write_report([first, second], out)
    text = out.read_text()
    assert said.count("figure: ") == 2 and said.endswith(f"report: {out}")
    headings = ("## What differs between the upstreams", "## tiny", "## a small one")
    assert sorted(headings, key=text.index) == list(headings)
    section = text[: text.index("## tiny")]
    assert "- **small**: a small one." in section
    rows = {(row["upstream"], row["corpus"]): row for row in read_table(section)}
    assert rows.keys() == {("tiny", name) for name in ("a_en", "b_it", "c_ru")} | {
        ("small", name) for name in ("a_en", "b_it")
    }
    assert rows["small", "a_en"]["fewer errors"] == "attention"
    assert rows["tiny", "a_en"]["fewer errors"] == "no difference"
    attention = next(row for row in read_table(section, 1) if row["arm"] == "attention")
    assert attention["small: wsm / none / arm"] == "0 / 0 / 2"
    assert text.count("\n# ") == 1 and "\n### Summary" in text and "\n#### a_en" in text
    with pytest.raises(UserError, match="first is the name of several of these folders of results"):
        write_report([first, first], out)
    third = tmp_path / "third"
    shutil.copytree(first, third)
    write_report([first, third], out)
    names = {row["upstream"] for row in read_table(out.read_text())}
    assert names == {"first", "third"}, "grids with one upstream"
    other.number = 37
    other.reference("a_en", "test")
    for seed in range(2):
        for arm in ("wsm", "attention"):
            other.add(make_run(arm, "a_en", seed=seed), 0.5, upstream="small 00")
    with pytest.raises(UserError, match="have different test sets of a_en"):
        write_report([first, second], out)


def test_rates_of_another_grid_are_told_and_arms_that_had_none(synthetic):
    grid = replace(make_grid(make_run(), make_run("sm")), rates_from="results/full/chosen_lr.json")
    synthetic.add(make_run(lr=1e-3))
    synthetic.add(make_run("sm"))
    keep_asked(synthetic.results, grid)
    write_report(synthetic.results)
    told = (
        "another grid chose (results/full/chosen_lr.json): wsm 0.001, but for sm, which it had no rate for."
    )
    assert told in read_report(synthetic.results)


def test_rates_of_another_grid_and_of_a_sweep_are_told_apart(synthetic):
    swept = make_run("sm", lr=2e-3, sweep=True)
    runs = make_run(lr=1e-3), make_run("sm", lr=2e-3)
    for run in (*runs, swept):
        synthetic.add(run)
    grid = replace(make_grid(*runs), sweep=(swept,), rates_from="results/full/chosen_lr.json")
    keep_asked(synthetic.results, grid)
    write_report(synthetic.results)
    text = read_report(synthetic.results)
    assert "Learning rates of wsm are those that another grid chose (results/full/chosen_lr.json), or" in text
    assert "that this one gives: wsm 0.001." in text and "Learning rates of sm were chosen on " in text
