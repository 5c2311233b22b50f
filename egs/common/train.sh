#!/usr/bin/env bash
# Stage 3: train the layers above the cut with ESPnet's trainer; an interrupted run is resumed.
# Run from a recipe's folder.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"

require_finished "${dump_dir}" 2
require_fresh_dump
settle experiment training
tokens=${dump_dir}/token_list/${token_type}
[[ -d ${tokens} ]] || die "${tokens} does not exist; run stage 2 with --token_type ${token_type}"
made_with=$(cat "${dump_dir}/raw/org/${train_set}/speed_perturb" 2>/dev/null || true)
[[ ${speed_perturb} == "${made_with}" ]] ||
    die "${dump_dir} was made with --speed_perturb '${made_with}': give the same again, or run stage 2 again"
input=$(folder_digest "${dump_dir}")

# Empty if the configuration needs waveforms.
features=$(python -m espnet_wsm.stages.cache_features check --dump_dir "${dump_dir}" \
    --sets "${train_set} ${valid_set}" --cache "${cache}" --cache_dtype "${cache_dtype}" -- "${training[@]}")
args=(--token_list "${tokens}/tokens.txt")
if [[ ${token_type} == char ]]; then
    args+=(--token_type char)
else
    args+=(--token_type bpe --bpemodel "${tokens}/bpe.model")
fi
[[ ! -e ${tokens}/nlsyms.txt ]] || args+=(--non_linguistic_symbols "${tokens}/nlsyms.txt")
for part in train:"${train_set}" valid:"${valid_set}"; do
    folder=${dump_dir}/raw/${part#*:}
    speech=${folder}/wav.scp,speech,sound
    [[ -z ${features} ]] || speech=${features}/${part#*:}/feats.scp,speech,feature_cache
    # ESPnet trains on the ids of the shape file.
    [[ -z ${train_minutes} || ${part} == valid:* ]] || folder=${exp}/train_${train_minutes}min
    # Batches are made by the length of the audio, so they are the same with stored features.
    args+=(--"${part%%:*}"_data_path_and_name_and_type "${speech}"
        --"${part%%:*}"_data_path_and_name_and_type "${folder}/text,text,text"
        --"${part%%:*}"_shape_file "${folder}/speech_shape")
done

settings=("${args[*]} ${training[*]}")
if [[ ${transfer} != 0 ]]; then
    settle transfer
    blocks=$(python -m espnet_wsm.stages.transfer find "${transferring[@]}" -- "${training[@]}")
    [[ -z ${blocks} ]] || args+=(--init_param "${blocks}:encoder:encoder") settings+=("transfer ${blocks}")
fi

hold "${exp}"
# A checkpoint of other settings must not be resumed as if it were one of these.
python -m espnet_wsm.stages.record_run --dir "${exp}" --command "${ESPNET_WSM_COMMAND}" \
    --file "${train_config}" --setting "${input}" "${settings[@]/#/--setting=}"
begin_stage 3 "train" "${dump_dir}" "${exp}"
[[ -z ${train_minutes} ]] || python -m espnet_wsm.stages.subset_dump --dir "${dump_dir}/raw/${train_set}" \
    --minutes "${train_minutes}" --out "${exp}/train_${train_minutes}min"
watch --log "${exp}/train.log" --desc train --unit epoch
set_training_processes "${exp}"
launch "${nodes[@]}" --gpu "${ngpu}" --num_threads "${num_threads}" "${exp}/train.log" \
    "${starter[@]}" python -m espnet_wsm.bin.asr_train --output_dir "${exp}" --resume true "${processes[@]}" \
    "${args[@]}" "${training[@]}"
[[ -f ${exp}/${inference_model} ]] || die "training left no ${exp}/${inference_model}; see ${exp}/train.log"
finish_stage "${exp}" "${input}"
