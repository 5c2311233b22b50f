#!/usr/bin/env bash
# mini_an4: eight recordings from the ESPnet wheel, 15 s of speech; a smoke test, not an experiment.
# Stages 1 data, 2 frontend, 3 train, 4 decode, 5 score.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=egs/common/lib.sh
. ../../common/lib.sh

# shellcheck disable=SC2034  # handed on by run_stages
train_config=conf/train_asr.yaml # ESPnet training configuration
# shellcheck disable=SC2034
transfer=0                    # steps of transfer, as in other recipes; 0: none, since 15 s of speech show little of what attention gives

# shellcheck source=egs/common/parse_options.sh
. ../../common/parse_options.sh
run_stages
