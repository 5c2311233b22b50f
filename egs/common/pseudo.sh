#!/usr/bin/env bash
# Stage 3, after training: rounds of self-training (--pseudo_rounds N). In each, the model of the round before transcribes
# the speech of --unlabelled from its stored features, and a new model, which starts as the first one did, learns from these
# texts and then from the transcripts.
# Run from a recipe's folder.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
# shellcheck source=egs/common/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=egs/common/parse_options.sh
. "$(dirname "${BASH_SOURCE[0]}")/parse_options.sh"
# shellcheck source=egs/common/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/training.sh"

settle rounds training steps
speech=unlabelled
has_directory || speech=${train_set}
prepare_training "${train_set} ${valid_set}$(! has_directory || echo " unlabelled")"
start=()
if ((transfer_steps > 0)); then
    settle transfer
    learnt=$(python -m espnet_wsm.stages.transfer find "${transferring[@]}" -- "${training[@]}")
    start=(${learnt:+--init_param "${learnt}:encoder:encoder"})
fi
read -r -d '' -a more <<<"${pseudo_args}" || true
verb() { python -m espnet_wsm.stages.pseudo_labels "$@"; }

# make_labels FOLDER TEACHER MADE_FROM: what the model in TEACHER says, and of which utterances that is kept.
make_labels() {
    local logs=$1/log/transcribe.JOB.log measured=() set
    [[ -e $1/.unfinished || $(cat "$1/.made_from" 2>/dev/null) != "$3" ]] || return 0
    begin_stage 3 "transcribe with ${2##*/}" "${dump_dir}/raw/${speech}" "$1"
    rm -rf "${1:?}"/*
    for set in ${valid_set} ${test_sets}; do measured+=("$(dump_folder "${set}")"); done
    verb plan --out "$1" --speech "${dump_dir}/raw/${speech}" --measured "${measured[@]}" --but "${transcripts}"
    watch --log "${logs}" --nj "${nj}" --desc transcribe --unit utt
    launch --gpu "$((ngpu > 0))" --num_threads 1 JOB=1:"${nj}" "${logs}" \
        python -m espnet_wsm.stages.pseudo_labels transcribe --out "$1" --features "${features}/${speech}" --model "$2" \
        --model_file "${inference_model}" --nj "${nj}" --job JOB --ngpu "$((ngpu > 0))" --log "${logs}"
    unwatch
    verb select --out "$1" --speech "${dump_dir}/raw/${speech}" --nj "${nj}" --leave_out "${pseudo_confidence}" \
        --tokens "${dump_dir}/token_list/${token_type}" --token_type "${token_type}"
    finish_stage "$1" "$3"
}

for ((number = 1; number < ${#rounds[@]}; number++)); do
    exp=${rounds[number]} teacher=${rounds[number - 1]}
    require_finished "${teacher}" 3
    list_sets "${speech}" "${exp}/labels"
    labelled=("${args[@]}" "${start[@]}" "${training[@]}" "${more[@]}")
    list_sets "${train_set}" "${transcripts}"
    labels="labels of ${inference_model} $(sha256sum <"${teacher}/run.json" | cut -c1-16) but ${pseudo_confidence} $(! has_directory || digest_unlabelled)"

    record_training "${exp}/pseudo" "${labels}" "${labelled[*]}"
    record_training "${exp}" "${labels}" "${labelled[*]}" "${args[*]} ${training[*]}"
    # A later round needs no more of this one than its model.
    if ((number + 1 < ${#rounds[@]})) && is_trained "${exp}"; then
        log "Stage 3: ${exp} is trained already"
        continue
    fi
    begin_stage 3 "self-training, round ${number}" "${dump_dir}" "${exp}"
    make_labels "${exp}/labels" "${teacher}" "${labels}"
    begin_stage 3 "train on what ${teacher##*/} transcribed" "${exp}/labels" "${exp}/pseudo"
    train "${exp}/pseudo" "${labelled[@]}"
    finish_stage "${exp}/pseudo" "${input}"
    log "Stage 3: train on transcripts: ${transcripts} -> ${exp}"
    train "${exp}" "${args[@]}" --init_param "${exp}/pseudo/${inference_model}" "${training[@]}"
    verb measure --out "${exp}" --teacher "${teacher}" --model_file "${inference_model}" --features "${features}/${valid_set}" \
        --dir "${dump_dir}/raw/${valid_set}" --ngpu "$((ngpu > 0))"
    finish_stage "${exp}" "${input}"
done
