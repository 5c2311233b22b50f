#!/usr/bin/env bash
# Stage 1: the corpus as distributed -> validated Kaldi data directories.
# Run from a recipe's folder.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"

set_text_options
begin_stage 1 "prepare" "${downloads}" "${data_dir}"
read -r -d '' -a more <<<"${data_args}" || true
python local/data.py --downloads "${downloads}" --out "${data_dir}" ${lang:+--lang "${lang}"} "${more[@]}"
others=()
for set in $(printf '%s\n' ${valid_set} ${test_sets} | awk -v train="${train_set}" '$0 != train && !seen[$0]++'); do
    others+=("${data_dir}/${set}")
done
python -m espnet_wsm.bin.validate_data_dir --allow_pipes "${allow_pipes}" --channel "${channel}" --min_seconds "${min_wav_duration}" \
    --max_seconds "${max_wav_duration}" "${text_options[@]}" --train "${data_dir}/${train_set}" "${others[@]}"
finish_stage "${data_dir}"
