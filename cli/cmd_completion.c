/* qvmctl completion: the scripts for the shells, and what they ask for at each key. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/complete.h"

static bool candidates;

static const struct option_row options[] = {
    {"candidates", 0, OPTION_FLAG, {.flag = &candidates}, NULL, "what may be the last WORD"},
    {0},
};

/* `=` and `:` are words of their own in bash: complete_line() knows that of the first, and what
 * belongs together around the second is put together here, and cut off what is offered; names of
 * files are left to readline where nothing else may stand, as it knows how to quote them. */
static const char bash_script[] =
    "# bash completion for qvmctl(1), from `qvmctl completion bash`: qvmctl knows what may stand.\n"
    "_qvmctl() {\n"
    "    local -a words=()\n"
    "    local cur line word start='' files='' i\n"
    "    for ((i = 1; i <= COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if [[ ${#words[@]} -gt 0 && ($word == :* || ${words[-1]} == *:) ]]; then\n"
    "            words[-1]+=$word\n"
    "        else\n"
    "            words+=(\"$word\")\n"
    "        fi\n"
    "    done\n"
    "    cur=${words[-1]}\n"
    "    if [[ $COMP_WORDBREAKS == *:* && $cur == [!\\'\\\"]*:* ]]; then\n"
    "        start=${cur%:*}:\n"
    "    fi\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r line; do\n"
    "        word=${line%%$'\\t'*}\n"
    "        if [[ $line == $'\\tfiles' ]]; then\n"
    "            files=1\n"
    "        elif [[ $cur == = || $word == \"${cur#[\\\"\\']}\"* ]]; then\n"
    "            COMPREPLY+=(\"${word#\"$start\"}\")\n"
    "        fi\n"
    "    done < <(command qvmctl completion --candidates -- \\\n"
    "        \"${words[@]}\" 2>/dev/null)\n"
    "    [[ -n $files ]] || return 0\n"
    "    compopt -o filenames -o default 2>/dev/null\n"
    "    [[ ${#COMPREPLY[@]} -eq 0 ]] ||\n"
    "        mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -f -- \"$cur\")\n"
    "}\n"
    "complete -F _qvmctl qvmctl\n";

static const char zsh_script[] =
    "#compdef qvmctl\n"
    "# zsh completion for qvmctl(1), from `qvmctl completion zsh`: qvmctl knows what may stand.\n"
    "compdef _qvmctl qvmctl\n"
    "_qvmctl() {\n"
    "    local line word files= ret=1\n"
    "    local -a found\n"
    "    while IFS= read -r line; do\n"
    "        if [[ $line == $'\\tfiles' ]]; then\n"
    "            files=1\n"
    "            continue\n"
    "        fi\n"
    "        word=${${line%%$'\\t'*}//:/\\\\:}\n"
    "        [[ $line == *$'\\t'* ]] && word+=:${line#*$'\\t'}\n"
    "        found+=(\"$word\")\n"
    "    done < <(command qvmctl completion --candidates -- \\\n"
    "        \"${(@Q)words[2,CURRENT-1]}\" \"${(Q)PREFIX}\" 2>/dev/null)\n"
    "    (( $#found )) && _describe -t qvmctl qvmctl found && ret=0\n"
    "    [[ -n $files ]] && _files && ret=0\n"
    "    return ret\n"
    "}\n"
    "[[ $funcstack[1] != _qvmctl ]] || _qvmctl \"$@\"\n";

static const char fish_script[] =
    "# fish completion for qvmctl(1), from `qvmctl completion fish`: qvmctl knows what may stand.\n"
    "function __qvmctl_candidates\n"
    "    set -l words (commandline -opc)\n"
    "    set -e words[1]\n"
    "    set -l current (commandline -ct)\n"
    "    for line in (command qvmctl completion --candidates -- $words \"$current\" 2>/dev/null)\n"
    "        if test \"$line\" = \\tfiles\n"
    "            __fish_complete_path \"$current\"\n"
    "        else\n"
    "            printf '%s\\n' $line\n"
    "        end\n"
    "    end\n"
    "end\n"
    "complete -c qvmctl -f -a '(__qvmctl_candidates)'\n";

static int run(const struct cli *cli, int argc, char **argv)
{
    static const char *const scripts[COMPLETE_SHELL_COUNT] = {bash_script, zsh_script, fish_script};

    (void)cli;
    if (candidates) {
        complete_line(argv, argc);
        return STATUS_OK;
    }
    for (size_t i = 0; argc == 1 && i < COMPLETE_SHELL_COUNT; i++) {
        if (strcmp(argv[0], complete_shells[i]) == 0) {
            (void)fputs(scripts[i], stdout); /* main() looks at stdout's errors */
            return STATUS_OK;
        }
    }
    return cli_usage("completion is made for bash, zsh and fish: qvmctl completion SHELL");
}

const struct command command_completion = {
    .name = "completion",
    .synopsis = "SHELL | --candidates -- [WORD ...]",
    .help = "a script for the shell that completes command lines of qvmctl",
    .options = options,
    .most = -1,
    .formats = FORMATS_TABLE,
    .run = run,
};
