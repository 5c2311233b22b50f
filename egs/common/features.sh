#!/usr/bin/env bash
# Stage 2, at its end: the output of the upstream's frozen layers, stored once for every training.
# Run from a recipe's folder.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"

require_finished "${dump_dir}" 2
hold "${dump_dir}"
settle training
has_directory || unlabelled= # the rest of the training set is there
cached="${train_set} ${valid_set}${unlabelled:+ unlabelled}"
# A CPU is fastest with batches that fit into its caches.
folder=$(python -m espnet_wsm.stages.cache_features plan --dump_dir "${dump_dir}" \
    --sets "${cached}" --cache "${cache}" --cache_dtype "${cache_dtype}" \
    --batch_seconds "$((ngpu > 0 ? 160 : 15))" -- "${training[@]}")
[[ -n ${folder} ]] || exit 0
log "Stage 2: store features: ${dump_dir}/raw -> ${folder}"
logs=${dump_dir}/log/cache.JOB.log
rm -f "${dump_dir}"/log/{,.}cache.*
total=$(for set in ${cached}; do cat "${dump_dir}/raw/${set}/wav.scp"; done | wc -l)
watch --log "${logs}" --nj "${nj}" --total "${total}" --desc cache --unit utt
launch --gpu "$((ngpu > 0))" --num_threads 1 JOB=1:"${nj}" "${logs}" \
    python -m espnet_wsm.stages.cache_features run --folder "${folder}" --sets "${cached}" \
    --nj "${nj}" --job JOB --ngpu "$((ngpu > 0))" --log "${logs}"
unwatch
python -m espnet_wsm.stages.cache_features merge --folder "${folder}" --sets "${cached}"
# Where the heads of the attention look, for a training with windows: attention.
heads=${dump_dir}/log/read_heads.log
launch --num_threads "${num_threads}" "${heads}" \
    python -m espnet_wsm.stages.read_heads --folder "${folder}" --set "${train_set}" -- "${training[@]}"
grep -v '^#' "${heads}" >&2 || true
