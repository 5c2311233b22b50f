#!/usr/bin/env bash
# fleurs: sentences of Wikinews, Wikijunior and Wikivoyage read in 102 languages, about 10 hours each.
# Stages 1 data, 2 frontend, 3 train, 4 decode, 5 score.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=egs/common/lib.sh
. ../../common/lib.sh

lang=sw_ke                    # as the corpus calls it: sw_ke, cs_cz, pt_br, ...
# shellcheck disable=SC2034  # handed on by run_stages
downloads=downloads           # folder with the languages, or that of the language
# shellcheck disable=SC2034  # handed on by run_stages
max_wav_duration=30           # seconds; sentences are long

# shellcheck source=egs/common/parse_options.sh
. ../../common/parse_options.sh
for name in data_dir dump_dir exp_dir; do
    printf -v "${name}" '%s' "${!name}/${lang}"
done
run_stages
