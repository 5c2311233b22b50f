#!/usr/bin/env bash
# All checks: ruff, ShellCheck and pytest, several tests at a time.
#   ./run_tests.sh               everything, as CI runs it
#   ./run_tests.sh --quick       without recipes, kills, Slurm, upstreams of true size and what else is slow
#   ./run_tests.sh --all         everything, with twenty random kills instead of eight
#   ./run_tests.sh --shuffle     everything, in random order: no test may need the one before it
#   ./run_tests.sh ARGUMENTS     pytest alone, with these arguments, e.g. tests/mixing or -m 'not recipe'
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
options=(--durations=15 --cov=espnet_wsm --cov-report=term:skip-covered --cov-fail-under=95)
of_ours=true
case ${1:-} in
'') ;;
--quick) options=(-m 'not recipe and not slow and not slurm and not large') ;;
--all) export KILLS=20 ;;
--shuffle) options+=(-p randomly) ;;
--help | -h)
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*) of_ours=false ;;
esac
if ${of_ours} && (($# > 1)); then
    echo "error: $1 takes no more arguments, got ${*:2}" >&2
    exit 1
fi
tools/setup.sh --check || tools/setup.sh
export PATH="${PWD}/.venv/bin:${PATH}"
# Tests run side by side, so each computes in one thread.
export OMP_NUM_THREADS=1
${of_ours} || exec pytest "$@"
ruff check .
ruff format --check .
git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run | xargs -0 shellcheck --external-sources
# More workers than four want more memory than most laptops have.
cores=$(env -u OMP_NUM_THREADS nproc)
# Tracing by the interpreter itself (Python 3.12) takes a seventh less time than the default.
COVERAGE_CORE=sysmon exec pytest -n "$((cores < 4 ? cores : 4))" --dist loadfile --no-loadscope-reorder "${options[@]}"
