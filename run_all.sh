#!/usr/bin/env bash
# The default experiment: both recipes on real speech from the corpus to the score, then RESULTS.md.
#   ./run_all.sh [OPTION VALUE ...]    options go to every recipe's run.sh, e.g. --nj 4 or --mixer sm
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    sed -n '2,3s/^# \{0,1\}//p' "$0"
    echo "Options, here those of egs/asterisk/asr1:"
    egs/asterisk/asr1/run.sh --help | sed '1,/^$/d'
    exit 0
fi
tools/setup.sh --check || tools/setup.sh
export PATH="${PWD}/.venv/bin:${PATH}"
export ESPNET_WSM_COMMAND="run_all.sh $*"

start=${SECONDS}
for recipe in mini_an4 asterisk; do
    echo "== ${recipe}" >&2
    egs/"${recipe}"/asr1/run.sh "$@"
done
echo "== all recipes: RESULTS.md" >&2
python -m espnet_wsm.bin.make_results --out RESULTS.md --title "Results" egs/{mini_an4,asterisk}/asr1/exp
echo "run_all.sh: done in $((SECONDS - start)) s" >&2
