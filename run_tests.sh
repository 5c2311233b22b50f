#!/usr/bin/env bash
# All checks: ruff, shellcheck, and pytest with the mini_an4 recipe end to end and a dry run of every YAML.
#   ./run_tests.sh               everything
#   ./run_tests.sh ARGUMENTS     pytest alone, with these arguments, e.g. tests/mixing or -m 'not recipe'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    sed -n '2,4s/^# \{0,1\}//p' "$0"
    exit 0
fi
tools/setup.sh --check || tools/setup.sh
export PATH="${PWD}/.venv/bin:${PATH}"
if (($# > 0)); then
    exec pytest "$@"
fi
ruff check .
ruff format --check .
git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run | xargs -0 shellcheck --external-sources
# Tracing by the interpreter itself (Python 3.12) takes a seventh less time than the default.
COVERAGE_CORE=sysmon pytest --durations=25 --cov=espnet_wsm --cov-report=term --cov-fail-under=85
