#!/usr/bin/env bash
# Make the project's environment: .venv with Python 3.12 or 3.13, the package, its tools and SCTK's sclite.
#   tools/setup.sh            make or complete it; a second run takes seconds
#   tools/setup.sh --check    exit status 0 when it is complete, 1 when not; changes nothing
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Changes if what has to be installed changes, or the checkout is moved (scripts in .venv contain its path).
wanted=$({ cat setup.py tools/setup.sh && pwd; } | sha256sum | cut -c1-16)
stamp=.venv/.setup_complete
is_complete() { [[ -x .venv/bin/python && -f ${stamp} && $(<"${stamp}") == "${wanted}" ]]; }

case ${1:-} in
'') ;;
--check)
    is_complete
    exit
    ;;
*)
    sed -n '2,4s/^# \{0,1\}//p' "$0"
    [[ $1 == --help || $1 == -h ]] || { echo "error: unknown argument $1" >&2 && exit 1; }
    exit 0
    ;;
esac

say() { echo "setup: $*" >&2; }

find_uv() {
    local candidate
    for candidate in "$(command -v uv || true)" "${HOME:-/root}/.local/bin/uv" .uv/bin/uv; do
        if [[ -n ${candidate} ]] && "${candidate}" --version >/dev/null 2>&1; then
            echo "${candidate}"
            return
        fi
    done
    say "installing uv into .uv"
    rm -rf .uv
    # uv gets its own virtual environment: the system's Python may be old, and nothing is installed into it.
    if ! { python3 -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv; } >&2; then
        say "uv could not be installed; install it as https://docs.astral.sh/uv says and run this again"
        return 1
    fi
    echo .uv/bin/uv
}

find_python() {
    local candidate
    # uv stops at pyenv's shims instead of looking on, so pyenv's own folders come first.
    for candidate in "${PYENV_ROOT:-${HOME:-/root}/.pyenv}"/versions/3.1[23].*/bin/python3; do
        if [[ -x ${candidate} ]]; then
            echo "${candidate}"
            return
        fi
    done
    "${uv}" python find '>=3.12,<3.14' 2>/dev/null || echo 3.12 # uv fetches what it does not find
}

install_sclite() {
    [[ ! -x .venv/bin/sclite ]] || return 0
    if command -v sclite >/dev/null || [[ -x /usr/lib/sctk/bin/sclite ]]; then
        return 0
    fi
    local scratch
    scratch=$(mktemp -d)
    # Downloaded and unpacked, not installed: this needs no root and leaves the system unchanged.
    if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
        (
            cd "${scratch}"
            apt-get download -q sctk || { [[ $(id -u) == 0 ]] && apt-get update -q && apt-get download -q sctk; }
            dpkg-deb -x sctk_*.deb .
        ) >"${scratch}/log" 2>&1 || true
    fi
    if [[ -x ${scratch}/usr/lib/sctk/bin/sclite ]]; then
        cp "${scratch}"/usr/lib/sctk/bin/{sclite,sc_stats} .venv/bin/
    else
        say "sclite is not here and could not be fetched: install Debian's package sctk, or build SCTK from" \
            "github.com/usnistgov/SCTK and put sclite on PATH; scoring goes on without it, in Python"
    fi
    rm -rf "${scratch}"
}

if ! is_complete; then
    uv=$(find_uv)
    if ! .venv/bin/python -c 'import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' 2>/dev/null; then
        rm -rf .venv
        "${uv}" venv --quiet --python "$(find_python)" .venv
    fi
    say "installing the package with its extras dev and docs (torch with CUDA is some GB; minutes on a slow line)"
    # Compiled here, once. Cluster nodes that cannot write to the installation would compile it at every start.
    "${uv}" pip install --quiet --compile-bytecode --python .venv/bin/python --editable '.[dev,docs]'
    install_sclite
    echo "${wanted}" >"${stamp}"
fi

.venv/bin/python -m espnet_wsm --version
