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
# Puts .venv on PATH, records this command for RESULTS.md, and gives run_child, which stops what it runs.
# shellcheck source=egs/common/lib.sh
. egs/common/lib.sh

start=${SECONDS}
echo "== mini_an4" >&2
run_child egs/mini_an4/asr1/run.sh
echo "== asterisk" >&2
run_child egs/asterisk/asr1/run.sh "$@"
echo "== all recipes: RESULTS.md" >&2
python -m espnet_wsm.bin.make_results --out RESULTS.md --title "Results" egs/{mini_an4,asterisk}/asr1/exp
echo "run_all.sh: done in $((SECONDS - start)) s" >&2
