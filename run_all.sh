#!/usr/bin/env bash
# The paper's experiment on real speech, from the corpora to tables and figures, with the upstream in the box.
#   ./run_all.sh             pre-trained attention, SM and WSM on one corpus, in minutes
#   ./run_all.sh --full      the grid of conf/experiments/full.yaml, which RESULTS.md is made of
# Stopped at any point it goes on where it was. Sets up the environment when it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
grid=default words=()
for word; do
    if [[ ${word} == --full ]]; then grid=full; else words+=("${word}"); fi
done
set -- "${words[@]}"
# shellcheck source=egs/common/lib.sh
. egs/common/lib.sh
# Those of the recipes are for one run.
shared_options=()

config=                       # grid of experiments; empty: conf/experiments/default.yaml or full.yaml
results=                      # folder for records, tables and figures; empty: results/default or results/full
cmd=conf/cluster/local.sh     # launcher with Kaldi's command line, for each run (run.pl, slurm.pl, queue.pl also fit)
nj=3                          # runs at a time
downloads=                    # unpacked Debian packages; empty: fetched with apt-get

# shellcheck source=egs/common/parse_options.sh
. egs/common/parse_options.sh
tools/setup.sh --check || tools/setup.sh
export PATH="${root}/.venv/bin:${PATH}"

start=${SECONDS}
report=
[[ ${grid} != full || -n ${results} ]] || report=RESULTS.md
[[ -n ${config} ]] || config=conf/experiments/${grid}.yaml
[[ -n ${results} ]] || results=results/${grid}
options=()
[[ -z ${downloads} ]] || options=(--option "downloads=$(realpath "${downloads}")")
run_child python -m espnet_wsm.bin.run_experiments --config "${config}" --results "${results}" \
    --cmd "${cmd}" --nj "${nj}" "${options[@]}"
[[ -z ${report} ]] || python -m espnet_wsm.bin.make_report --results "${results}" --out "${report}"
log "run_all.sh: done in $((SECONDS - start)) s"
