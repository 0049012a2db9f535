// `xenolith operation`: long work that the host does, or did.
import { runFolder } from '../../dom0/api/run-folder.ts';
import { OPERATION_STATES, type OperationView } from '../../dom0/management/operations.ts';
import { Client } from '../xl/client.ts';
import { ManageUsageError, numberOf, runVerb, verbUsage, type Verb } from './arguments.ts';
import { stamp, table } from './columns.ts';

/** The longest that the host lets one call wait, in seconds. */
const MAX_WAIT = 60, USUAL_LIMIT = 20;
const client = (): Client => new Client(runFolder().socket), say = (text: string): void => { process.stdout.write(text); };

const VERBS: readonly Verb[] = [
  { name: 'list', usage: '[--state STATE] [--target DOMAIN] [--limit N]', summary: 'the last ones, newest first', words: [0, 0], values: ['state', 'target', 'limit'], run: async given => {
    const state = OPERATION_STATES.find(s => s === given.value('state')), target = given.value('target');
    if (given.value('state') !== undefined && !state) throw new ManageUsageError(`a state is one of ${OPERATION_STATES.join(', ')}`);
    const found = await client().operations({ limit: numberOf(given.value('limit'), '--limit', USUAL_LIMIT), ...(state ? { state } : {}), ...(target === undefined ? {} : { target }) });
    say(table([['Begun', 'State', 'Kind', 'Domain', 'Who', 'ID'], ...found.map(o => [stamp(o.createdMs), o.state, o.kind, o.target, o.who, o.id])]));
    return 0;
  } },
  { name: 'show', usage: 'ID', summary: 'one as JSON', words: [1, 1], run: async ({ words: [id] }) => { say(`${JSON.stringify(await client().operation(id!), undefined, 2)}\n`); return 0; } },
  { name: 'wait', usage: 'ID [--seconds N]', summary: 'until it has ended: status 0 if it succeeded, else 1', words: [1, 1], values: ['seconds'], run: async given => {
    const end = Date.now() + numberOf(given.value('seconds'), '--seconds', 600) * 1000;
    for (;;) {
      const now = await client().operation(given.words[0]!, Math.min(MAX_WAIT, Math.max(0, (end - Date.now()) / 1000)));
      if (now.state !== 'running' || Date.now() >= end) return told(now);
    }
  } },
  { name: 'cancel', usage: 'ID', summary: 'end it, undoing what it made', words: [1, 1], run: async ({ words: [id] }) => { told(await client().cancelOperation(id!)); return 0; } },
];

export const OPERATION_USAGE = verbUsage('operation', VERBS, 'What a host left half-done when it was killed is "interrupted".');
export const runOperation = (argv: readonly string[]): Promise<number> => runVerb(argv, OPERATION_USAGE, VERBS);

function told({ state, problem }: OperationView): number {
  say(`${state}${problem ? `: ${problem.detail}` : ''}\n`);
  return state === 'succeeded' ? 0 : 1;
}
