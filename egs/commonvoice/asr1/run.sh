#!/usr/bin/env bash
# commonvoice: sentences read by volunteers, any language and release of Mozilla's Common Voice.
# Stages 1 data, 2 frontend, 3 train, 4 decode, 5 score.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=egs/common/lib.sh
. ../../common/lib.sh

lang=sw                       # as the corpus calls it: sw, cs, pt, zh-CN, ...
# shellcheck disable=SC2034  # handed on by run_stages
downloads=downloads           # the unpacked release (cv-corpus-*), what holds it, or the folder of the language
train_set=train               # train, or validated: all that is validated and not of a clip or speaker of dev or test

# shellcheck source=egs/common/parse_options.sh
. ../../common/parse_options.sh
# shellcheck disable=SC2034  # used by the stages
data_args+=" --need ${train_set} ${valid_set} ${test_sets}"
data_dir=${data_dir}/${lang}
dump_dir=${dump_dir}/${lang}/${train_set}
exp_dir=${exp_dir}/${lang}
run_stages
