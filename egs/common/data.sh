#!/usr/bin/env bash
# Stage 1: the corpus as it comes -> Kaldi data directories, validated.
# Run from a recipe's folder.
set -euo pipefail
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"

begin_stage 1 "prepare" "${downloads}" "${data_dir}"
python local/data.py --downloads "${downloads}" --out "${data_dir}" ${lang:+--lang "${lang}"}
for set in ${train_set} ${valid_set} ${test_sets}; do
    python -m espnet_wsm.bin.validate_data_dir --allow_pipes "${allow_pipes}" "${data_dir}/${set}"
done
finish_stage "${data_dir}"
