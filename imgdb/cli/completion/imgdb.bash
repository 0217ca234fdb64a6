# bash completion for imgdb, also for the bash 3.2 of macOS.

_imgdb() {
    local line kind=""
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ -z $kind ]]; then
            kind=$line
        else
            COMPREPLY+=("$line")
        fi
    done <<< "$(_IMGDB_COMPLETE=bash "${1/#\~/$HOME}" \
        "${COMP_LINE:0:COMP_POINT}" "${COMP_WORDS[COMP_CWORD]}" 2> /dev/null)"
    # Where a name is asked for, the files of this folder are no answer.
    [[ $kind == files ]] || compopt +o default +o bashdefault 2> /dev/null
}

complete -o default -o bashdefault -F _imgdb imgdb
