#!/usr/bin/env bash
# Stage 2: Kaldi data directories -> 16 kHz audio, tokens, length selection and the upstream.
# Run from a recipe's folder.
set -euo pipefail
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"

require_finished "${data_dir}" 1
if [[ -d ${dump_dir} && ! -e ${dump_dir}/.made_from && ! -e ${dump_dir}/.unfinished && -n $(ls -A "${dump_dir}") ]]; then
    die "--dump_dir ${dump_dir} holds files that this stage did not make; choose another folder"
fi
input=$(folder_digest "${data_dir}")
begin_stage 2 "format audio, make tokens" "${data_dir}" "${dump_dir}"
rm -rf "${dump_dir:?}"/{raw,token_list,log}

# A set may be named twice, e.g. as valid_set and in test_sets.
for set in $(printf '%s\n' ${train_set} ${valid_set} ${test_sets} | awk '!seen[$0]++'); do
    python -m espnet_wsm.bin.validate_data_dir "${data_dir}/${set}" >/dev/null
    out=$(dump_folder "${set}")
    launch --num_threads 1 JOB=1:"${nj}" "${dump_dir}/log/format_${set}.JOB.log" \
        python -m espnet_wsm.bin.format_audio \
        --data "${data_dir}/${set}" --out "${out}" --nj "${nj}" --job JOB
    python -m espnet_wsm.bin.merge_audio --data "${data_dir}/${set}" --out "${out}" --nj "${nj}"
done

tokens=${dump_dir}/token_list/${token_type}
python -m espnet_wsm.bin.make_tokens --text "${dump_dir}/raw/org/${train_set}/text" \
    --token_type "${token_type}" --nbpe "${nbpe}" --out "${tokens}"
for set in ${train_set} ${valid_set}; do
    python -m espnet_wsm.bin.select_utterances --dir "${dump_dir}/raw/org/${set}" \
        --out "${dump_dir}/raw/${set}" --tokens "${tokens}" --token_type "${token_type}" \
        --min_seconds "${min_wav_duration}" --max_seconds "${max_wav_duration}" \
        --log "${dump_dir}/log/dropped_${set}.txt"
done

if [[ -z ${upstream} ]]; then
    python -m espnet_wsm.bin.make_random_upstream --out "${dump_dir}/upstream"
fi
finish_stage "${dump_dir}" "${input}"
