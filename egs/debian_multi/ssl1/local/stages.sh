# The stages of run.sh, which sets the options.
# shellcheck shell=bash
# shellcheck disable=SC2154  # options are declared in run.sh

make_data() {
    begin_stage 1 "prepare" "${sources}" "${data}"
    python local/data.py --sources "${sources}" --downloads "${downloads}" --out "${data}"
    for set in train valid; do
        python -m espnet_wsm.bin.validate_data_dir "${data}/${set}"
    done
    finish_stage "${data}"
}

make_dump() {
    local set speeds
    require_finished "${data}" 1
    begin_stage 2 "format audio, cluster MFCC" "${data}" "${dump}"
    for set in train valid; do
        speeds=()
        [[ -z ${speed_perturb} || ${set} == valid ]] || speeds=(--speed_perturb "${speed_perturb}")
        launch --num_threads 1 JOB=1:"${nj}" "${dump}/log/format_${set}.JOB.log" \
            python -m espnet_wsm.stages.format_audio \
            --data "${data}/${set}" --out "${dump}/raw/org/${set}" --nj "${nj}" --job JOB "${speeds[@]}"
        python -m espnet_wsm.stages.merge_audio \
            --data "${data}/${set}" --out "${dump}/raw/org/${set}" --nj "${nj}" "${speeds[@]}"
        python -m espnet_wsm.stages.select_utterances --dir "${dump}/raw/org/${set}" --out "${dump}/raw/${set}" \
            --min_seconds 0.4 --max_seconds 20 --log "${dump}/log/dropped_${set}.txt"
    done
    make_targets 1
    finish_stage "${dump}" "$(data_digest "${data}")"
}

# make_targets ITERATION ARGUMENTS...: cluster ids of all frames, and the list of cluster ids that ESPnet needs.
make_targets() {
    local clusters=${num_clusters[$1 - 1]} out=${dump}/targets$1
    launch --num_threads "${num_threads}" "${dump}/log/targets$1.log" \
        python -m espnet_wsm.stages.make_targets --train "${dump}/raw/train" --others "${dump}/raw/valid" \
        --out "${out}" --num_clusters "${clusters}" --seed "${seed}" "${@:2}"
    seq 0 "$((clusters - 1))" >"${out}/tokens.txt"
    tail -n 2 "${dump}/log/targets$1.log" >&2
}

# require_dump: refuse a dump that is incomplete, or that does not belong to the current data, if there are data.
require_dump() {
    require_finished "${dump}" 2
    [[ ! -d ${data} ]] || require_made_from "${dump}" "$(data_digest "${data}")" "${data}" 2
}

# cluster_layer ITERATION: the targets of a later iteration, from the model of the previous one.
cluster_layer() {
    local input out=${dump}/targets$1 before=${exp}/iter$(($1 - 1))
    python -m espnet_wsm.bin.export_upstream --exp "${before}" --out "${before}/upstream"
    input="$(sha256sum <"${before}/upstream/model.safetensors") $(<"${dump}/.made_from") ${layer} ${num_clusters[$1 - 1]} ${seed}"
    if [[ ! -e ${out}/.unfinished && $(cat "${out}/.made_from" 2>/dev/null) == "${input}" ]]; then
        log "Stage 4: ${out} is that of ${before} already"
        return
    fi
    begin_stage 4 "cluster layer ${layer}" "${before}/upstream" "${out}"
    make_targets "$1" --upstream "${before}/upstream" --layer "${layer}"
    finish_stage "${out}" "${input}"
}

# targets_digest ITERATION: digest of the cluster ids on which it is trained.
targets_digest() { cat "${dump}/targets$1"/{train,valid}/labels | sha256sum | cut -c1-16; }

# find_averaged FOLDER: print the path of the averaged model that its training ended with.
find_averaged() {
    local found=("$1"/*.ave.pth)
    [[ -f ${found[0]} ]] || die "training left no averaged model in $1; see $1/train.log"
    echo "${found[0]}"
}

pretrain_further() {
    local iteration
    require_dump
    require_finished "${exp}/iter1" 3
    require_made_from "${exp}/iter1" "$(targets_digest 1)" "${dump}/targets1" 3
    for ((iteration = 2; iteration <= iterations; iteration++)); do
        cluster_layer "${iteration}"
        pretrain "${iteration}"
    done
}

# pretrain ITERATION: masked prediction of the cluster ids; later iterations start from the weights of the previous one.
pretrain() {
    local out=${exp}/iter$1 targets=${dump}/targets$1 input more args part model
    require_dump
    input=$(targets_digest "$1")
    args=(--config "${train_config}" --seed "${seed}"
        --token_list "${targets}/tokens.txt" --num_classes "${num_clusters[$1 - 1]}")
    for part in train valid; do
        args+=(--"${part}"_data_path_and_name_and_type "${dump}/raw/${part}/wav.scp,speech,sound"
            --"${part}"_data_path_and_name_and_type "${targets}/${part}/labels,text,text_int"
            --"${part}"_shape_file "${dump}/raw/${part}/speech_shape")
    done
    if (($1 > 1)); then
        part=encoder.hubert_pretrain_model.wav2vec2
        model=$(find_averaged "${exp}/iter$(($1 - 1))")
        args+=(--init_param "${model}:${part}:${part}")
    fi
    read -r -d '' -a more <<<"${train_args}" || true
    hold "${out}"
    # The number of epochs is not part of a run's identity, so training may continue with more epochs.
    python -m espnet_wsm.stages.record_run --dir "${out}" --command "${ESPNET_WSM_COMMAND}" \
        --file "${train_config}" --setting "${input}" --setting "${args[*]} ${more[*]}"
    begin_stage $(($1 == 1 ? 3 : 4)) "pre-train, iteration $1" "${targets}" "${out}"
    watch --log "${out}/train.log" --desc train --unit epoch
    set_training_processes "${out}"
    # With layer drop, the parameters of a dropped layer have no gradients.
    ((ngpu <= 1 && num_nodes == 1)) || processes+=(--unused_parameters true)
    launch "${nodes[@]}" --gpu "${ngpu}" --num_threads "${num_threads}" "${out}/train.log" \
        "${starter[@]}" python -m espnet_wsm.bin.hubert_train --output_dir "${out}" --resume true "${processes[@]}" \
        --max_epoch "${max_epoch[$1 - 1]:-${max_epoch[-1]}}" "${args[@]}" "${more[@]}"
    unwatch
    find_averaged "${out}" >/dev/null
    finish_stage "${out}" "${input}"
    log "curves of loss and masked accuracy: ${out}/images/{loss,acc_m}.png"
}

export_model() {
    local out=${export_dir:-${exp}/upstream} last=${exp}/iter${iterations} earlier=() iteration
    require_finished "${last}" $((iterations == 1 ? 3 : 4))
    # Card and licence describe the current data, so every iteration has to be made from them.
    require_dump
    require_finished "${data}" 1
    for ((iteration = 1; iteration <= iterations; iteration++)); do
        require_finished "${exp}/iter${iteration}" $((iteration == 1 ? 3 : 4))
        require_made_from "${exp}/iter${iteration}" "$(targets_digest "${iteration}")" \
            "${dump}/targets${iteration}" $((iteration == 1 ? 3 : 4))
        # The clusters of a layer remain if another dump is made.
        ((iteration == 1)) || [[ $(<"${dump}/targets${iteration}/.made_from") == *" $(<"${dump}/.made_from") "* ]] ||
            die "${exp}/iter${iteration} does not belong to the current ${dump}, which has changed since; run stage 4 again"
    done
    for ((iteration = 1; iteration < iterations; iteration++)); do earlier+=("${exp}/iter${iteration}"); done
    log "Stage 5: export: ${last} -> ${out}"
    python -m espnet_wsm.bin.export_upstream --exp "${last}" --out "${out}" --earlier "${earlier[@]}" \
        --sources "${data}/sources.json" --private "${private}"
}
