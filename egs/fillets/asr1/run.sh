#!/usr/bin/env bash
# fillets: what the two fish of a game and those they meet say, 93 or 98 minutes a language, from Debian packages.
# Stages 1 data, 2 frontend, 3 train, 4 decode, 5 score.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=egs/common/lib.sh
. ../../common/lib.sh

lang=cs                       # cs or nl
# shellcheck disable=SC2034  # handed on by run_stages
downloads=downloads           # unpacked Debian packages; fetched with apt-get when they are not there

# shellcheck source=egs/common/parse_options.sh
. ../../common/parse_options.sh
for name in data_dir dump_dir exp_dir; do
    printf -v "${name}" '%s' "${!name}/${lang}"
done
run_stages
