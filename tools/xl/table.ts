// xl's commands: one table. Dispatch, help and completion all derive from it.
import type { Command } from './command.ts';
import { blockAttach, blockDetach } from './commands/block.ts';
import { create } from './commands/create.ts';
import { debugKeys, dmesg, info } from './commands/host.ts';
import { consoleCommand, destroy, pause, reboot, rename, resume, shutdown, suspend, sysrq, unpause } from './commands/lifecycle.ts';
import { blockList, domid, domname, list, top, uptime, vcpuList, vmList } from './commands/list.ts';
import { networkAttach, networkDetach, networkList } from './commands/network.ts';
import { memSet, schedCredit2, trigger } from './commands/tuning.ts';
import { bashCompletion, helpCommand, helpList } from './help.ts';

const help: Command = {
  name: 'help', summary: 'Print help for all or one command', usage: '[command]', options: [],
  run: async ({ args, out, err }) => {
    const command = COMMANDS.find(c => c.name === args[0]);
    if (args[0] !== undefined && !command) { err(`command "${args[0]}" not implemented\n`); return 1; }
    out(command ? helpCommand(command) : helpList(COMMANDS));
    return 0;
  },
};

const completion: Command = {
  name: 'bash-completion', summary: 'Print a bash completion script: source <(xl bash-completion)', usage: '', options: [],
  run: async ({ out }) => { out(bashCompletion(COMMANDS)); return 0; },
};

export const COMMANDS: readonly Command[] = [
  create, list, destroy, shutdown, reboot, suspend, resume, pause, unpause, consoleCommand, vcpuList, vmList, info, domid, domname, rename,
  sysrq, debugKeys, dmesg, top, networkAttach, networkList, networkDetach, blockAttach, blockList, blockDetach, memSet, trigger, schedCredit2, uptime, help, completion,
];
