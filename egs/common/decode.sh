#!/usr/bin/env bash
# Stage 4: decode the test sets, in parallel jobs, and for --calibrate the validation set.
# Run from a recipe's folder.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"

settle experiment
require_finished "${dump_dir}" 2
require_finished "${exp}" 3
input=$(folder_digest "${dump_dir}")
require_made_from "${exp}" "${input}" "${dump_dir}" 3
settle decoding
model=${exp}/${inference_model}
[[ -f ${model} ]] || die "--inference_model: ${model} does not exist"
[[ -n ${inference_config} ]] || inference_config=../../../conf/decode_${search}.yaml
[[ -f ${inference_config} ]] || die "--inference_config ${inference_config} does not exist"

begin_stage 4 "decode (${search})" "${dump_dir}" "${out}"
read -r -d '' -a more <<<"${inference_args}" || true
if [[ ${search} == lm ]]; then
    set_text_options
    options=("${text_options[@]}" --order "${ngram_order}" --out "${out}/lm"
        --train_text "${train_text}" --valid_text "${dump_dir}/raw/${valid_set}/text")
    [[ ${lm} == text ]] || options+=(--lm "${lm}")
    lm_file=$(python -m espnet_wsm.stages.prepare_lm "${options[@]}")
    more=(--lm_file "${lm_file}" "${more[@]}")
fi
sets=${test_sets}
# Calibration takes what training validates on, without utterances that are too long.
if [[ ${calibrate} == true && ${search} != beam && " ${train_set} ${sets} " != *" ${valid_set} "* ]]; then
    sets+=" ${valid_set}"
fi
folders=() largest=1
for set in ${sets}; do
    from=$(decoded_folder "${set}")
    [[ -f ${from}/wav.scp ]] || die "--test_sets: ${from} does not exist; run stage 2 with ${set} among the sets"
    [[ ! -e ${from}/speed_perturb ]] ||
        die "${from} was made with --speed_perturb, for training only; to decode it, run stage 2 without the option"
    folders+=("${from}")
    rm -rf "${out:?}/${set}"
    size=$(wc -l <"${from}/wav.scp")
    ((size <= largest)) || largest=${size}
done
jobs=$((nj < largest ? nj : largest))
launch --gpu "$((ngpu > 0))" --num_threads 1 JOB=1:"${jobs}" "${out}/log/asr_inference.JOB.log" \
    python -m espnet_wsm.stages.decode_sets --search "${search}" --nj "${jobs}" --job JOB --out "${out}" "${folders[@]}" \
    -- --config "${inference_config}" --ngpu "$((ngpu > 0))" \
    --asr_train_config "${exp}/config.yaml" --asr_model_file "${model}" "${more[@]}"
files="text token token_int score"
[[ ${search} == beam ]] || files+=" ctm" # words with times and confidences, in order within an utterance
for set in ${sets}; do
    dir=${out}/${set}
    for file in ${files}; do
        cat "${dir}"/log/output.*/1best_recog/"${file}" | sort --stable -k1,1 >"${dir}/${file}"
    done
    expected=$(wc -l <"$(decoded_folder "${set}")/wav.scp")
    decoded=$(wc -l <"${dir}/text")
    ((decoded == expected)) || die "${dir}: ${decoded} of ${expected} utterances decoded; see ${out}/log"
    log "decoded ${decoded} utterances: ${dir}/text"
done
finish_stage "${out}" "${input}"
