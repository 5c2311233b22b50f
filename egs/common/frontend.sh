#!/usr/bin/env bash
# Stage 2: Kaldi data directories -> 16 kHz audio, tokens, utterances selected by length. What matches the current data
# and options is not made again.
# Run from a recipe's folder.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"

require_finished "${data_dir}" 1
if [[ -d ${dump_dir} && ! -e ${dump_dir}/.made_from && ! -e ${dump_dir}/.unfinished && -n $(ls -A "${dump_dir}") ]]; then
    die "--dump_dir ${dump_dir} holds files that this stage did not make; choose another folder"
fi
check_training_options
check_unlabelled
settle rounds parent
has_directory || unlabelled= # the rest of the training set is there
set_text_options
# Not all upstreams take utterances of any length.
longest=$(python -m espnet_wsm.stages.limit_duration --max_seconds "${max_wav_duration}" --join_to "${join_to:-0}" -- "${parent[@]}")
input=$(input_digest)
settings="${train_set}|${valid_set}|${test_sets}|${token_type}|${nbpe}|${speed_perturb}${join_to:+|${join_to} ${join_pause}}"
settings+="|${min_wav_duration}|${longest}|$([[ -z ${text_config} ]] || sha256sum <"${text_config}" | cut -c1-16)"
[[ -z ${text_config} || -r ${text_config} ]] || die "--text_config ${text_config} cannot be read: check its permissions"
[[ -z ${nlsyms_txt} || -f ${nlsyms_txt} ]] || die "--nlsyms_txt ${nlsyms_txt} does not exist"
settings+="|${byte_fallback}|$([[ -z ${nlsyms_txt} ]] || sha256sum <"${nlsyms_txt}" | cut -c1-16)"
[[ ${channel} == mix ]] || settings+="|channel ${channel}"

make_dump() {
    local set from out no_text options tokens measured
    begin_stage 2 "format audio, make tokens" "${data_dir}${unlabelled:+ and ${unlabelled}}" "${dump_dir}"
    rm -rf "${dump_dir:?}"/{raw,cut,token_list,log}

    # A set may be named twice, e.g. as valid_set and in test_sets.
    for set in $(printf '%s\n' ${train_set} ${valid_set} ${test_sets} ${unlabelled:+unlabelled} | awk '!seen[$0]++'); do
        from=${data_dir}/${set} no_text=()
        [[ ${set} != unlabelled ]] || from=${unlabelled} no_text=(--no_text)
        options=(--allow_pipes "${allow_pipes}" "${no_text[@]}")
        python -m espnet_wsm.bin.validate_data_dir --no_audio "${options[@]}" "${from}" >/dev/null
        [[ ${set} != unlabelled ]] || from=$(cut_unlabelled "${longest}")
        out=$(dump_folder "${set}")
        options+=(--data "${from}" --out "${out}" --nj "${nj}")
        [[ -z ${speed_perturb} || ${set} != "${train_set}" ]] || options+=(--speed_perturb "${speed_perturb}")
        launch --num_threads 1 JOB=1:"${nj}" "${dump_dir}/log/format_${set}.JOB.log" \
            python -m espnet_wsm.stages.format_audio "${options[@]}" --job JOB --channel "${channel}"
        python -m espnet_wsm.stages.merge_audio "${options[@]}" "${text_options[@]}"
    done

    tokens=${dump_dir}/token_list/${token_type}
    python -m espnet_wsm.stages.make_tokens --text "${dump_dir}/raw/org/${train_set}/text" \
        --token_type "${token_type}" --nbpe "${nbpe}" --byte_fallback "${byte_fallback}" --out "${tokens}" \
        ${nlsyms_txt:+--non_linguistic_symbols "${nlsyms_txt}"}
    for set in ${train_set} ${valid_set} ${unlabelled:+unlabelled}; do
        options=()
        [[ ${set} == unlabelled ]] || options=(--tokens "${tokens}" --token_type "${token_type}")
        python -m espnet_wsm.stages.select_utterances --dir "${dump_dir}/raw/org/${set}" \
            --out "${dump_dir}/raw/${set}" "${options[@]}" \
            --min_seconds "${min_wav_duration}" --max_seconds "${longest}" \
            --log "${dump_dir}/log/dropped_${set}.txt"
        [[ -z ${join_to} || ${set} == "${valid_set}" ]] || join_more "${set}"
    done
    mapfile -t measured < <(for set in ${valid_set} ${test_sets}; do dump_folder "${set}"; done)
    [[ -z ${unlabelled} ]] || python -m espnet_wsm.stages.check_unlabelled --source "${unlabelled}" \
        --dir "${dump_dir}/raw/unlabelled" --train "${dump_dir}/raw/${train_set}" "${measured[@]}"

    echo "${settings}" >"${dump_dir}/.settings"
    finish_stage "${dump_dir}" "${input}"
}

hold "${dump_dir}"
if [[ -e ${dump_dir}/.unfinished || $(cat "${dump_dir}"/.{made_from,settings} 2>/dev/null) != "${input}"$'\n'"${settings}" ]]; then
    make_dump
else
    log "Stage 2: ${dump_dir} already belongs to ${data_dir} and these options"
fi
