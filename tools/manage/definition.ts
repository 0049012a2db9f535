// `xenolith definition`: domains that the host keeps, whether they run or not.
import { runFolder } from '../../dom0/api/run-folder.ts';
import { restartPolicy, type Definition, type RestartPolicy } from '../../dom0/management/definitions.ts';
import { Client } from '../xl/client.ts';
import { absolute, readConfig } from '../xl/commands/create.ts';
import { ManageUsageError, runVerb, verbUsage, type Given, type Verb } from './arguments.ts';
import { stamp, table } from './columns.ts';

const SETTINGS = '[--autostart | --no-autostart] [--restart always|on-failure|never]';
const client = (): Client => new Client(runFolder().socket), say = (text: string): number => { process.stdout.write(text); return 0; };

const VERBS: readonly Verb[] = [
  { name: 'list', usage: '', summary: 'all, with what they are at', words: [0, 0], run: async () => {
    const definitions = await client().definitions(), states = await Promise.all(definitions.map(({ uuid }) => client().definitionStatus(uuid)));
    return say(table([['Name', 'State', 'ID', 'Autostart', 'Restart', 'UUID'], ...definitions.map(({ name, uuid, autostart, restart }, i) => [name, states[i]!.state, String(states[i]!.domid ?? '-'), autostart ? 'yes' : 'no', restart.policy, uuid])]));
  } },
  { name: 'show', usage: 'NAME', summary: 'one as JSON', words: [1, 1], run: async ({ words: [name] }) => say(`${JSON.stringify(await client().definition(name!), undefined, 2)}\n`) },
  { name: 'status', usage: 'NAME', summary: 'whether it runs, how it ended, when it starts next', words: [1, 1], run: async ({ words: [name] }) => {
    const { state, wanted, domid, restarts, nextStartMs, lastEnd, lastError } = await client().definitionStatus(name!);
    return say(table([
      ['state', state], ['wanted', wanted], ...(domid === undefined ? [] : [['domain', String(domid)]]), ['restarts', String(restarts)], ...(nextStartMs === undefined ? [] : [['next start', stamp(nextStartMs)]]),
      ...(lastEnd ? [['last end', `${stamp(lastEnd.atMs)}${lastEnd.reason === undefined ? '' : `, reason ${lastEnd.reason}`}`]] : []), ...(lastError === undefined ? [] : [['last error', lastError]]),
    ]));
  } },
  { name: 'define', usage: `FILE [key=value ...] ${SETTINGS}`, summary: 'keep what an xl.cfg file says', words: [1, 1000], values: ['restart'], flags: ['autostart', 'no-autostart'], run: async given => {
    const [file, ...overrides] = given.words, config = absolute(await readConfig(file!, overrides, true, text => { process.stderr.write(text); })), { autostart = false, restart } = settings(given);
    return named(await client().define({ config, autostart, restart: restartPolicy.parse(restart ?? {}) }));
  } },
  { name: 'set', usage: `NAME [--name NEW] ${SETTINGS}`, summary: 'change what it is called, when it starts', words: [1, 1], values: ['restart', 'name'], flags: ['autostart', 'no-autostart'], run: async given => {
    const name = given.value('name'), change = { ...settings(given), ...(name === undefined ? {} : { name }) };
    if (Object.keys(change).length === 0) throw new ManageUsageError('set takes an option at least');
    return named(await client().changeDefinition(given.words[0]!, change));
  } },
  { name: 'start', usage: 'NAME [--paused]', summary: 'start its domain', words: [1, 1], flags: ['paused'], run: async given => say(`${(await client().startDefinition(given.words[0]!, given.flag('paused'))).domid}\n`) },
  { name: 'undefine', usage: 'NAME', summary: 'forget it; a domain that runs goes on', words: [1, 1], run: async ({ words: [name] }) => { await client().undefine(name!); return 0; } },
];

export const DEFINITION_USAGE = verbUsage('definition', VERBS, 'A name may be a UUID too. "start" prints the number of the domain; xl shutdown, destroy and the rest work on it by name.');
export const runDefinition = (argv: readonly string[]): Promise<number> => runVerb(argv, DEFINITION_USAGE, VERBS);

const named = ({ name, uuid }: Definition): number => say(`${name} ${uuid}\n`);

/** @throws ManageUsageError */
function settings(given: Given): { autostart?: boolean; restart?: Pick<RestartPolicy, 'policy'> } {
  if (given.flag('autostart') && given.flag('no-autostart')) throw new ManageUsageError('either --autostart or --no-autostart');
  const policy = restartPolicy.shape.policy.safeParse(given.value('restart'));
  if (!policy.success) throw new ManageUsageError(`--restart takes always, on-failure or never, not "${given.value('restart')}"`);
  return { ...(given.flag('autostart') || given.flag('no-autostart') ? { autostart: given.flag('autostart') } : {}), ...(given.value('restart') === undefined ? {} : { restart: { policy: policy.data } }) };
}
