#!/usr/bin/env bash
# Stop the Slurm that tools/slurm/start.sh started in FOLDER, its jobs first, and nothing else.
#   tools/slurm/stop.sh FOLDER
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail

if [[ -z ${1:-} || $1 == --help ]]; then
    sed -n '2,3s/^# \{0,1\}//p' "$0"
    exit $(($# == 0))
fi
folder=$(cd "$1" && pwd)
export SLURM_CONF=${folder}/slurm.conf
[[ -f ${SLURM_CONF} ]] || { echo "stop.sh: ${folder} holds no Slurm of start.sh" >&2; exit 1; }

# is_ours NAME PID: whether the process is that daemon; the number may have been reused.
is_ours() {
    [[ $(cat "/proc/$2/comm" 2>/dev/null) == "$1" ]] &&
        grep -qzxF "SLURM_CONF=${SLURM_CONF}" "/proc/$2/environ" 2>/dev/null
}

timeout 10 scancel --user="$(id -un)" 2>/dev/null || true
for ((attempt = 0; attempt < 50; attempt++)); do
    [[ -n $(timeout 5 squeue --noheader 2>/dev/null || true) ]] || break
    sleep 0.2
done
for daemon in slurmd slurmctld; do
    pid=$(cat "${folder}/${daemon}.pid" 2>/dev/null || true)
    if [[ -z ${pid} ]] || ! is_ours "${daemon}" "${pid}"; then continue; fi
    kill "${pid}"
    for ((attempt = 0; attempt < 100; attempt++)); do
        is_ours "${daemon}" "${pid}" || break
        sleep 0.1
    done
    ! is_ours "${daemon}" "${pid}" || kill -9 "${pid}"
done
