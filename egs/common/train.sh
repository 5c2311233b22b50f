#!/usr/bin/env bash
# Stage 3: train the layers above the cut with ESPnet's trainer; an interrupted run is resumed.
# Run from a recipe's folder.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"
# shellcheck source=egs/common/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/training.sh"

settle rounds training steps
exp=${rounds[0]}
measured=()
untold= # speech without text that is learnt from: a set
[[ -z ${guide} || -z ${unlabelled} ]] || untold=unlabelled
[[ -z ${untold} ]] || has_directory || untold=${train_set}
prepare_training "${train_set} ${valid_set}$([[ ${untold} != unlabelled ]] || echo " unlabelled")"
if [[ -n ${untold} ]]; then
    list_sets "" "${exp}/guided"
else
    list_sets "${train_set}" "${transcripts}"
fi

settings=("${args[*]} ${training[*]}")
if ((transfer_steps > 0)); then
    settle transfer
    blocks=$(python -m espnet_wsm.stages.transfer find "${transferring[@]}" -- "${training[@]}")
    [[ -z ${blocks} ]] || args+=(--init_param "${blocks}:encoder:encoder") settings+=("transfer ${blocks}")
fi

if [[ -n ${guide} ]]; then
    taught=$(python -m espnet_wsm.stages.guide describe "${guide}")
    settings+=("guide ${taught}")
    [[ ${untold} != unlabelled ]] || settings+=("$(digest_unlabelled)")
fi

record_training "${exp}" "${settings[@]}"
if ((pseudo_rounds > 0)) && is_trained "${exp}"; then
    log "Stage 3: ${exp} is trained already"
    exit 0
fi
begin_stage 3 "train" "${dump_dir}" "${exp}"
[[ -z ${train_minutes} ]] || python -m espnet_wsm.stages.subset_dump --dir "${dump_dir}/raw/${train_set}" \
    --minutes "${train_minutes}" --out "${transcripts}"
if [[ -n ${untold} ]]; then
    for set in ${valid_set} ${test_sets}; do measured+=("$(dump_folder "${set}")"); done
    stored=(${features:+--stored "${features}/${train_set}" "${features}/${untold}"})
    python -m espnet_wsm.stages.guide lists --out "${exp}/guided" --known "${transcripts}" \
        --speech "${dump_dir}/raw/${untold}" --measured "${measured[@]}" "${stored[@]}"
fi
train "${exp}" "${args[@]}" "${training[@]}"
finish_stage "${exp}" "${input}"
