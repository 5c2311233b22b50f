#!/usr/bin/env bash
# Stage 3, before training: the blocks of the replaced layers learn, without labels, to give what the attention in
# their place gives (--transfer STEPS). The result serves every seed and learning rate.
# Run from a recipe's folder.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"

require_finished "${dump_dir}" 2
require_fresh_dump
settle training transfer
verb() { python -m espnet_wsm.stages.transfer "$1" "${transferring[@]}" "${@:2}" -- "${training[@]}"; }

# Runs whose blocks differ learn from the same pairs, and runs that differ in nothing that is transferred share the result:
# one makes it, the others wait.
store_pairs() {
    local folder logs
    hold "${dump_dir}/cache/transfer" wait
    folder=$(verb plan --ngpu "$((ngpu > 0))")
    echo "${folder}"
    [[ -n ${folder} && ! -e ${folder}/transfer.json ]] || return 0
    log "Stage 3: store what attention is given and gives: ${dump_dir}/cache -> ${dump_dir}/cache"
    logs=${folder}/log/pairs.JOB.log
    watch --log "${logs}" --nj "${nj}" --desc pairs --unit utt
    launch >&2 --gpu "$((ngpu > 0))" --num_threads 1 JOB=1:"${nj}" "${logs}" \
        python -m espnet_wsm.stages.transfer store "${transferring[@]}" --nj "${nj}" --job JOB --ngpu "$((ngpu > 0))" \
        --log "${logs}" -- "${training[@]}"
    unwatch
    verb merge
}

folder=$(store_pairs)
[[ -n ${folder} ]] || exit 0
hold "${folder}" wait
[[ ! -e ${folder}/transfer.json ]] || exit 0
log "Stage 3: transfer: ${dump_dir}/cache -> ${folder}"
watch --log "${folder}/transfer.log" --desc transfer --unit step
launch --gpu "$((ngpu > 0))" --num_threads "${num_threads}" "${folder}/transfer.log" \
    python -m espnet_wsm.stages.transfer learn "${transferring[@]}" --ngpu "$((ngpu > 0))" \
    --log "${folder}/transfer.log" -- "${training[@]}"
unwatch
grep -h "is left on held-out speech" "${folder}/transfer.log" >&2
