// Help and bash completion, derived from the command table.
import type { Command, Option } from './command.ts';

const NAME_COLUMN = 19;
const OPTION_COLUMN = 30;
const GLOBAL_USAGE = 'Usage xl [-vfNtT] <subcommand> [args]';

export function helpList(commands: readonly Command[]): string {
  const row = ({ name, summary }: Command): string => name.length > NAME_COLUMN
    ? ` ${name} \n${' '.repeat(NAME_COLUMN + 2)}${summary}` : ` ${name.padEnd(NAME_COLUMN)} ${summary}`;
  return `${GLOBAL_USAGE}\n\nxl full list of subcommands:\n\n${commands.map(row).join('\n')}\n`;
}

const optionWords = ({ short, long, argument }: Option): string =>
  [short && `-${short}`, long && `--${long}`].filter(Boolean).join(', ') + (argument ? (long ? `=${argument}` : ` ${argument}`) : '');

export function helpCommand(command: Command): string {
  const lines = [`Usage: xl [-vf] ${command.name} ${command.usage}`.trimEnd(), '', `${command.summary}.`, ''];
  if (command.options.length > 0) {
    lines.push('Options:', '');
    for (const option of command.options) lines.push(`${optionWords(option).padEnd(OPTION_COLUMN)} ${option.summary}.`);
    lines.push('');
  }
  return `${lines.join('\n')}\n`;
}

/** A script for bash: `source <(xl bash-completion)`. */
export function bashCompletion(commands: readonly Command[]): string {
  const options = commands.map(c => `    ${c.name}) words="${c.options.flatMap(o => [o.short && `-${o.short}`, o.long && `--${o.long}`].filter(Boolean)).join(' ')}" ;;`);
  return `_xl() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(c => c.name).join(' ')}" -- "$current")); return
  fi
  case "\${COMP_WORDS[1]}" in
${options.join('\n')}
  esac
  if [[ "$current" == -* ]]; then COMPREPLY=($(compgen -W "$words" -- "$current"))
  elif [ "\${COMP_WORDS[1]}" = create ]; then COMPREPLY=($(compgen -f -- "$current"))
  else COMPREPLY=($(compgen -W "$(xl list 2>/dev/null | awk 'NR > 1 { print $1 }')" -- "$current")); fi
}
complete -o filenames -F _xl xl
`;
}
