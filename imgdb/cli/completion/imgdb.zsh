#compdef imgdb
# zsh completion for imgdb: to be sourced, or found by compinit as _imgdb in a folder of $fpath.

_imgdb() {
    local line word tab=$'\t'
    local -a lines words_found
    lines=("${(@f)$(_IMGDB_COMPLETE=zsh "${${(Q)words[1]}/#\~/$HOME}" \
        "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2> /dev/null)}")
    for line in "${(@)lines[2,-1]}"; do
        word=${${line%%$tab*}//\\/\\\\}
        words_found+=("${word//:/\\:}:${line#*$tab}")
    done
    (( $#words_found )) && _describe -V imgdb words_found
    if [[ $lines[1] == files ]]; then
        [[ $PREFIX == -*=* ]] && compset -P 1 '*='
        _files
    fi
}

if [[ $funcstack[1] == _imgdb ]]; then
    _imgdb "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _imgdb imgdb
fi
