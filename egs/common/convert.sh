#!/usr/bin/env bash
# Stage 2, before features are stored: an upstream of which the last layers, or all, have blocks in the place of attention
# that learnt without labels to give what it gave, from the audio of the training set and of --unlabelled (--convert K).
# Run from a recipe's folder.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"

require_finished "${dump_dir}" 2
settle parent converting
hold "${converted}" wait
logs=${dump_dir}/log/convert.log
heard=("$(dump_folder "${train_set}")")
! has_directory || heard+=("$(dump_folder unlabelled)")
log "Stage 2: convert: ${heard[*]} -> ${converted}"
watch --log "${logs}" --desc convert --unit step
launch --gpu "$((ngpu > 0))" --num_threads "${num_threads}" "${logs}" \
    python -m espnet_wsm.stages.convert "${converting[@]}" --ngpu "$((ngpu > 0))" --log "${logs}" --audio "${heard[@]}" \
    -- "${parent[@]}"
unwatch
tr '\r' '\n' <"${logs}" | sed -e '/^#/d' -e 's/^convert: .*step.*]//' | awk 'NF' >&2
