#!/usr/bin/env bash
# Make a trained model a recogniser of ELAN, or take it out again.
#   tools/elan/install.sh --model exp/asr_X [--elan FOLDER] [--name NAME] [-- --ngpu 1 ...]
#   tools/elan/install.sh --uninstall [--elan FOLDER] [--name NAME]
# --model   experiment folder, or archive of espnet2.bin.pack asr
# --elan    where ELAN is, or its extensions folder (default: looked for in the usual places)
# --name    what ELAN calls the recogniser (default: espnet_wsm); one for each model
# What stands behind -- are options of espnet-wsm transcribe: --ngpu, --upstream, --dtype, ...
# It runs in .venv where that is set up; PYTHON=PROGRAM takes another one. Start ELAN anew afterwards.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # where sh is another shell
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
    echo "error: $*" >&2
    exit 1
}

model='' elan='' name=espnet_wsm remove=false
while (($# > 0)); do
    case $1 in
    --help | -h)
        sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    --uninstall)
        remove=true
        shift
        ;;
    --model | --elan | --name)
        (($# > 1)) || die "option $1 needs a value"
        printf -v "${1#--}" '%s' "$2"
        shift 2
        ;;
    --)
        shift
        break
        ;;
    *) die "unknown option $1; see tools/elan/install.sh --help" ;;
    esac
done
id=$(LC_ALL=C tr -c 'A-Za-z0-9_\n-' _ <<<"${name}")
[[ ${id} == *[A-Za-z0-9]* ]] || die "--name ${name}: letters or digits have to be in it"

# The extensions folder of a program folder of ELAN, whatever its system and version.
find_extensions() {
    local folder
    [[ $(basename "$1") != extensions ]] || set -- "$1/.."
    for folder in "$1" "$1/lib/app" "$1/app" "$1/Contents/app" "$1/Contents/Java"; do
        if [[ -d ${folder}/extensions ]]; then
            (cd "${folder}/extensions" && pwd)
            return
        fi
    done
    return 1
}

advice="name it with --elan: on Linux it is ELAN_x/lib/app/extensions, on macOS ELAN_x.app/Contents/app/extensions, \
on Windows ELAN_x\\app\\extensions, and up to ELAN 5 extensions in the program's folder"
if [[ -n ${elan} ]]; then
    extensions=$(find_extensions "${elan}") || die "--elan ${elan} holds no extensions folder of ELAN; ${advice}"
else
    found=()
    for folder in /opt/*ELAN* /usr/local/*ELAN* "${HOME}"/*ELAN* /Applications/ELAN*.app /Applications/ELAN*/ELAN*.app \
        "${HOME}"/Applications/ELAN*.app "${PROGRAMFILES:-/nowhere}"/ELAN* "${LOCALAPPDATA:-/nowhere}"/ELAN*; do
        if place=$(find_extensions "${folder}"); then
            found+=("${place}")
        fi
    done
    ((${#found[@]} > 0)) || die "ELAN's extensions folder is in none of the usual places: ${advice}"
    ((${#found[@]} == 1)) || die "there are several, choose one with --elan: ${found[*]}"
    extensions=${found[0]}
fi
target=${extensions}/${id}
[[ ! -e ${target} || -f ${target}/espnet_wsm.cmdi ]] || die "${target} is of another extension: choose another --name"

if ${remove}; then
    [[ -z ${model} ]] || die "--model goes with installing: leave it out, or --uninstall"
    [[ -e ${target} ]] || die "${target} is not there: --name says which recogniser is to go"
    rm -r "${target}"
    echo "removed ${target}; start ELAN anew"
    exit 0
fi

[[ -n ${model} ]] || die "name the --model; see tools/elan/install.sh --help"
[[ -e ${model} ]] || die "--model ${model} does not exist"
model=$(cd "$(dirname "${model}")" && pwd)/$(basename "${model}")
python=${PYTHON:-}
for candidate in "${here}"/../../.venv/{bin/python,Scripts/python.exe}; do
    [[ -n ${python} || ! -x ${candidate} ]] || python=$(cd "$(dirname "${candidate}")" && pwd)/$(basename "${candidate}")
done
python=$(command -v "${python:-python3}") || die "there is no Python: run tools/setup.sh, or name it with PYTHON=PROGRAM"
check='from sys import argv; from espnet_wsm.recognition.elan import make_parser; make_parser().parse_args(argv[1:])'
"${python}" -c "${check}" --model "${model}" "$@" ||
    die "${python} cannot run the recogniser so: see above, run tools/setup.sh, or name another with PYTHON=PROGRAM"

partial=${extensions}/.${id}.partial
rm -rf "${partial}"
trap 'rm -rf "${partial}"' EXIT
mkdir "${partial}" 2>/dev/null || die "${extensions} cannot be written: run this as the user who installed ELAN"
shown=$(sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/"/\&quot;/g' <<<"${name}")
NAME=${shown} ID=${id} awk '
    function fill(mark, value,    place) {
        if (place = index($0, mark)) $0 = substr($0, 1, place - 1) value substr($0, place + length(mark))
    }
    { fill("@ID@", ENVIRON["ID"]); fill("@NAME@", ENVIRON["NAME"]); print }
' "${here}/recogniser.cmdi" >"${partial}/espnet_wsm.cmdi"
cp "${here}/help.html" "${partial}/help.html"
case $(uname -s) in
MINGW* | MSYS* | CYGWIN*)
    words=("$(cygpath -w "${python}")" -m espnet_wsm.recognition.elan --model "$(cygpath -w "${model}")" "$@")
    printf -v line ' "%s"' "${words[@]//%/%%}"
    printf '%s\r\n' '@echo off' 'chcp 65001 >nul' 'set PYTHONIOENCODING=utf-8' "${line# }" >"${partial}/run.bat"
    ;;
*)
    {
        echo '#!/usr/bin/env bash'
        echo '# ELAN ends this process when it cancels, so it has to be that of Python.'
        echo 'export PYTHONIOENCODING=utf-8'
        printf -v line '%q ' exec "${python}" -m espnet_wsm.recognition.elan --model "${model}" "$@"
        echo "${line% }"
    } >"${partial}/run.sh"
    chmod +x "${partial}/run.sh"
    ;;
esac
rm -rf "${target}"
mv "${partial}" "${target}"
echo "installed ${target}; start ELAN anew: tab Recognizers, Recognizer: ${name}"
