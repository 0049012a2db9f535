// Completion of the `xenolith` command for bash, made of what its commands' --help prints.

interface Told { readonly name: string; /** What its --help prints. */ readonly usage: string }

/** Options: each `--word` that the help names. */
export const optionsOf = ({ usage }: Told): string[] => [...new Set([...usage.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)].map(([word]) => word))];

/** Verbs: what stands behind the command in lower case, or in the list where the help says <verb>. */
export function verbsOf({ name, usage }: Told): string[] {
  const pattern = usage.startsWith(`Usage: xenolith ${name} <verb>`) ? /^ {2}([a-z]+)(?: |$)/gm : new RegExp(`xenolith ${name} ([a-z]+)(?: |$)`, 'gm');
  return [...new Set([...usage.matchAll(pattern)].map(match => match[1]!))];
}

/** A script for bash: `source <(xenolith bash-completion)`. */
export function completionScript(commands: readonly Told[]): string {
  const cases = commands.map(told => `    ${told.name}) options="${optionsOf(told).join(' ')}" verbs="${verbsOf(told).join(' ')}" ;;`);
  return `_xenolith() {
  local current="\${COMP_WORDS[COMP_CWORD]}" options verbs
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')}" -- "$current")); return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  if [[ "$current" == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [ -n "$verbs" ] && [ "$COMP_CWORD" -eq 2 ]; then COMPREPLY=($(compgen -W "$verbs" -- "$current"))
  else
    case "\${COMP_WORDS[1]}" in
      gdb|backtrace|perf|trace|link) COMPREPLY=($(compgen -W "$(xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" -f -- "$current")) ;;
      *) COMPREPLY=($(compgen -f -- "$current")) ;;
    esac
  fi
}
complete -o filenames -F _xenolith xenolith
`;
}
