# shellcheck shell=bash
# Completion of espnet-wsm in bash: commands, then the options of a command, then files.
# `espnet-wsm completion bash` prints this, and below it the options of each command.
declare -gA _espnet_wsm_options=()

_espnet_wsm() {
    local words='' word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words='--help --version'
        [[ ${word} == -* ]] || words="completion ${!_espnet_wsm_options[*]}"
        compopt +o default 2>/dev/null || true # no files in place of a command
    elif [[ ${command} == completion ]]; then
        words=bash
    elif [[ ${word} == -* ]]; then
        words=${_espnet_wsm_options[${command}]:-}
    fi
    mapfile -t COMPREPLY < <(compgen -W "${words}" -- "${word}")
}

complete -o default -F _espnet_wsm espnet-wsm
