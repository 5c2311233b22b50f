#!/usr/bin/env bash
# ml_superb: 10 minutes or 1 hour of 143 languages, one at a time or all in one model.
# Stages 1 data, 2 frontend, 3 train, 4 decode, 5 score.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=egs/common/lib.sh
. ../../common/lib.sh

lang=eng1                     # of the monolingual track (eng1, swa, xty, ...), CORPUS/LANGUAGE, LANGUAGE, or all
# shellcheck disable=SC2034  # handed on by run_stages
downloads=downloads           # the unpacked corpus: folder with the corpora it is made of
train_set=train_10min         # train_10min or train_1h
# shellcheck disable=SC2034  # handed on by run_stages
valid_set=dev_10min           # of both
# shellcheck disable=SC2034  # handed on by run_stages
test_sets=test_10min          # of both

# shellcheck source=egs/common/parse_options.sh
. ../../common/parse_options.sh
data_dir=${data_dir}/${lang}
dump_dir=${dump_dir}/${lang}/${train_set}
exp_dir=${exp_dir}/${lang}
# shellcheck disable=SC2034  # handed on by run_stages
[[ ${lang} != all || -n ${nlsyms_txt} ]] || nlsyms_txt=${data_dir}/nlsyms.txt
run_stages
