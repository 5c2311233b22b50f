#!/usr/bin/env bash
# CORPUS: a corpus of my own.
# Stages 1 data, 2 frontend, 3 train, 4 decode, 5 score.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=egs/common/lib.sh
. ../../common/lib.sh

# shellcheck disable=SC2034  # used by the stages
downloads=sample              # table, annotations, parquet, or a folder of these, of Hugging Face's or of Kaldi directories
# shellcheck disable=SC2034  # used by the stages
data_args=                    # more arguments for local/data.py: columns, tiers, ...
# shellcheck disable=SC2034  # handed on by run_stages
train_config=../../../conf/train_ctc.yaml # ESPnet training configuration

# shellcheck source=egs/common/parse_options.sh
. ../../common/parse_options.sh
run_stages
