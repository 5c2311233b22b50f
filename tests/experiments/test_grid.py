"""Grids of experiments: what a configuration expands to, and what is refused."""

from pathlib import Path

import pytest

from espnet_wsm.arms import ARMS
from espnet_wsm.errors import UserError
from espnet_wsm.experiments.grid import DTYPES, add_options, check_options, read_grid
from espnet_wsm.experiments.options import options_of
from espnet_wsm.experiments.runs import INFINITE, Run, expand_block
from espnet_wsm.experiments.sweep import choose_rates, extend_sweep, with_chosen_rates
from espnet_wsm.upstream.config import SUFFIX_DTYPES

ROOT = Path(__file__).parents[2]
HEAD = "upstream: up\ntrain_config: train.yaml\n"
ONE = "grids:\n-   {corpora: [toy], arms: [wsm]}\n"


def write(tmp_path, text) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    return path


def names(runs) -> list[str]:
    return [run.title for run in runs]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "conf/experiments").glob("*.yaml")), ids=lambda path: path.name
)
def test_the_shipped_grids_can_be_read(path):
    grid = read_grid(path)
    assert grid.runs
    assert len(set(names((*grid.sweep, *grid.runs)))) == len(grid.sweep) + len(grid.runs)


def test_a_block_is_the_product_of_its_lists(tmp_path):
    axes = "num_replaced: [1, 2], minutes: [5, all], seeds: [0, 1]"
    text = f"{HEAD}grids:\n-   {{corpora: [a, b], arms: [wsm, sm], {axes}}}\n"
    runs = read_grid(write(tmp_path, text)).runs
    assert len(runs) == len(set(runs)) == 2**5
    assert names(runs)[:2] == ["a/wsm-k1-5min-s0", "a/wsm-k1-5min-s1"]
    assert names(runs)[-1] == "b/sm-k2-all-s1"


def test_what_is_not_given_has_a_default(tmp_path):
    (run,) = read_grid(write(tmp_path, HEAD + ONE)).runs
    assert run == Run("toy", "wsm", num_replaced=2, minutes=None, seed=0)


def test_equal_runs_of_several_blocks_are_one(tmp_path):
    text = HEAD + ONE + "-   {corpora: toy, arms: [sm, wsm]}\n"
    assert names(read_grid(write(tmp_path, text)).runs) == ["toy/wsm-k2-all-s0", "toy/sm-k2-all-s0"]


def test_frozen_has_no_layers_and_is_run_once_for_all_k():
    runs = expand_block({"corpora": ["toy"], "arms": ["frozen", "drop"], "num_replaced": [1, 2]}, "here")
    assert names(runs) == ["toy/frozen-k0-all-s0", "toy/drop-k1-all-s0", "toy/drop-k2-all-s0"]


def test_window_and_width_count_only_where_blocks_have_them():
    block = {"corpora": ["toy"], "arms": list(ARMS), "window": [0, "inf"], "width": [64]}
    found = {}
    for run in expand_block(block, "here"):
        found.setdefault(run.arm, []).append((run.window, run.width))
    pseudo = [name for name, arm in ARMS.items() if arm.pseudo_of == "wsm"]
    causal = ("wsm_causal", "local_causal", "wsm_views")
    for arm in ("wsm", "local", "wsm_transfer", "local_transfer", *causal, *pseudo):
        assert found.pop(arm) == [(0, 64), (INFINITE, 64)]
    for arm in ("sm", "sm_authors", "sm_transfer"):
        assert found.pop(arm) == [(None, 64)]
    assert set(map(tuple, found.values())) == {((None, None),)}


@pytest.mark.parametrize("window", ["inf", float("inf"), INFINITE])
def test_a_window_of_the_whole_utterance_is_called_inf(window):
    (run,) = expand_block({"corpora": ["toy"], "arms": ["wsm"], "window": [window]}, "here")
    assert (run.window, run.name) == (INFINITE, "wsm-k2-all-winf-s0")


def test_names_tell_all_runs_of_a_grid_apart():
    block = {
        "corpora": ["toy"],
        "arms": ["wsm"],
        "window": [None, 5],
        "width": [None, 64],
        "minutes": [5, "all"],
    }
    runs = [*expand_block(block, "here"), *expand_block(block | {"lr": [1e-3, 2e-3]}, "here", sweep=True)]
    assert len(set(names(runs))) == len(runs) == 8 + 16
    assert "toy/wsm-k2-all-w5-width64-lr0.001-s0" in names(runs)


@pytest.mark.parametrize(
    "arguments",
    [
        "--seed 3",
        "--encoder_conf=window=3",
        "--optim_conf=lr=0.1",
        '--optim_conf {"lr":0.1}',
        "--config x.yaml",
    ],
)
def test_what_the_runner_gives_to_the_trainer_is_refused_however_it_is_written(arguments):
    with pytest.raises(UserError, match="in asr_args is what the grid itself sets"):
        check_options({"asr_args": arguments}, "here")
    check_options({"asr_args": "--max_epoch 3 --scheduler_conf final_lr_scale=0.1 --ctc_conf x=1"}, "here")


def test_options_of_the_command_line_replace_and_asr_args_add_up(tmp_path):
    head = HEAD + "recipe_options: {nbpe: 50, asr_args: --max_epoch 60}\n"
    grid = read_grid(write(tmp_path, head + ONE))
    add_options(grid, {"nbpe": "70", "asr_args": "--use_amp true"}, "--option")
    assert grid.recipe_options == {"nbpe": "70", "asr_args": "--max_epoch 60 --use_amp true"}
    with pytest.raises(UserError, match="--option: tag is what"):
        add_options(grid, {"tag": "x"}, "--option")


def test_a_sweep_may_have_several_blocks(tmp_path):
    blocks = "sweep:\n-   {corpora: [toy], arms: [wsm, drop], lr: [0.1]}\n"
    blocks += "-   {corpora: [toy], arms: [drop], lr: [0.2]}\n"
    grid = read_grid(write(tmp_path, HEAD + blocks + ONE.replace("[wsm]", "[wsm, drop]")))
    assert [(run.arm, run.lr) for run in grid.sweep] == [("wsm", 0.1), ("drop", 0.1), ("drop", 0.2)]


def test_a_rate_is_chosen_for_arms_that_are_run(tmp_path):
    sweep = "sweep:\n-   {corpora: [toy], arms: [wsm, drop], lr: [0.1]}\n"
    with pytest.raises(UserError, match="sweep chooses a rate for drop, which no block of grids has"):
        read_grid(write(tmp_path, HEAD + sweep + ONE))


def test_arms_and_corpora_of_one_block_can_be_replaced(tmp_path):
    path = write(tmp_path, HEAD + ONE)
    runs = read_grid(path, arms=["drop", "sm"], corpora=["a", "b"]).runs
    assert [(run.corpus, run.arm) for run in runs] == [("a", "drop"), ("a", "sm"), ("b", "drop"), ("b", "sm")]
    with pytest.raises(UserError, match="arm 'mamba' is none of"):
        read_grid(path, arms=["mamba"])
    with pytest.raises(UserError, match="has a sweep or several blocks: other arms"):
        read_grid(ROOT / "conf/experiments/full.yaml", arms=["wsm"])


def test_of_several_files_of_rates_the_last_counts(tmp_path):
    (tmp_path / "a.json").write_text('{"wsm": 0.001, "sm": 0.002}')
    (tmp_path / "b.json").write_text('{"wsm": 0.004}')
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "upstream: u\ntrain_config: t\nrates: [a.json, b.json]\ngrids: [{corpora: [toy], arms: [wsm, sm]}]\n"
    )
    found = read_grid(grid)
    assert found.rates == {"wsm": 0.004, "sm": 0.002}
    assert found.rates_from.endswith("/a.json and " + "/".join([*tmp_path.parts[-2:], "b.json"]))


@pytest.mark.parametrize(
    "content", [None, "wsm: 0.1", "[1]", '{"mamba": 0.1}', '{"wsm": 2}', '{"wsm": "fast"}']
)
def test_rates_that_cannot_be_are_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "rates.json").write_text(content)
    with pytest.raises(UserError, match=r"rates 'rates\.json' cannot be read as what a sweep has chosen"):
        read_grid(write(tmp_path, "rates: rates.json\n" + HEAD + ONE))


def test_a_sweep_goes_on_at_the_side_where_its_best_rate_has_no_neighbour():
    def run(arm: str, lr: float, corpus: str = "toy") -> Run:
        return Run(corpus, arm, 2, None, 0, lr=lr, sweep=True)

    inside = [(run("wsm", rate), error) for rate, error in ((0.1, 9.0), (0.2, 5.0), (0.4, 6.0))]
    assert extend_sweep(inside) == []
    low = [(run("wsm", rate), error) for rate, error in ((0.1, 4.0), (0.2, 5.0))]
    assert extend_sweep(low) == [run("wsm", 0.05)]
    high = [(run("sm", rate, corpus), 1 / rate) for rate in (0.1, 0.2) for corpus in ("toy", "doll")]
    assert extend_sweep([*inside, *high]) == [run("sm", 0.4, "toy"), run("sm", 0.4, "doll")]
    assert [each.lr for each in extend_sweep([(run("sm", 0.1), 5.0)])] == [0.05, 0.2]
    assert extend_sweep([(run("sm", rate), 1 / rate) for rate in (0.2, 0.4)]) == [], "1 and more is no rate"


def test_options_of_recipes_are_written_as_run_sh_takes_them(tmp_path):
    text = HEAD + "recipe_options: {trust: true, nbpe: 50, token_type: bpe}\n" + ONE
    options = read_grid(write(tmp_path, text)).recipe_options
    assert options == {"trust": "true", "nbpe": "50", "token_type": "bpe"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("upstream: 5\ntrain_config: t.yaml\n" + ONE, "upstream 5 has to be a path relative to a recipe's"),
        ("upstream: up\ntrain_config:\n" + ONE, "train_config None has to be a path"),
        ("title: |\n  a\n  b\n" + HEAD + ONE, r"title .* has to be a text of one line"),
        ("extend_sweep: 1\n" + HEAD + ONE, "extend_sweep 1 has to be true or false"),
        ("transfer: 0\n" + HEAD + ONE, "transfer 0 has to be a number of steps, 1 or more"),
        (
            "transfer_frames: all\n" + HEAD + ONE,
            "transfer_frames 'all' has to be a number of frames in a step",
        ),
        ("flat_start: true\n" + HEAD + ONE, "flat_start True has to be a number of steps, 0 for none"),
        ("suffix_dtype: fp16\n" + HEAD + ONE, "suffix_dtype 'fp16' has to be auto, float32, bfloat16"),
        ("[]", "holds no mapping"),
        ("a: [", "is not YAML"),
        (HEAD, "lacks grids"),
        (HEAD + "seeds: [1]\n" + ONE, "unknown key seeds"),
        (HEAD + "1: x\ntwo: y\n" + ONE, "unknown key 1"),
        (HEAD + "grids: {corpora: [toy]}\n", "grids has to be a list"),
        (HEAD + "grids: []\n", "grids has to be a list"),
        (HEAD + "grids: [toy]\n", "grid 1 is no mapping"),
        (HEAD + "recipe_options: fast\n" + ONE, "recipe_options has to be a mapping"),
        (
            HEAD + "recipe_options: {tag: mine}\n" + ONE,
            "recipe_options: tag is what the grid itself sets; give it by a key of the grid",
        ),
        (
            HEAD + "recipe_options: {asr_args: --max_epoch 3 --optim_conf lr=0.1}\n" + ONE,
            "recipe_options: lr in asr_args is what the grid itself sets; give it by a key of the grid",
        ),
        (
            HEAD + "grids: [{corpora: [toy], arms: [wsm], window: [3, inf]}]\n",
            "every run has a window or width of its own; add a block without them",
        ),
        (HEAD + ONE + "-   {corpora: [toy], arms: [wsm], seed: [0]}\n", "grid 2: unknown key seed"),
        (
            HEAD + ONE + "-   {corpora: [toy], arms: [wsm], lr: [0.001, 0.002]}\n",
            "toy/wsm-k2-all-s0 is asked for",
        ),
        (HEAD + "sweep: {corpora: [toy], arms: [wsm]}\n" + ONE, "sweep 1 has no lr"),
        (HEAD + "sweep: {corpora: [toy], arms: [wsm], lr: [null, 0.1]}\n" + ONE, "sweep 1 has no lr"),
        (HEAD + "sweep: fast\n" + ONE, "sweep 1 is no mapping"),
        (HEAD + "upstream_digest: 12\n" + ONE, "upstream_digest 12 has to be a text"),
        (
            HEAD + "sweep: [{corpora: [toy], arms: [wsm], lr: [0.1]}, {arms: [wsm]}]\n" + ONE,
            "sweep 2 names no",
        ),
        (
            HEAD
            + "sweep: [{corpora: [a, b], arms: [sm], lr: [0.1]}, {corpora: [a], arms: [sm], lr: [0.2]}]\n"
            + ONE,
            "sweep tries sm at some rates on one corpus",
        ),
        (HEAD + "recipe_options: {asr_args: [a, b]}\n" + ONE, "recipe_options: asr_args needs one value"),
        (HEAD + "recipe_options: {asr_args: null}\n" + ONE, "recipe_options: asr_args needs one value"),
    ],
)
def test_a_file_at_fault_is_named(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        read_grid(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("corpora", []),
        ("arms", ["wsn"]),
        ("arms", [["wsm"]]),
        ("seeds", []),
        ("seeds", [-1]),
        ("seeds", [True]),
        ("num_replaced", [0]),
        ("num_replaced", ["2"]),
        ("minutes", [0]),
        ("minutes", ["five"]),
        ("window", [[5, 10]]),
        ("window", [2.5]),
        ("width", [0]),
        ("lr", ["1e-3"]),
        ("lr", [0]),
        ("lr", [2]),
    ],
)
def test_a_value_that_cannot_be_is_refused(key, value):
    with pytest.raises(UserError, match=f"here.*{key.removesuffix('s')}"):
        expand_block({"corpora": ["toy"], "arms": ["wsm"]} | {key: value}, "here")


def sweep_run(arm, lr, corpus="toy") -> Run:
    return Run(corpus, arm, 2, None, 0, lr=lr, sweep=True)


def test_the_rate_with_the_lowest_mean_is_chosen():
    tried = [
        (sweep_run("wsm", 1e-3), 30.0),
        (sweep_run("wsm", 1e-3, "other"), 50.0),
        (sweep_run("wsm", 2e-3), 39.0),
        (sweep_run("sm", 1e-3), 20.0),
    ]
    assert choose_rates(tried) == {"wsm": 2e-3, "sm": 1e-3}


def test_of_equal_rates_the_smaller_is_chosen_in_any_order():
    tried = [(sweep_run("wsm", rate), 30.0) for rate in (2e-3, 1e-3, 5e-3)]
    assert choose_rates(tried) == choose_rates(reversed(tried)) == {"wsm": 1e-3}


def test_a_chosen_rate_is_used_where_none_is_given():
    runs = [
        Run("toy", "wsm", 2, None, 0),
        Run("toy", "sm", 2, None, 0),
        Run("toy", "wsm", 2, None, 1, lr=5e-3),
    ]
    rates = [run.lr for run in with_chosen_rates(runs, {"wsm": 1e-3})]
    assert rates == [1e-3, None, 5e-3]


def test_precisions_are_those_of_the_encoder():
    assert set(DTYPES) == set(SUFFIX_DTYPES)


def test_a_variant_trains_with_its_options_at_the_rate_of_its_arm():
    (run,) = expand_block({"corpora": ["toy"], "arms": ["attention_views"]}, "here")
    (run,) = with_chosen_rates([run], {"attention": 0.25, "wsm": 0.5})
    words = options_of(run, "--max_epoch 2")
    assert run.lr == 0.25 and words[words.index("--mixer") + 1] == "attention"
    assert words[-1].startswith("--max_epoch 2 --model_conf consistency=0.2 --specaug specaug ")
    assert words[-1].endswith(" --seed 0 --optim_conf lr=0.25")
    with pytest.raises(UserError, match="attention_views has the learning rate of attention: sweep that one"):
        expand_block({"corpora": ["toy"], "arms": ["attention_views"], "lr": [0.1]}, "here", sweep=True)
