# Functions shared by the launchers of this folder: Kaldi's command line, a job's log, the report of failures.
# shellcheck shell=bash
# shellcheck disable=SC2034  # options are read by the scripts that source this file

launcher=$(basename -- "$0")
typed=("$0" "$@") # for the report
max_jobs_run=0 num_threads=0 mem='' gpu=0 num_nodes=1 time=''
jobs=() # numbers of the JOB= range; none: one job without a number
declare -A fate=() # how a job ended, where the log does not say

die() {
    echo "${launcher}: $*" >&2
    exit 2
}

# read_option NAME VALUE: keep an option that every launcher takes; fails for other options.
read_option() {
    case $1 in
    --max_jobs_run) max_jobs_run=$2 ;;
    --num_threads) num_threads=$2 ;;
    --mem) mem=$2 ;;
    --gpu) gpu=$2 ;;
    --num_nodes) num_nodes=$2 ;;
    --time) time=$2 ;;
    *) return 1 ;;
    esac
    [[ $1 == --mem || $1 == --time || $2 =~ ^[0-9]+$ ]] || die "not a whole number: $2"
}

# read_own_option NAME VALUE: options of a single launcher, which redefines this function.
read_own_option() { return 1; }

# read_arguments WORDS...: read the options and the range of jobs; log and command remain in `rest`.
read_arguments() {
    while [[ ${1:-} == --* ]]; do
        (($# > 1)) || die "option $1 needs a value"
        read_option "$1" "$2" || read_own_option "$1" "$2" || die "unknown option $1; see the head of ${typed[0]}"
        shift 2
    done
    if [[ ${1:-} == JOB=* ]]; then
        read_jobs "$1"
        shift
    fi
    (($# > 1)) || die "needs a log file and a command; see the head of ${typed[0]}"
    rest=("$@")
}

# read_jobs WORD: set `jobs` from JOB=1:N. Lists, which Kaldi does not have, are accepted too: JOB=2,5:7.
read_jobs() {
    local part parts from to
    IFS=, read -ra parts <<<"${1#JOB=}"
    for part in "${parts[@]}"; do
        [[ ${part} =~ ^([0-9]{1,9})(:([0-9]{1,9}))?$ ]] || die "a job range is written JOB=1:N, got $1"
        from=$((10#${BASH_REMATCH[1]})) to=$((10#${BASH_REMATCH[3]:-${BASH_REMATCH[1]}}))
        ((from <= to)) || die "empty job range $1"
        mapfile -t -O "${#jobs[@]}" jobs < <(seq "${from}" "${to}")
    done
    ((${#jobs[@]})) || die "a job range is written JOB=1:N, got $1"
}

# shorten NUMBERS...: 2 5 6 7 -> 2,5:7
shorten() {
    local number from='' to='' out=''
    for number in "$@" ''; do
        if [[ -n ${from} && ${number} != $((to + 1)) ]]; then
            out+=,${from}
            ((from == to)) || out+=:${to}
            from=
        fi
        [[ -n ${from} ]] || from=${number}
        to=${number}
    done
    echo "${out#,}"
}

# number WORDS...: set `words`, with `job` in place of JOB if there are several jobs.
number() {
    words=("$@")
    [[ -z ${job} ]] || words=("${@//JOB/${job}}")
}

# clear_logs LOG: remove the logs of an earlier call, so that they are not taken for this one's; none of its jobs may run.
clear_logs() {
    local job words
    for job in "${jobs[@]-}"; do
        number "$1"
        mkdir -p -- "$(dirname -- "${words[0]}")" || die "the folder of the log ${words[0]} cannot be made"
        [[ ! -f ${words[0]} ]] || flock --nonblock -- "${words[0]}" true ||
            die "a job of an earlier call still writes to ${words[0]}: wait until it ends, or stop it"
        rm -f -- "${words[0]}" || die "the log ${words[0]} cannot be written"
    done
}

# run_one LOG COMMAND...: run it with its output in the log, whose last line says how the job ended. The log of a killed
# job has no such line. The job's processes hold a lock on the log until they end.
run_one() {
    local log=$1 status start=${SECONDS} child lock
    shift
    exec {lock}>"${log}" && flock --nonblock "${lock}" || return
    printf '# %s\n# started %s\n' "$(printf '%q ' "$@")" "$(date '+%F %T')" >>"${log}"
    "$@" >>"${log}" 2>&1 &
    child=$!
    trap 'kill "${child}" 2>/dev/null' TERM
    wait "${child}"
    status=$?
    # The trap ends `wait` before the job has ended, but the launcher must not end before its jobs.
    while kill -0 "${child}" 2>/dev/null; do
        wait "${child}"
        status=$?
    done
    printf '# ended %s after %d s with status %d\n' "$(date '+%F %T')" $((SECONDS - start)) "${status}" >>"${log}"
}

# find_end LOG: print its last line if that says how the job ended. The command's own last line may lack a line
# feed.
find_end() {
    local end
    end=$(tail -n 1 -- "$1" 2>/dev/null)
    [[ ${end} == *'# ended '*' with status '* ]] && echo "ended ${end##*'# ended '}"
}

# report_failures LOG COMMAND...: name the jobs that failed and how to run them again; fails if there are any.
report_failures() {
    local job words end failed=() again=()
    for job in "${jobs[@]-}"; do
        number "$1"
        end=$(find_end "${words[0]}")
        [[ ${end} != *' with status 0' ]] || continue
        failed+=("${job}")
        ((${#failed[@]} <= 5)) || continue
        [[ -n ${end} ]] || end=${fate[${job:-0}]:-ended without a trace: killed, or the log could not be written}
        echo "${launcher}: $([[ -n ${job} ]] && echo "job ${job}" || echo "the job") failed: ${end}; the end of ${words[0]}:" >&2
        # Without our own first two lines and last one.
        tail -n +3 -- "${words[0]}" 2>/dev/null | grep -av '^# ended ' | tail -n 15 | sed 's/^/    /' >&2
    done
    ((${#failed[@]})) || return 0
    [[ -n ${failed[0]} ]] || return 1
    ((${#failed[@]} <= 5)) || echo "${launcher}: and $((${#failed[@]} - 5)) more jobs failed" >&2
    for end in "${typed[@]}"; do
        [[ ${end} != JOB=* || " ${again[*]}" == *' JOB='* ]] || end=JOB=$(shorten "${failed[@]}")
        again+=("${end}")
    done
    echo "${launcher}: ${#failed[@]} of ${#jobs[@]} jobs failed; to run them again:$(printf ' %q' "${again[@]}")" >&2
    return 1
}
