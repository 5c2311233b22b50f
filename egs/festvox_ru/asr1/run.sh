#!/usr/bin/env bash
# festvox_ru: sentences from novels read by one Russian voice, 100 minutes, from a Debian package.
# Stages 1 data, 2 frontend, 3 train, 4 decode, 5 score.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=egs/common/lib.sh
. ../../common/lib.sh

# shellcheck disable=SC2034  # handed on by run_stages
downloads=downloads           # unpacked Debian package; fetched with apt-get (179 MB) when it is not there

# shellcheck source=egs/common/parse_options.sh
. ../../common/parse_options.sh
run_stages
