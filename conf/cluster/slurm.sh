#!/usr/bin/env bash
# Launcher for Slurm with the command line of Kaldi's slurm.pl:
#   slurm.sh [--config FILE] [--max_jobs_run N] [--num_threads N] [--mem SIZE] [--gpu N] [--num_nodes N] [--time T] [JOB=1:N]
#     LOG COMMAND...
# Runs COMMAND as one Slurm job, or as one job array with the number of the task in place of JOB in LOG and COMMAND, waits
# until it ends and reports like local.sh. Stopping this script cancels the job. A COMMAND for several nodes starts its
# tasks there with srun. Partition, account and the like come from FILE, by default slurm.yaml beside this script. Logs and
# the working directory have to be on a shared disk.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -uo pipefail

# The job itself: sbatch runs a copy of this script; its first arguments are the original's folder and the number of modules.
if [[ ${1:-} == --task ]]; then
    # shellcheck source=conf/cluster/launcher.sh
    . "$2/launcher.sh"
    num_modules=$3
    shift 3
    for module in "${@:1:num_modules}"; do
        module load "${module}" || exit
    done
    shift "${num_modules}"
    export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
    export SRUN_CPUS_PER_TASK=${OMP_NUM_THREADS} # otherwise srun requests one CPU, since Slurm 22.05
    job=${SLURM_ARRAY_TASK_ID:-}
    number "$@"
    run_one "${words[@]}"
    [[ $(find_end "${words[0]}") == *' with status 0' ]]
    exit
fi

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=conf/cluster/launcher.sh
. "${here}/launcher.sh"
config=${here}/slurm.yaml
# shellcheck disable=SC2329  # called by read_arguments
read_own_option() { [[ $1 == --config ]] && config=$2; }

read_arguments "$@"
set -- "${rest[@]}"
for program in sbatch squeue scancel; do
    command -v "${program}" >/dev/null || die "${program} is not there: this machine is not part of a Slurm cluster"
done
python=${here%/conf/cluster}/.venv/bin/python
[[ -x ${python} ]] || python=python
settings=$(mktemp)
"${python}" -m espnet_wsm.stages.sbatch_options "${config}" --gpu "${gpu}" --mem "${mem}" --time "${time}" \
    --num_threads "${num_threads}" --num_nodes "${num_nodes}" >"${settings}" || { rm -f "${settings}"; exit 2; }
mapfile -d '' -t options <"${settings}"
rm -f "${settings}"
poll_seconds=${options[0]}
((max_jobs_run > 0)) || max_jobs_run=${options[1]}
modules=("${options[@]:3:options[2]}")
options=("${options[@]:3+options[2]}")

clear_logs "$1"
# Slurm's own output goes beside the first log; it is empty unless a job cannot start.
job=${jobs[0]:-}
number "$1"
own=$(dirname -- "${words[0]}")/slurm
mkdir -p -- "${own}" || die "${own} cannot be made"
pattern=%j.out
if ((${#jobs[@]})); then
    pattern=%A_%a.out array=$(shorten "${jobs[@]}")
    options+=("--array=${array//:/-}$( ((max_jobs_run == 0)) || echo "%${max_jobs_run}")")
fi
id=
# shellcheck disable=SC2329  # called by the trap; a signal that arrives during sbatch is handled after it
stop() {
    trap - INT TERM
    if [[ -n ${id} ]]; then
        echo "${launcher}: stopped; cancelling job ${id}" >&2
        scancel "${id}"
    fi
    exit 143
}
trap stop INT TERM

id=$(sbatch --parsable --job-name="$(basename -- "$1" .log)" --output="${own//%/%%}/${pattern}" "${options[@]}" \
    "${here}/slurm.sh" --task "${here}" "${#modules[@]}" "${modules[@]}" "$@") || die "sbatch refused the job (see above)"
id=${id%%;*} # a federation appends the name of the cluster

# wait_for SECONDS: a `sleep` that a signal interrupts at once.
wait_for() {
    sleep "$1" &
    wait $!
}

# look: set `fate` of every task from the queue; succeeds as long as one of them has not ended.
look() {
    local listing line task alive=1
    if ! listing=$(squeue --noheader --states=all --array --jobs="${id}" --format='%i|%T' 2>&1); then
        # The controller forgets jobs minutes after their end.
        [[ ${listing} != *'Invalid job id'* ]] || return 1
        echo "${launcher}: squeue: ${listing%%$'\n'*}; asking again" >&2
        return 0
    fi
    while IFS='|' read -r task line; do
        [[ ${task} == "${id}"* ]] || continue
        task=${task#"${id}"}
        task=${task#_}
        fate[${task:-0}]="ended as ${line} without a last line in its log"
        case ${line} in
        PENDING | CONFIGURING | RUNNING | SUSPENDED | COMPLETING | STAGE_OUT | REQUEUE* | RESIZING | SIGNALING | STOPPED | \
            SPECIAL_EXIT | RESV_DEL_HOLD) alive=0 ;;
        esac
    done <<<"${listing}"
    return "${alive}"
}

delay=0.2
while wait_for "${delay}" && look; do
    case ${delay} in # short jobs should not wait, and long ones should not keep the controller busy
    0.2) delay=0.5 ;;
    0.5) delay=1 ;;
    *) delay=${poll_seconds} ;;
    esac
done
# On a shared disk, it may take seconds until another machine's writes are visible.
for delay in 0.2 0.5 1 3 5; do
    missing=0
    for job in "${jobs[@]-}"; do
        number "$1"
        [[ ${fate[${job:-0}]:-COMPLETED} != *COMPLETED* || -n $(find_end "${words[0]}") ]] || missing=1
    done
    ((missing)) || break
    wait_for "${delay}"
done
find "${own}" -maxdepth 1 -name "${id}[_.]*" -empty -delete
rmdir -- "${own}" 2>/dev/null || true
report_failures "$@"
