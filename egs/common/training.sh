# What every training of stage 3 shares. Source it after lib.sh and parse_options.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # options and arrays are set and read by the scripts that source it

# What prepare_training sets: digest of the dump, folder of stored features (empty: waveforms), arguments for the tokens,
# folder with the lists of the transcripts.
input='' features='' tokenising=() transcripts=''

# prepare_training SETS: check the dump, and that it has the features of these sets. Needs `rounds` and `training`.
prepare_training() {
    local tokens made_with
    require_finished "${dump_dir}" 2
    require_fresh_dump
    if [[ ${convert} != 0 ]]; then
        settle converting
        [[ -f ${converted}/converted.json ]] || die "${converted} does not exist; run stage 2 with --convert ${convert}"
    fi
    tokens=${dump_dir}/token_list/${token_type}
    [[ -d ${tokens} ]] || die "${tokens} does not exist; run stage 2 with --token_type ${token_type}"
    made_with=$(cat "${dump_dir}/raw/org/${train_set}/speed_perturb" 2>/dev/null || true)
    [[ ${speed_perturb} == "${made_with}" ]] ||
        die "${dump_dir} was made with --speed_perturb '${made_with}': give the same again, or run stage 2 again"
    made_with=$(cat "${dump_dir}/raw/${train_set}/join_to" 2>/dev/null || true)
    [[ ${join_to:+${join_to} ${join_pause}} == "${made_with}" ]] ||
        die "${dump_dir} was made with --join_to and --join_pause '${made_with}': give the same again, or run stage 2 again"
    input=$(folder_digest "${dump_dir}")
    features=$(python -m espnet_wsm.stages.cache_features check --dump_dir "${dump_dir}" \
        --sets "$1" --cache "${cache}" --cache_dtype "${cache_dtype}" -- "${training[@]}")
    ((pseudo_rounds == 0)) || [[ -n ${features} ]] ||
        die "--pseudo_rounds needs stored features, from which speech is transcribed: see above what prevents them"
    tokenising=(--token_list "${tokens}/tokens.txt")
    if [[ ${token_type} == char ]]; then
        tokenising+=(--token_type char)
    else
        tokenising+=(--token_type bpe --bpemodel "${tokens}/bpe.model")
    fi
    [[ ! -e ${tokens}/nlsyms.txt ]] || tokenising+=(--non_linguistic_symbols "${tokens}/nlsyms.txt")
    transcripts=${dump_dir}/raw/${train_set}
    [[ -z ${train_minutes} ]] || transcripts=${rounds[0]}/train_${train_minutes}min
}

# list_sets SET LISTS: set the array `args` to what a training on that speech with these lists reads, and its validation.
list_sets() {
    args=("${tokenising[@]}")
    list_data train "$1" "$2"
    list_data valid "${valid_set}" "${dump_dir}/raw/${valid_set}"
}

# list_data PART SET LISTS: add to the array `args` what a training (PART: train or valid) reads: the speech of a set (of
# none: that of the lists), and of the utterances that have a text and a length in the folder LISTS.
list_data() {
    local speech=${2:+${dump_dir}/raw/}${2:-$3}/wav.scp,speech,sound
    [[ -z ${features} ]] || speech=${2:+${features}/}${2:-$3}/feats.scp,speech,feature_cache
    # ESPnet trains on the ids of the shape file. Batches are made by the length of the audio, so they are the same with
    # stored features.
    args+=(--"$1"_data_path_and_name_and_type "${speech}" --"$1"_data_path_and_name_and_type "$3/text,text,text"
        --"$1"_shape_file "$3/speech_shape")
}

# digest_unlabelled: a digest of the speech of --unlabelled, which that of the dump leaves out.
digest_unlabelled() { cat "${dump_dir}"/raw/{unlabelled/utt2num_samples,org/unlabelled/utt2md5} | sha256sum | cut -c1-16; }

# record_training FOLDER SETTING...: a checkpoint of other settings must not be resumed as if it were one of these.
record_training() {
    local settings=("${@:2}")
    hold "$1"
    python -m espnet_wsm.stages.record_run --dir "$1" --command "${ESPNET_WSM_COMMAND}" \
        --file "${train_config}" --setting "${input}" "${settings[@]/#/--setting=}"
}

# is_trained FOLDER: whether a training with these settings, which are recorded there, has ended.
is_trained() {
    [[ ! -e $1/.unfinished && -f $1/${inference_model} && $(cat "$1/.made_from" 2>/dev/null) == "${input}" ]]
}

# train FOLDER ARGUMENT...: train there; a stopped training is resumed.
train() {
    local nodes starter processes
    watch --log "$1/train.log" --desc train --unit epoch
    set_training_processes "$1"
    launch "${nodes[@]}" --gpu "${ngpu}" --num_threads "${num_threads}" "$1/train.log" \
        "${starter[@]}" python -m espnet_wsm.bin.asr_train --output_dir "$1" --resume true "${processes[@]}" "${@:2}"
    unwatch
    [[ -f $1/${inference_model} ]] || die "training left no $1/${inference_model}; see $1/train.log"
}
