#!/usr/bin/env bash
# Check a GPU: the project's tests on CUDA, then memory, time and largest batch of each way to fine-tune.
#   tools/gpu_check.sh OUT                 result.json, table.md, figures and tests.log in the folder OUT
#   tools/gpu_check.sh OUT --wheels DIR    on a machine without network: installs DIR's wheels for this run alone
#   tools/gpu_check.sh OUT --minutes 9     all of it ends within so many minutes (default: 9)
#   tools/gpu_check.sh OUT --dry-run       at toy size on a CPU, to see that the command works
# It runs in .venv where that is set up, and with --wheels in the machine's python3, whose torch it uses.
# PYTHON=PROGRAM takes another one.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 0
fi
python=${PYTHON:-}
if [[ -z ${python} ]]; then
    python=python3
    [[ " $* " == *" --wheels"* || ! -x ${root}/.venv/bin/python ]] || python=${root}/.venv/bin/python
fi
if ! "${python}" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' 2>/dev/null; then
    echo "error: ${python} is no Python 3.12 or 3.13: name one with PYTHON=PROGRAM, or run tools/setup.sh" >&2
    exit 1
fi
exec "${python}" "${root}/tools/gpu_check.py" "$@"
