"""The option parser: each option is declared once, everything else is refused."""

import pytest

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
