# Kaldi's option parser for scripts that declare `name=default # help`: --name value, --name=value, --help.
# Source it after lib.sh. Options declared in the script override those of lib.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154  # common and script are set in lib.sh

# declared_options FILE...: the names of the options declared in these files.
declared_options() { sed -n -E 's/^([a-z][a-z_]*)=[^#]*# .*$/\1/p' "$@" | awk '!seen[$0]++'; }

# A recipe of another kind than ASR empties shared_options.
_declaring=("${script}" "${shared_options[@]}")

_help() {
    awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "${script}"
    echo
    awk 'match($0, /^[a-z][a-z_]*=/) && i = index($0, "# ") {
             name = substr($0, 1, RLENGTH - 1); if (seen[name]++) next
             value = substr($0, RLENGTH + 1, i - RLENGTH - 1); gsub(/ +$/, "", value)
             printf "  --%-18s %s%s\n", name, substr($0, i + 2), value == "" ? "" : " [" value "]"
         }' "${_declaring[@]}"
    echo
    echo "A relative path is taken from where you stand if it exists there, else from ${script%/*}."
}

# Options that name files and folders.
_paths=" downloads data_dir unlabelled dump_dir exp_dir export_dir results text_config nlsyms_txt upstream upstream_config"
_paths+=" train_config config guide lm inference_config cmd "

# _from_here NAME VALUE: a relative path that exists where the user stands, as seen from the script's folder.
_from_here() {
    local path=$2 more=
    [[ $1 != cmd || $2 != *' '* ]] || path=${2%% *} more=" ${2#* }"
    case $1:${path} in
    *: | *:/* | lm:text | unlabelled:rest) ;; # nothing, a full path, parts of the training set
    upstream:*[./]* | upstream_*:* | unlabelled:* | [!u]*:*) # another upstream is a name
        if [[ ! ${stood} -ef ${PWD} && -e ${stood}/${path} ]]; then
            path=$(realpath --no-symlinks --relative-to "${PWD}" --relative-base "${root}" "${stood}/${path}")
        fi
        ;;
    esac
    printf '%s' "${path}${more}"
}

_known=" $(declared_options "${_declaring[@]}" | tr '\n' ' ')"
while (($# > 0)); do
    case $1 in
    --help | -h)
        _help
        exit 0
        ;;
    --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    --*)
        _name=${1#--}
        [[ ${_known} == *" ${_name} "* ]] || die "unknown option $1; see ${script##*/} --help"
        (($# > 1)) || die "option $1 needs a value"
        # Kaldi's lists, to which paths and names are written, have one line per entry.
        [[ ${_name} == *_args || ${_name} == test_sets || $2 != *$'\n'* ]] ||
            die "option $1: its value holds a line break: $(printf '%q' "$2")"
        if [[ ${_paths} == *" ${_name} "* ]]; then
            printf -v "${_name}" '%s' "$(_from_here "${_name}" "$2")"
        else
            printf -v "${_name}" '%s' "$2"
        fi
        shift 2
        ;;
    *) die "unexpected argument '$1'; see ${script##*/} --help" ;;
    esac
done

_require_number() { # NAME LEAST MOST
    if [[ ! ${!1} =~ ^[0-9]{1,6}$ ]] || ((10#${!1} < $2 || 10#${!1} > $3)); then
        die "--$1 has to be a whole number from $2 to $3, got '${!1}'"
    fi
}
_require_number stage 1 5
_require_number stop_stage 1 5
((stage <= stop_stage)) || die "--stage ${stage} comes after --stop_stage ${stop_stage}: nothing to do"
_require_number nj 1 10000
_require_number ngpu 0 1000
_require_number num_nodes 1 1000
_require_number num_threads 1 1000
_require_number ngram_order 2 6
_require_number pseudo_rounds 0 100
