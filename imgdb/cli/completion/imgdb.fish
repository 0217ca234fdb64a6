# fish completion for imgdb.

function __imgdb_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~' $HOME -- $words[1])
    set -l lines (env _IMGDB_COMPLETE=fish $program $words[2..-1] "$current" 2>/dev/null)
    test (count $lines) -gt 1; and printf '%s\n' $lines[2..-1]
    if test "$lines[1]" = files
        set -l option (string match -r -- '^-[^=]*=' $current)
        __fish_complete_path (string replace -- "$option" '' $current) | string replace -r '^' -- "$option"
    end
end

complete --command imgdb --no-files --arguments '(__imgdb_complete)'
