#!/usr/bin/env bash
# Stage 3: train the layers above the cut with ESPnet's trainer; a run that was stopped is resumed.
# Run from a recipe's folder.
set -euo pipefail
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"

require_finished "${dump_dir}" 2
[[ ! -d ${data_dir} ]] || require_made_from "${dump_dir}" "$(folder_digest "${data_dir}")" "${data_dir}" 2
[[ -f ${train_config} ]] || die "--train_config ${train_config} does not exist"
[[ -z ${upstream_path} || -n ${upstream} ]] || die "--upstream_path needs --upstream, S3PRL's name for it"
[[ -z ${upstream_path} || -e ${upstream_path} ]] || die "--upstream_path ${upstream_path} does not exist"
exp=$(experiment)
tokens=${dump_dir}/token_list/${token_type}
[[ -d ${tokens} ]] || die "${tokens} does not exist; run stage 2 with --token_type ${token_type}"
input=$(folder_digest "${dump_dir}")

read -r -d '' -a more <<<"${asr_args}" || true
args=(--config "${train_config}" --token_list "${tokens}/tokens.txt")
if [[ -n ${upstream} ]]; then
    args+=(--encoder_conf "upstream=${upstream}" --encoder_conf "path=${upstream_path:-null}")
elif ! python -c 'import sys, yaml
conf = yaml.safe_load(open(sys.argv[1])) or {}
sys.exit(not (conf.get("encoder_conf") or {}).get("upstream"))' "${train_config}"; then
    args+=(--encoder_conf upstream=hf_hubert_custom --encoder_conf "path=${dump_dir}/upstream")
fi
for key in mixer num_replaced window trainable; do
    [[ -z ${!key} ]] || args+=(--encoder_conf "${key}=${!key}")
done
if [[ ${token_type} == char ]]; then
    args+=(--token_type char)
else
    args+=(--token_type bpe --bpemodel "${tokens}/bpe.model")
fi
for part in train:"${train_set}" valid:"${valid_set}"; do
    folder=${dump_dir}/raw/${part#*:}
    args+=(--"${part%%:*}"_data_path_and_name_and_type "${folder}/wav.scp,speech,sound"
        --"${part%%:*}"_data_path_and_name_and_type "${folder}/text,text,text"
        --"${part%%:*}"_shape_file "${folder}/speech_shape")
done
((ngpu <= 1)) || args+=(--multiprocessing_distributed true)

# A checkpoint of other settings must not be resumed as if it were one of these.
python -m espnet_wsm.bin.record_run --dir "${exp}" --command "${ESPNET_WSM_COMMAND}" \
    --file "${train_config}" --setting "${input}" --setting "${args[*]} ${asr_args}"
begin_stage 3 "train" "${dump_dir}" "${exp}"
python -m espnet_wsm.bin.watch_training --log "${exp}/train.log" &
watcher=$!
trap 'kill "${watcher}" 2>/dev/null || true' EXIT
launch --gpu "${ngpu}" --num_threads "${num_threads}" "${exp}/train.log" \
    python -m espnet_wsm.bin.asr_train --output_dir "${exp}" --resume true --ngpu "${ngpu}" \
    "${args[@]}" "${more[@]}"
[[ -f ${exp}/${inference_model} ]] || die "training left no ${exp}/${inference_model}; see ${exp}/train.log"
finish_stage "${exp}" "${input}"
