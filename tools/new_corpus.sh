#!/usr/bin/env bash
# Make the recipe of a new corpus, egs/NAME/asr1, from egs/TEMPLATE/asr1.
#   tools/new_corpus.sh NAME --lang CODE                  on three built-in utterances, to begin with
#   tools/new_corpus.sh NAME --lang CODE --manifest FILE  on a file or folder, see egs/manifest/asr1/README.md
#     --data_args "--tier tx@* --padding 0.1"             options of espnet-wsm prepare_corpus for it
# NAME: letters, digits and _, e.g. shona_radio. CODE: of the language, e.g. sn.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
    echo "error: $*" >&2
    exit 1
}

name='' lang='' manifest='' data_args=''
while (($# > 0)); do
    case $1 in
    --help | -h)
        sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    --lang | --manifest | --data_args)
        (($# > 1)) || die "option $1 needs a value"
        printf -v "${1#--}" '%s' "$2"
        shift 2
        ;;
    --*) die "unknown option $1; see tools/new_corpus.sh --help" ;;
    *)
        [[ -z ${name} ]] || die "one name, please: ${name} or $1; see tools/new_corpus.sh --help"
        name=$1
        shift
        ;;
    esac
done
[[ -n ${name} ]] || die "give the corpus a name; see tools/new_corpus.sh --help"
[[ ${name} =~ ^[A-Za-z][A-Za-z0-9_]*$ ]] || die "${name}: letters, digits and _ make a name, e.g. shona_radio"
[[ ${lang} =~ ^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$ ]] || die "--lang ${lang}: give the code of the language, e.g. sn or pt-BR"
[[ ! -e ${root}/egs/${name} ]] || die "egs/${name} is there already: choose another name, or remove it"
[[ -z ${manifest} || -e ${manifest} ]] || die "--manifest ${manifest} does not exist"

partial=${root}/egs/.${name}.partial
rm -rf "${partial}"
trap 'rm -rf "${partial}"' EXIT
mkdir "${partial}"
cp -R "${root}/egs/TEMPLATE/asr1" "${partial}/asr1"
downloads=sample
if [[ -n ${manifest} ]]; then
    downloads=$(printf '%q' "$(realpath "${manifest}")")
    rm -r "${partial}/asr1/sample"
    sed -i '/^sample\/ holds/,$d' "${partial}/asr1/README.md"
fi
sed -i -e "s/CORPUS/${name}/" -e "s/LANGUAGE/${lang}/" "${partial}"/asr1/{README.md,conf/text.yaml}
[[ -z ${data_args} ]] || data_args=$(printf '%q' "${data_args}")
DOWNLOADS=${downloads} DATA_ARGS=${data_args} awk 'sub(/^downloads=sample */, "") { $0 = "downloads=" ENVIRON["DOWNLOADS"] " " $0 }
    sub(/^data_args= */, "") { $0 = "data_args=" ENVIRON["DATA_ARGS"] " " $0 } 1' \
    "${root}/egs/TEMPLATE/asr1/run.sh" |
    sed "s/CORPUS: a corpus of my own/${name}: speech in ${lang}/" >"${partial}/asr1/run.sh"
mv "${partial}" "${root}/egs/${name}"

cat <<END
made egs/${name}/asr1. Next:
  cd egs/${name}/asr1
  ./run.sh --stop_stage 2                           # the data, and what is wrong with it
  ./run.sh --tag trial --transfer 0 --asr_args "--max_epoch 1 --num_iters_per_epoch 5"   # every stage once
  ./run.sh                                          # the experiment
How transcripts are spelt is in conf/text.yaml. Then write its README.md.
END
