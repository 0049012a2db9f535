// XS_CONTROL: questions and orders of an administrator (`xenstore-control`).
import type { Daemon } from './daemon.ts';
import { refuse } from './errors.ts';
import type { QuotaName } from './quota.ts';

interface Command { readonly usage: string; run(daemon: Daemon, args: readonly string[]): string }

/** Names as real xenstored prints them. */
const QUOTA_NAMES: Readonly<Record<string, QuotaName>> = {
  nodes: 'nodes', watches: 'watches', transactions: 'transactions', 'transaction-nodes': 'transactionNodes', outstanding: 'outstanding',
  size: 'nodeBytes', permissions: 'permissions',
};

const commands: Readonly<Record<string, Command>> = {
  check: { usage: 'check', run: daemon => { daemon.log(`xenstore: ${daemon.check()} nodes, all well`); return 'OK'; } },
  help: { usage: 'help', run: () => Object.values(commands).map(c => c.usage).join('\n') + '\n' },
  log: { usage: 'log|[on|off]', run: log },
  print: { usage: 'print|<string>', run: (daemon, [text]) => { daemon.log(`control: ${text ?? refuse('EINVAL')}`); return 'OK'; } },
  quota: { usage: 'quota|[set <name> <val>|<domid>]', run: quota },
};

/** @param words NUL-terminated strings of the request @returns the reply's payload */
export function control(daemon: Daemon, words: readonly string[]): string {
  const [name, ...args] = words;
  if (name === undefined) refuse('EINVAL');
  const command = Object.hasOwn(commands, name) ? commands[name]! : refuse('EINVAL');
  return `${command.run(daemon, args)}\0`;
}

function log(daemon: Daemon, [order]: readonly string[]): string {
  if (order !== 'on' && order !== 'off') refuse('EINVAL');
  daemon.tracing = order === 'on';
  return 'OK';
}

function quota(daemon: Daemon, args: readonly string[]): string {
  const [first, name, value] = args;
  const line = (label: string, n: number): string => `${label.padEnd(17)}: ${String(n).padStart(8)}\n`;
  if (first === undefined) return Object.entries(QUOTA_NAMES).map(([label, key]) => line(label, daemon.quota[key])).join('');
  if (first === 'set') {
    if (name === undefined || value === undefined || !/^\d{1,9}$/.test(value) || !Object.hasOwn(QUOTA_NAMES, name)) refuse('EINVAL');
    daemon.quota[QUOTA_NAMES[name]!] = Number(value);
    return 'OK';
  }
  if (!/^\d{1,5}$/.test(first)) refuse('EINVAL');
  const domid = Number(first), connection = daemon.domains.connection(domid);
  if (!connection) refuse('ENOENT');
  return `Domain ${domid}:\n${line('nodes', daemon.tree.owned(domid))}${line('watches', daemon.watches.count(connection))}`
    + `${line('transactions', connection.transactions.size)}${line('outstanding', connection.outstanding)}`;
}
