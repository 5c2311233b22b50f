#!/usr/bin/env bash
# Bring up a Slurm of one node on this machine, for tests: slurmctld and slurmd on the loopback interface, as root.
#   tools/slurm/start.sh FOLDER [CORES]
# All its files are in FOLDER: slurm.conf, state, logs, pid files. Prints the line to evaluate before using it:
#   eval "$(tools/slurm/start.sh one_node)"; squeue; tools/slurm/stop.sh one_node
# CORES is the number of cores that the node claims, by default its own; it also claims a GPU. Debian: apt-get install slurm-wlm.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail

die() {
    echo "start.sh: $*" >&2
    exit 1
}

if [[ -z ${1:-} || $1 == --help ]]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    exit $(($# == 0))
fi
for program in slurmctld slurmd sbatch; do
    command -v "${program}" >/dev/null || die "${program} is not installed (Debian: apt-get install slurm-wlm)"
done
((EUID == 0)) || die "has to run as root: slurmd starts jobs as their users"
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cores=${2:-$(nproc)}
memory=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) # MB
export SLURM_CONF=${folder}/slurm.conf
if [[ -f ${SLURM_CONF} ]] && scontrol ping 2>/dev/null | grep -q UP; then
    die "a Slurm runs in ${folder} already; tools/slurm/stop.sh ends it"
fi
# Ports on which nothing listens, so that several can run at a time.
read -r control daemon < <(python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in sockets))')

mkdir -p "${folder}"/{state,spool,log}
echo 'Name=gpu File=/dev/null' >"${folder}/gres.conf"
cat >"${SLURM_CONF}" <<END
ClusterName=espnet_wsm
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=${control}
SlurmdPort=${daemon}
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=${folder}/state
SlurmdSpoolDir=${folder}/spool
SlurmctldPidFile=${folder}/slurmctld.pid
SlurmdPidFile=${folder}/slurmd.pid
SlurmctldLogFile=${folder}/log/slurmctld.log
SlurmdLogFile=${folder}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 CPUs=${cores} RealMemory=${memory} Gres=gpu:1 State=UNKNOWN
PartitionName=test Nodes=localhost Default=YES MaxTime=INFINITE State=UP
END

give_up() {
    "$(dirname "$0")/stop.sh" "${folder}"
    die "$1; see ${folder}/log"
}

slurmctld
slurmd -N localhost || give_up "slurmd did not start"
for ((attempt = 0; attempt < 100; attempt++)); do
    if [[ $(sinfo --noheader --format=%T 2>/dev/null) == idle ]]; then
        echo "export SLURM_CONF=$(printf %q "${SLURM_CONF}")"
        exit 0
    fi
    sleep 0.2
done
give_up "the node was not idle after 20 s"
