"""The option parser: each option is declared once, everything else is refused."""

from pathlib import Path

import pytest

import espnet_wsm

RECIPE = "egs/asterisk/asr1"


def test_help_lists_every_option_once_with_its_default(project, shell):
    result = shell(["./run.sh", "--help"], project / RECIPE)
    assert result.returncode == 0
    options = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("  --")]
    assert len(options) == len(set(options)) > 20
    assert {"--stage", "--stop_stage", "--nj", "--ngpu", "--cmd", "--train_config", "--tag"} <= set(options)
    assert "en, es, fr, it or ru [en]" in result.stdout, "the recipe's own default wins over the shared one"
    assert result.stdout.startswith("asterisk: ")


@pytest.mark.parametrize("start", ["./run.sh", "../asr1/run.sh"])
def test_help_works_from_anywhere(project, shell, start):
    assert "--stop_stage" in shell([start, "--help"], project / RECIPE).stdout
    assert "--stop_stage" in shell([f"{RECIPE}/run.sh", "--help"], project).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stge", "2"], "error: unknown option --stge; see run.sh --help"),
        (["--stage"], "error: option --stage needs a value"),
        (["3"], "error: unexpected argument '3'; see run.sh --help"),
        (["--path", "/tmp"], "error: unknown option --path"),
        (["--PATH=/tmp"], "error: unknown option --PATH"),
        (["--stage", "6"], "error: --stage has to be a whole number from 1 to 5, got '6'"),
        (["--stage", ""], "error: --stage has to be a whole number from 1 to 5, got ''"),
        (["--stage", "3", "--stop_stage", "2"], "error: --stage 3 comes after --stop_stage 2: nothing to do"),
        (["--nj", "0"], "error: --nj has to be a whole number from 1"),
        (["--nj", "a[$(touch pwned)]"], "error: --nj has to be a whole number"),
        (["--data_dir", "da\nta"], "error: option --data_dir: its value holds a line break: $'da\\nta'"),
        (["--ngpu", "-1"], "error: --ngpu has to be a whole number from 0"),
    ],
)
def test_anything_undeclared_is_refused(project, shell, words, message):
    result = shell(["./run.sh", *words], project / RECIPE)
    assert result.returncode == 1 and message in result.stderr and not result.stdout
    assert not (project / RECIPE / "data").exists()


def test_both_forms_of_an_option_and_values_with_blanks_arrive(project, shell):
    script = project / "egs" / "common" / "show.sh"
    script.write_text(
        "#!/usr/bin/env bash\nset -euo pipefail\n"
        '. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"\n. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"\n'
        'printf "%s|" "${asr_args}" "${tag}" "${nj}"\n'
    )
    result = shell(
        ["bash", script, "--asr_args", "--max_epoch 3 --seed 1", "--tag=a=b", "--nj", "7"], project
    )
    assert result.stdout == "--max_epoch 3 --seed 1|a=b|7|"
    script.unlink()


@pytest.fixture(scope="module")
def show_options(project):
    """A recipe that prints the values of options, in a project with files to stand beside."""
    recipe = project / "egs/show/asr1"
    (recipe / "conf").mkdir(parents=True)
    (recipe / "conf/own.yaml").touch()
    template = (project / "egs/manifest/asr1/run.sh").read_text()
    body = template.partition("[[ -n ${downloads}")[0]
    (recipe / "run.sh").write_text(
        body + 'for name in $1; do echo "${!name}"; done\n'.replace("$1", "${tag}")
    )
    (project / "here").mkdir()
    for name in ("my table.csv", "text", "lm.arpa", "hubert", "launch.sh", "here/up", "rest"):
        (project / name).touch()
    return recipe


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("downloads", "my table.csv", "../../../my table.csv"),
        ("downloads", "./here/../my table.csv", "../../../my table.csv"),
        ("downloads", "not/there", "not/there"),
        ("train_config", "conf/train_ctc.yaml", "../../../conf/train_ctc.yaml"),
        ("train_config", "conf/own.yaml", "conf/own.yaml"),
        ("data_dir", "here", "../../../here"),
        ("exp_dir", "new", "new"),
        ("lm", "lm.arpa", "../../../lm.arpa"),
        ("lm", "text", "text"),
        ("unlabelled", "here", "../../../here"),
        ("unlabelled", "rest", "rest"),
        ("guide", "here", "../../../here"),
        ("upstream", "hubert", "hubert"),
        ("upstream", "./hubert", "../../../hubert"),
        ("upstream", "here/up", "../../../here/up"),
        ("cmd", "launch.sh --mem 4G", "../../../launch.sh --mem 4G"),
        ("lang", "text", "text"),
    ],
)
def test_paths_are_taken_from_where_the_user_stands_if_they_exist_there(
    project, shell, show_options, name, given, value
):
    words = ["egs/show/asr1/run.sh", f"--{name}", given, "--tag", name]
    result = shell(["bash", *words], project)
    assert (result.stdout, result.stderr) == (f"{value}\n", "")


def test_a_path_outside_the_project_is_full(project, shell, show_options, tmp_path):
    (tmp_path / "table.csv").touch()
    words = [show_options / "run.sh", "--downloads", "table.csv", "--tag", "downloads"]
    assert shell(["bash", *words], tmp_path).stdout == f"{tmp_path}/table.csv\n"


@pytest.mark.parametrize(
    "script", [f"{RECIPE}/run.sh", "egs/common/train.sh", "egs/debian_multi/ssl1/run.sh"]
)
def test_scripts_run_where_sh_is_another_shell(project, shell, script):
    result = shell(["sh", script, "--nj", "0"], project)
    assert result.stderr == "error: --nj has to be a whole number from 1 to 10000, got '0'\n"


def test_another_espnet_in_front_is_named(project, plain_shell, environment, tmp_path):
    (tmp_path / "espnet2").mkdir()
    (tmp_path / "espnet2/__init__.py").touch()
    command = (
        "declared() { python -m espnet_wsm.recipe.settings experiment -- --nj 1; }; declared || true;"
        "python -m espnet_wsm asr_train || true"
    )
    path = f"{tmp_path}:{Path(espnet_wsm.__file__).parents[1]}"
    result = plain_shell(["env", f"PYTHONPATH={path}", "bash", "-c", command], project)
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"error: {tmp_path}/espnet2 stands before the espnet2 of this environment, ")


def test_a_launcher_that_is_not_there_is_named(project, shell, tmp_path):
    script = f". {project}/egs/common/lib.sh; cmd='no/launcher.sh --mem 4G'; launch true"
    result = shell(["bash", "-euc", script], project / RECIPE)
    assert result.returncode == 1
    assert result.stderr == "error: --cmd no/launcher.sh --mem 4G: there is no program of that name\n"
