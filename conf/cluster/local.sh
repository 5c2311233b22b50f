#!/usr/bin/env bash
# Launcher for one machine with the command line of Kaldi's run.pl:
#   local.sh [--max_jobs_run N] [--num_threads N] [--mem SIZE] [--gpu N] [--time T] [JOB=1:N] LOG COMMAND...
# Runs COMMAND once, or once for each JOB with that number put in place of JOB in LOG and COMMAND; at most
# as many at a time as the machine has cores for. --mem, --gpu and --time mean nothing on one machine.
set -uo pipefail

die() {
    echo "local.sh: $*" >&2
    exit 2
}

max_jobs_run=0
num_threads=0
while [[ ${1:-} == --* ]]; do
    (($# > 1)) || die "option $1 needs a value"
    case $1 in
    --max_jobs_run) max_jobs_run=$2 ;;
    --num_threads) num_threads=$2 ;;
    --mem | --gpu | --time) ;;
    *) die "unknown option $1; see the head of $0" ;;
    esac
    shift 2
done
first='' last=''
for number in "${max_jobs_run}" "${num_threads}"; do
    [[ ${number} =~ ^[0-9]+$ ]] || die "not a whole number: ${number}"
done
if [[ ${1:-} == JOB=* ]]; then
    [[ $1 =~ ^JOB=([0-9]+):([0-9]+)$ ]] || die "a job range is written JOB=1:N, got $1"
    first=$((10#${BASH_REMATCH[1]})) last=$((10#${BASH_REMATCH[2]}))
    ((first <= last)) || die "empty job range $1"
    shift
fi
(($# > 1)) || die "needs a log file and a command; see the head of $0"
((max_jobs_run > 0)) || max_jobs_run=$(($(env -u OMP_NUM_THREADS nproc) / (num_threads > 0 ? num_threads : 1)))
((max_jobs_run > 0)) || max_jobs_run=1
((num_threads == 0)) || export OMP_NUM_THREADS=${num_threads}

# The log's last line tells how the job ended: a job that was killed has none.
run_one() { # LOG COMMAND...
    local log=$1 status start=${SECONDS} child
    shift
    mkdir -p "$(dirname "${log}")" && printf '# %q' "$1" >"${log}" || return
    printf ' %q' "${@:2}" >>"${log}"
    printf '\n# started %s\n' "$(date '+%F %T')" >>"${log}"
    "$@" >>"${log}" 2>&1 &
    child=$!
    trap 'kill "${child}" 2>/dev/null' TERM
    wait "${child}"
    status=$?
    # The trap ends `wait` before the job has ended; the launcher must not be gone before its jobs are.
    while kill -0 "${child}" 2>/dev/null; do
        wait "${child}"
        status=$?
    done
    printf '# ended %s after %d s with status %d\n' "$(date '+%F %T')" $((SECONDS - start)) "${status}" >>"${log}"
}

# shellcheck disable=SC2329  # called by the trap
stop() {
    trap - INT TERM
    # shellcheck disable=SC2046  # one word a process
    kill $(jobs -p) 2>/dev/null
    wait
    exit 143
}
trap stop INT TERM

logs=()
for ((job = ${first:-1}; job <= ${last:-1}; job++)); do
    while (($(jobs -rp | wc -l) >= max_jobs_run)); do wait -n; done
    words=("$@")
    [[ -z ${first} ]] || words=("${@//JOB/${job}}")
    logs+=("${words[0]}")
    rm -f "${words[0]}"
    run_one "${words[@]}" &
done
wait

failed=0
for log in "${logs[@]}"; do
    end=$(tail -n 1 "${log}" 2>/dev/null)
    # The command's own last line may lack its line break.
    [[ ${end} != *'# ended '*' with status 0' ]] || continue
    failed=1
    [[ ${end} == *'# ended '* ]] || end='# ended without a trace: killed, or the log could not be written'
    echo "local.sh: a job failed: ${end#*'# ended '}; the end of ${log}:" >&2
    # Without our own first two lines and last one.
    tail -n +3 "${log}" 2>/dev/null | grep -av '^# ended ' | tail -n 15 | sed 's/^/    /' >&2
done
exit "${failed}"
