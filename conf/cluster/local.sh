#!/usr/bin/env bash
# Launcher for one machine with the command line of Kaldi's run.pl:
#   local.sh [--max_jobs_run N] [--num_threads N] [--mem SIZE] [--gpu N] [--num_nodes 1] [--time T] [JOB=1:N] LOG COMMAND...
# Runs COMMAND once, or once per job with the number of the job in place of JOB in LOG and COMMAND; at most as many at
# a time as the machine has cores for. --mem, --gpu and --time have no effect on one machine.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -uo pipefail
# shellcheck source=conf/cluster/launcher.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/launcher.sh"

read_arguments "$@"
set -- "${rest[@]}"
((num_nodes == 1)) || die "this launcher has one machine, not ${num_nodes}: use slurm.sh"
((max_jobs_run > 0)) || max_jobs_run=$(($(env -u OMP_NUM_THREADS nproc) / (num_threads > 0 ? num_threads : 1)))
((max_jobs_run > 0)) || max_jobs_run=1
((num_threads == 0)) || export OMP_NUM_THREADS=${num_threads}

# shellcheck disable=SC2329  # called by the trap
stop() {
    trap - INT TERM
    # shellcheck disable=SC2046  # one word per process
    kill $(jobs -p) 2>/dev/null
    wait
    exit 143
}
trap stop INT TERM

clear_logs "$1"
for job in "${jobs[@]-}"; do
    while (($(jobs -rp | wc -l) >= max_jobs_run)); do wait -n; done
    number "$@"
    run_one "${words[@]}" &
done
wait
report_failures "$@"
