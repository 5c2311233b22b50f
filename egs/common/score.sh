#!/usr/bin/env bash
# Stage 5: WER and CER of the decoded test sets by sclite and in Python, words to touch, what confidences are worth, a page to look at and
# listen to, and the recipe's RESULTS.md.
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
settle decoding
require_finished "${out}" 4
require_made_from "${out}" "$(folder_digest "${dump_dir}")" "${dump_dir}" 4

[[ ${report} == true || ${report} == false ]] || die "--report has to be true or false, got ${report}"
[[ -z ${seconds_per_correction} ]] || { is_decimal "${seconds_per_correction}" && [[ ${seconds_per_correction} == *[1-9]* ]]; } ||
    die "--seconds_per_correction has to be a number of seconds above 0, e.g. 4, got '${seconds_per_correction}'"
hold "${exp}" wait # its report is of all that was decoded
hold "${out}" wait
# What a run that was killed had begun to write; another decoding of the model may be under way beside this one.
find "${out}" -name '.*.tmp' -type f -delete
find "${exp}" -maxdepth 1 -name '.*.tmp' -type f -delete
log "Stage 5: score: ${out} -> ${out}/*/score_{wer,cer}, ${exp}/report.html, RESULTS.md"
# One job per set, whose arguments are in a file.
symbols=()
[[ ! -e ${dump_dir}/token_list/${token_type}/nlsyms.txt ]] ||
    symbols=(--non_linguistic_symbols "${dump_dir}/token_list/${token_type}/nlsyms.txt")
number=0
for set in ${test_sets}; do
    from=$(dump_folder "${set}")
    [[ -f ${out}/${set}/text ]] || die "--test_sets: ${out}/${set} does not exist; run stage 4 with ${set} among the sets"
    number=$((number + 1))
    printf '%s\0' --ref "${from}/text" --hyp "${out}/${set}/text" --utt2spk "${from}/utt2spk" \
        --utt2num_samples "${from}/utt2num_samples" --set_name "${set}" --out "${out}/${set}" "${symbols[@]}" \
        ${seconds_per_correction:+--seconds_per_correction "${seconds_per_correction}"} >"${out}/log/score.${number}.arguments"
done
# shellcheck disable=SC2016  # expanded by the job's shell
launch --num_threads 1 --max_jobs_run "${nj}" JOB=1:"${number}" "${out}/log/score.JOB.log" \
    bash -c 'mapfile -d "" -t arguments <"$0"; python -m espnet_wsm.bin.score "${arguments[@]}"' \
    "${out}/log/score.JOB.arguments"
for ((job = 1; job <= number; job++)); do
    grep -v '^# ' "${out}/log/score.${job}.log"
done

if [[ ${calibrate} == true && ${valid_set} != "${train_set}" && -f ${out}/${valid_set}/ctm ]]; then
    references=()
    for set in $(printf '%s\n' ${test_sets} "${valid_set}" | awk '!seen[$0]++'); do
        references+=("${set}=$(decoded_folder "${set}")/text")
    done
    python -m espnet_wsm.stages.calibrate --decoded "${out}" --model_file "${exp}/${inference_model}" \
        --valid "${valid_set}" "${references[@]}"
fi
if [[ ${report} == true ]]; then
    read -ra sets <<<"${test_sets}"
    python -m espnet_wsm.bin.report "${out}" --sets "${sets[@]}" --dump_dir "${dump_dir}" --audio link \
        --out "${exp}/report.html" --overwrite
fi

# All experiments of the recipe that have been scored, in any language.
all=${exp_dir}
[[ -z ${lang} ]] || all=${exp_dir%/"${lang}"}
python -m espnet_wsm.stages.make_results --out RESULTS.md \
    --title "Results: $(basename "$(dirname "${PWD}")")" "${all}"
