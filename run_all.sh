#!/usr/bin/env bash
# The default experiment: both recipes on real speech from the corpus to the score, then RESULTS.md.
#   ./run_all.sh [OPTION VALUE ...]    options of egs/asterisk/asr1/run.sh, e.g. --lang it or --mixer sm
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    sed -n '2,3s/^# \{0,1\}//p' "$0"
    echo "Options:"
    egs/asterisk/asr1/run.sh --help | sed '1,/^$/d'
    exit 0
fi
tools/setup.sh --check || tools/setup.sh
export PATH="${PWD}/.venv/bin:${PATH}"
# For the record in RESULTS.md.
ESPNET_WSM_COMMAND="run_all.sh$( (($# == 0)) || printf ' %q' "$@")"
export ESPNET_WSM_COMMAND

# Stopping this script stops the recipe that it runs.
trap 'kill "${child}" 2>/dev/null; wait "${child}"; exit 143' INT TERM
run() {
    "$@" &
    child=$!
    wait "${child}"
}

start=${SECONDS}
echo "== mini_an4" >&2
run egs/mini_an4/asr1/run.sh
echo "== asterisk" >&2
run egs/asterisk/asr1/run.sh "$@"
echo "== all recipes: RESULTS.md" >&2
python -m espnet_wsm.bin.make_results --out RESULTS.md --title "Results" egs/{mini_an4,asterisk}/asr1/exp
echo "run_all.sh: done in $((SECONDS - start)) s" >&2
