#!/usr/bin/env bash
# librispeech: read English books; 10 minutes, 1 or 10 hours of them chosen by Libri-light, or 100 hours.
# Stages 1 data, 2 frontend, 3 train, 4 decode, 5 score.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=egs/common/lib.sh
. ../../common/lib.sh

# shellcheck disable=SC2034  # used by the stages
downloads=downloads           # folder with librispeech_finetuning and LibriSpeech; see README.md
train_set=train_10min         # train_10min, train_1h, train_10h or train_100h
valid_set=dev_other           # dev_clean or dev_other
test_sets="dev_clean dev_other test_clean test_other" # separated by blanks

# shellcheck source=egs/common/parse_options.sh
. ../../common/parse_options.sh
# shellcheck disable=SC2034  # used by the stages
data_args+=" --need ${train_set} ${valid_set} ${test_sets}"
dump_dir=${dump_dir}/${train_set}
run_stages
