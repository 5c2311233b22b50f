# Options that every recipe shares, and the functions its stages are made of.
# Source it from a recipe's folder, set the recipe's own options, then source parse_options.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2209  # options are read by the scripts that source this file; test is a name

# Every option is declared here once, as name=default, followed by its text in --help.
# -- which part to run, and with what
stage=1                       # first stage: 1 data, 2 frontend, 3 train, 4 decode, 5 score
stop_stage=5                  # last stage
nj=2                          # parallel jobs for audio and decoding
ngpu=0                        # GPUs per machine for training (if not 0, each decoding job uses one)
num_nodes=1                   # machines for training; more than one need a launcher for Slurm
num_threads=2                 # CPU threads of the training process
cmd=../../../conf/cluster/local.sh # launcher with Kaldi's command line (run.pl, slurm.pl and queue.pl work too)
# -- where things are
lang=                         # language, in recipes that have several
downloads=downloads           # the corpus as distributed; fetched if the folder does not exist
data_args=                    # more arguments for local/data.py
data_dir=data                 # Kaldi data directories
dump_dir=dump                 # 16 kHz audio, tokens, stored features
exp_dir=exp                   # experiments, one folder per tag
tag=                          # name of the experiment; empty: made from the options that differ from train_config
train_set=train               # in data_dir
valid_set=dev                 # in data_dir
test_sets=test                # in data_dir, separated by spaces
unlabelled=                   # Kaldi directory of speech without text, for --convert, --transfer, --pseudo_rounds and --guide; or rest: what --train_minutes leaves
allow_pipes=false             # true: run commands that wav.scp has in place of audio, 'COMMAND |'; they can do anything
# -- stage 2
channel=mix                   # of audio with several: 1, 2, ... or mix, their mean; reco2file_and_channel comes first
text_config=                  # how transcripts are spelt; empty: the recipe's conf/text.yaml, or only Unicode NFC
token_type=char               # char, bpe or unigram
nbpe=100                      # vocabulary size of bpe and unigram
byte_fallback=false           # true: 256 of the nbpe tokens are bytes, for characters that the training text lacks
nlsyms_txt=                   # file of symbols, one per line, that are one token each and are not scored, e.g. [eng]
speed_perturb=                # train on copies at these speeds, e.g. "0.9 1.0 1.1"; empty: as recorded
join_to=                      # also train on utterances of a speaker joined up to this many seconds, e.g. 20; empty: as they are
join_pause=0.2                # seconds of silence between two that are joined
min_wav_duration=0.1          # seconds; shorter training and validation utterances are dropped
max_wav_duration=20           # seconds; longer ones are dropped too
cache=auto                    # store the output of the frozen layers: true, false, or auto (if possible)
cache_dtype=float16           # precision of the stored features: float16, bfloat16 or float32
upstream=                     # path, or S3PRL's name; empty: as in train_config, else the one included in the project
upstream_config=              # settings for an upstream, which override train_config: conf/upstream/NAME.yaml
trust=false                   # true: load an upstream's file even if that runs code (old pickles)
convert=0                     # layers from the top, or all, that first become linear without labels; 0: none
convert_args=                 # more arguments for espnet-wsm convert, which does it, e.g. "--steps 2000 --dtype auto"
# -- stage 3
train_config=../../../conf/train_ctc.yaml # ESPnet training configuration
mixer=                        # wsm, sm, local, wsm_heads, attention, random_attention, reset, kv_pool, lora, gc_lora, kept or drop; empty: as in train_config
num_replaced=                 # layers from the top whose attention is replaced; empty: as in train_config
window=                       # half width of the local summary, frames of 20 ms; empty: as in train_config
transfer=auto                 # steps in which the blocks first learn what attention in their place gives, without labels; 0: none; auto: 400, if blocks can and weights are not random
transfer_args=                # more arguments for it, e.g. "--lr 0.001 --target layer"
train_minutes=                # train on a fixed subset of this many minutes, e.g. 5 or 10; empty: on all
trainable=                    # layer, mixer or suffix; empty: as in train_config
guide=                        # trained experiment, or a checkpoint in it, whose CTC posteriors are soft targets beside the transcripts, and for --unlabelled
asr_args=                     # more arguments for asr_train, e.g. "--max_epoch 20"
pseudo_rounds=0               # rounds of self-training: the model transcribes --unlabelled, the next one learns from that first; 0: none
pseudo_confidence=0.25        # share of the transcribed utterances that is left out, those of least confidence; 0: keep all
pseudo_args=                  # more arguments for asr_train where it trains on such transcripts, e.g. "--max_epoch 30"
# -- stages 4 and 5
search=                       # greedy (batched best path of CTC), beam (ESPnet's asr_inference) or lm (CTC beam search with --lm); empty: lm with --lm, else greedy
lm=                           # word n-gram: an ARPA or KenLM file, a text to train it on, or "text" for the training transcripts
ngram_order=3                 # order of an n-gram that is trained here with KenLM's lmplz
inference_config=             # empty: ../../../conf/decode_SEARCH.yaml
inference_args=               # more arguments for the decoder, e.g. "--beam_size 10"
calibrate=true                # also decode valid_set, and learn there what confidences are worth; not with beam
seconds_per_correction=       # seconds that it takes you to correct a word; stage 5 then prints minutes of correction a minute of audio
report=true                   # stage 5 writes the experiment's report.html, a page to look at and listen to
inference_model=valid.cer_ctc.ave.pth # checkpoint in the experiment's folder

# What `settle` sets, besides `search`.
exp='' rounds=() parent=() training=() converted='' converting=() transfer_steps=0 transferring=() out='' train_text=''

unset CDPATH # with it, cd would print the new folder
common=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${common%/egs/common}
# Files that declare options besides the script.
shared_options=("${common}/lib.sh")
# run.sh has changed to its own folder, where $0 may not be valid.
script=${PWD}/${0##*/}
[[ -f ${script} ]] || script=$0
# Where the user stands. A recipe's run.sh has just left that folder; the stages are run from the recipe's.
stood=${PWD}
[[ $(dirname "${BASH_SOURCE[1]:-${BASH_SOURCE[0]}}") -ef ${common} ]] || stood=${OLDPWD:-${PWD}}
# The project's environment if there is one, else the active one.
[[ ! -d ${root}/.venv/bin ]] || export PATH="${root}/.venv/bin:${PATH}"
# The same sorting order everywhere, and no conversion of text.
export LC_ALL=C PYTHONIOENCODING=utf-8 PYTHONUTF8=1 PYTHONUNBUFFERED=1
# When jobs share the cores, threads that spin while they wait slow each other down by up to ten times.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
# What the user typed, for run.json; the stages that run.sh starts inherit it.
export ESPNET_WSM_COMMAND="${ESPNET_WSM_COMMAND:-$(realpath --relative-to="${root}" "${script}")$( (($# == 0)) || printf ' %q' "$@")}"

log() { echo "$(date '+%H:%M:%S') $*" >&2; }

die() {
    echo "error: $*" >&2
    exit 1
}

((BASH_VERSINFO[0] > 4 || (BASH_VERSINFO[0] == 4 && BASH_VERSINFO[1] >= 4))) ||
    die "bash ${BASH_VERSION} is too old: version 4.4 or later is needed"
for program in awk flock realpath sha256sum; do
    command -v "${program}" >/dev/null || die "${program} is not on PATH: install it (Debian: gawk, util-linux, coreutils)"
done

# list_options: the options declared above with their values, in the array `options`.
list_options() {
    local name
    options=()
    for name in $(declared_options "${common}/lib.sh"); do
        options+=("--${name}" "${!name}")
    done
}

# settle NAME...: set what follows from the options, as espnet_wsm/recipe/settings.py says: experiment, training, decoding.
settle() {
    local options assignments
    list_options
    assignments=$(python -m espnet_wsm.recipe.settings "$@" -- "${options[@]}") || exit
    eval "${assignments}"
}

# run_stages: the stages from --stage to --stop_stage, each a process of its own with every shared option.
run_stages() {
    local names=(data frontend train decode score) options number
    python -c 'import espnet_wsm' || die "espnet_wsm cannot be used (see above); run ${root}/tools/setup.sh"
    settle rounds steps # what cannot be is refused before anything is done
    list_options
    [[ -z ${unlabelled} || ${convert} != 0 || ${transfer_steps} != 0 || ${pseudo_rounds} != 0 || -n ${guide} ]] ||
        log "warning: --unlabelled ${unlabelled} is only used with --convert, --transfer, --pseudo_rounds and --guide"
    for number in 1 2 3 4 5; do
        ((stage <= number && number <= stop_stage)) || continue
        if ((number == 3 && transfer_steps > 0)); then
            run_child "${common}/transfer.sh" "${options[@]}" || die "stage 3 (transfer) failed"
        fi
        run_child "${common}/${names[number - 1]}.sh" "${options[@]}" || die "stage ${number} (${names[number - 1]}) failed"
        if ((number == 2)); then
            [[ ${convert} == 0 ]] || run_child "${common}/convert.sh" "${options[@]}" || die "stage 2 (conversion) failed"
            run_child "${common}/features.sh" "${options[@]}" || die "stage 2 (features) failed"
        fi
        if ((number == 3 && pseudo_rounds > 0)); then
            run_child "${common}/pseudo.sh" "${options[@]}" || die "stage 3 (self-training) failed"
        fi
    done
}

# run_child COMMAND...: run it so that stopping this script stops it too (otherwise bash would wait for its end).
run_child() {
    "$@" &
    local child=$! status=0
    # shellcheck disable=SC2064  # this child, not a later one
    trap "trap - INT TERM; kill ${child} 2>/dev/null; wait ${child}; exit 143" INT TERM
    wait "${child}" || status=$?
    trap - INT TERM
    return "${status}"
}

# launch ARGUMENTS...: call --cmd, which may include options.
launch() {
    local launcher
    read -ra launcher <<<"${cmd}"
    command -v "${launcher[0]:-}" >/dev/null || die "--cmd ${cmd}: there is no program of that name"
    run_child "${launcher[@]}" "$@"
}

# set_training_processes FOLDER: how a training in FOLDER runs on --ngpu GPUs of each of --num_nodes machines: options of
# the launcher (`nodes`), words before the command (`starter`) and arguments of the command (`processes`).
set_training_processes() {
    nodes=() starter=() processes=(--ngpu "${ngpu}")
    ((ngpu <= 1 && num_nodes == 1)) || processes+=(--multiprocessing_distributed true)
    ((num_nodes > 1)) || return 0
    nodes=(--num_nodes "${num_nodes}")
    starter=(srun --export=ALL --kill-on-bad-exit=1)
    # The processes find each other through a file, which must be new in every call.
    rm -f "$1"/.dist_init_*
    processes+=(--dist_launcher slurm --dist_init_method "file://$(realpath "$1")/.dist_init_$$")
    ((ngpu > 0)) || processes+=(--dist_backend gloo)
}

# set_text_options: the options that say how transcripts are spelt, in the array `text_options`.
set_text_options() {
    [[ -n ${text_config} || ! -f conf/text.yaml ]] || text_config=conf/text.yaml
    [[ -z ${text_config} || -f ${text_config} ]] || die "--text_config ${text_config} does not exist"
    text_options=(${text_config:+--text_config "${text_config}"} ${lang:+--lang "${lang}"}
        ${nlsyms_txt:+--non_linguistic_symbols "${nlsyms_txt}"})
}

# has_directory: whether --unlabelled names speech beside the data directories, which stage 2 stores.
has_directory() { [[ -n ${unlabelled} && ${unlabelled} != rest ]]; }

# cut_unlabelled SECONDS: print a copy of the directory of --unlabelled in which recordings longer than that are cut.
cut_unlabelled() {
    python -m espnet_wsm.stages.cut_recordings --data "${unlabelled}" --out "${dump_dir}/cut/unlabelled" \
        --max_seconds "$1" --allow_pipes "${allow_pipes}" >&2
    echo "${dump_dir}/cut/unlabelled"
}

# is_decimal VALUE: whether it is a number such as 3 or 0.25.
is_decimal() { [[ $1 =~ ^[0-9]+(\.[0-9]+)?$ ]]; }

# join_more SET: add to a set what its utterances make joined; of --unlabelled, no two need to have one speaker.
join_more() {
    local none=()
    [[ $1 != unlabelled ]] || none=(--may_be_none)
    python -m espnet_wsm.stages.join_utterances --dir "${dump_dir}/raw/$1" --max_seconds "${join_to}" \
        --pause "${join_pause}" "${none[@]}"
    echo "${join_to} ${join_pause}" >"${dump_dir}/raw/$1/join_to"
}

# check_training_options: refuse options that make more of the training set where that is measured on.
check_training_options() {
    local option
    for option in speed_perturb join_to; do
        [[ -z ${!option} || " ${valid_set} ${test_sets} " != *" ${train_set} "* ]] ||
            die "--${option} is for training only, but ${train_set} is also a validation or test set: train on another set"
    done
    [[ -z ${join_to} ]] || { is_decimal "${join_to}" && [[ ${join_to} == *[1-9]* ]]; } ||
        die "--join_to has to be a number of seconds, e.g. 20, got '${join_to}'"
    is_decimal "${join_pause}" || die "--join_pause has to be a number of seconds, e.g. 0.2, got '${join_pause}'"
}

# check_unlabelled: refuse what stage 2 cannot store as the set `unlabelled`, and say what it does not read.
check_unlabelled() {
    [[ " ${train_set} ${valid_set} ${test_sets} " != *" unlabelled "* ]] ||
        die "no set can be called unlabelled: stage 2 stores the speech of --unlabelled under that name; rename the set"
    has_directory || return 0
    [[ -f ${unlabelled}/wav.scp ]] ||
        die "--unlabelled: ${unlabelled}/wav.scp does not exist; name a Kaldi data directory, which needs no text"
    [[ ! -e ${unlabelled}/text ]] || log "warning: ${unlabelled}/text is not read: of --unlabelled only the audio is used"
}

# watch ARGUMENTS...: show the progress of the next launch, until `unwatch` or the end of the script.
watch() {
    python -m espnet_wsm.recipe.progress "$@" &
    watcher=$!
    trap unwatch EXIT
}

unwatch() { kill "${watcher}" 2>/dev/null || true; }

# hold FOLDER [wait]: let no other run write there until this script, and what it has launched on this machine, have
# ended; with wait, wait for another one. If a run is killed, the system frees its lock: so the shell has to hold it, not
# a program that it calls.
declare -A locks=()
hold() {
    local lock
    [[ -z ${locks[$1]:-} ]] || return 0
    mkdir -p "$1" 2>/dev/null || die "$1 cannot be made: check its path and the permissions of the folders above it"
    [[ -w $1 ]] || die "$1 cannot be written: check its permissions and how its disk is mounted"
    exec {lock}>>"$1/.lock"
    if [[ ${2:-} == wait ]] && ! flock --nonblock "${lock}"; then
        log "waiting for another run that writes to $1 ($(head -n 1 "$1/.lock"))"
        flock "${lock}"
    fi
    flock --nonblock "${lock}" || die "another run writes to $1 ($(head -n 1 "$1/.lock")): wait until it ends, or stop it"
    echo "process $$ on $(uname -n) since $(date '+%F %T'): ${ESPNET_WSM_COMMAND}" >"$1/.lock"
    locks[$1]=${lock}
}

# begin_stage NUMBER VERB INPUT OUTPUT: OUTPUT counts as unfinished from here until finish_stage.
begin_stage() {
    log "Stage $1: $2: $3 -> $4"
    hold "$4"
    touch "$4/.unfinished"
}

# finish_stage OUTPUT [INPUT_DIGEST]: OUTPUT is complete, and was made from an input with this digest.
finish_stage() {
    [[ -z ${2:-} ]] || echo "$2" >"$1/.made_from"
    rm -f "$1/.unfinished"
}

# require_finished FOLDER NUMBER: refuse a folder that stage NUMBER has not made, failed to make or is still making.
require_finished() {
    [[ -d $1 ]] || die "$1 does not exist; run stage $2 first"
    [[ ! -e $1/.unfinished ]] || die "$1 is unfinished: stage $2 failed, was killed or is still running; run it again"
}

# require_made_from FOLDER DIGEST INPUT NUMBER: refuse a folder that was made from another version of its input. It may have
# been made from more: a dump with the speech of --unlabelled serves a training that does not ask for it.
require_made_from() {
    [[ ! -e $1/.made_from || $(<"$1/.made_from")" " == "$2 "* ]] ||
        die "$1 does not belong to the current $3, which has changed since; run stage $4 again"
}

# dump_folder SET: where stage 2 writes a complete set; what is learnt from and validation sets are selected from there.
dump_folder() {
    local org=
    [[ " ${train_set} ${valid_set} unlabelled " != *" $1 "* ]] || org=org/
    echo "${dump_dir}/raw/${org}$1"
}

# decoded_folder SET: what stage 4 decodes: a complete test set, else what training validates on.
decoded_folder() {
    if [[ " ${test_sets} " == *" $1 "* ]]; then dump_folder "$1"; else echo "${dump_dir}/raw/$1"; fi
}

# folder_digest FOLDER: digest of the names and sizes of all files and the contents of the lists. Stored features are
# left out, because they have their own digests, and so is the speech of --unlabelled, which only a transfer reads.
folder_digest() {
    local but=(! -path './log/*' ! -path './cache/*' ! -path './raw/unlabelled/*' ! -path './raw/org/unlabelled/*')
    (
        cd "$1" || exit
        find . -type f ! -name '.*' "${but[@]}" -printf '%P %s\n' | sort
        find . -type f \( -name text -o -name 'wav.scp' -o -name segments -o -name reco2file_and_channel \
            -o -name utt2spk -o -name utt2num_samples -o -name utt2md5 -o -name tokens.txt \) "${but[@]}" -print0 |
            sort -z | xargs -0 -r cat
    ) | sha256sum | cut -c1-16
}

# data_digest FOLDER: folder_digest of data directories, and a digest of sizes and times of the audio that they name.
data_digest() {
    local audio
    audio=$(python -m espnet_wsm.stages.stamp_audio "$1") || return
    echo "$(folder_digest "$1") ${audio}"
}

# input_digest: data_digest of --data_dir, followed by digests of the lists of --unlabelled but for its text, which is not
# read, and of the audio that they name.
input_digest() {
    local digest lists audio
    digest=$(data_digest "${data_dir}") || return
    if has_directory && [[ -d ${unlabelled} ]]; then
        lists=$(cd "${unlabelled}" && { cat wav.scp segments reco2file_and_channel utt2spk 2>/dev/null || true; } | sha256sum)
        audio=$(python -m espnet_wsm.stages.stamp_audio "${unlabelled}") || return
        digest+=" ${lists:0:16} ${audio}"
    fi
    echo "${digest}"
}

# require_fresh_dump: refuse a dump that was made from other data, where these are at hand.
require_fresh_dump() {
    [[ -d ${data_dir} ]] || return 0
    require_made_from "${dump_dir}" "$(input_digest)" "${data_dir}${unlabelled:+ and ${unlabelled}}" 2
}
