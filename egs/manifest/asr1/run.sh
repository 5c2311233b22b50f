#!/usr/bin/env bash
# manifest: a corpus of your own: tables, annotated recordings (ELAN, Praat, ...), parquet, or Kaldi directories.
# Stages 1 data, 2 frontend, 3 train, 4 decode, 5 score.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=egs/common/lib.sh
. ../../common/lib.sh

downloads=                       # table, annotations, parquet, or a folder of these, of Hugging Face's or of Kaldi directories
# shellcheck disable=SC2034  # handed on by run_stages
train_config=../../../conf/train_ctc.yaml # ESPnet training configuration

# shellcheck source=egs/common/parse_options.sh
. ../../common/parse_options.sh
[[ -n ${downloads} || ${stage} != 1 ]] || die "--downloads: name your file or folder; see README.md"
run_stages
