// Commands that change a domain: destroy, shutdown, reboot, suspend, resume, pause, unpause, rename, sysrq, console.
import type { DomainView } from '../../../dom0/toolstack/action.ts';
import { ApiError, type Client, type DomainEndView } from '../client.ts';
import { CommandError, type Command, type Context } from '../command.ts';
import { attachConsole } from '../console.ts';
import { invalidDomain } from './errors.ts';

/** The domain of the first argument. @throws CommandError in xl's words */
async function find(client: Client, name: string): Promise<DomainView> {
  return client.domain(name).catch(error => { throw invalidDomain(name, error); });
}

export const destroy: Command = {
  name: 'destroy', summary: 'Terminate a domain immediately', usage: '[options] <Domain>', requires: 1,
  options: [{ short: 'f', summary: 'Permit destroying domain 0, which will only succeed when using disaggregated hardware domain and toolstack' }],
  run: async ({ client, args }) => {
    const host = await client(), domain = await find(host, args[0]!);
    if (domain.domid === 0) throw new CommandError('Not destroying domain 0; use -f to force.\nThis can only be done when using a disaggregated hardware domain and toolstack.\n\n');
    await host.destroy(String(domain.domid)).catch(error => { throw new CommandError(`destroy failed: ${(error as Error).message}\n`); });
    return 0;
  },
};

const shutdownOptions: Command['options'] = [
  { short: 'a', long: 'all', summary: 'All guest domains' },
  { short: 'w', long: 'wait', summary: 'Wait for guest(s) to shutdown' },
  { short: 'F', summary: 'Accepted for compatibility: PV guests have no ACPI' },
];

export const shutdown: Command = {
  name: 'shutdown', summary: 'Issue a shutdown signal to a domain', usage: '[options] <-a|Domain>', options: shutdownOptions,
  run: context => control(context, 'shutdown', 'Shutting down domain'),
};
export const reboot: Command = {
  name: 'reboot', summary: 'Issue a reboot signal to a domain', usage: '[options] <-a|Domain>', options: shutdownOptions,
  run: context => control(context, 'reboot', 'Rebooting domain'),
};

async function control({ client, options, args, err }: Context, action: 'shutdown' | 'reboot', words: string): Promise<number> {
  if (!options['all'] && args[0] === undefined) throw new CommandError('You must specify -a or a domain id.\n\n');
  if (options['all'] && args[0] !== undefined) throw new CommandError('You can\'t specify both -a and a domain id.\n\n');
  const host = await client();
  const domains = options['all'] ? (await host.domains()).filter(d => d.domid !== 0) : [await find(host, args[0]!)];
  const ends: Promise<{ domid: number; end: DomainEndView | undefined }>[] = [];
  for (const { domid } of domains) {
    err(`${words} ${domid}\n`);
    if (options['wait']) ends.push(host.waitEnd(String(domid)).then(end => ({ domid, end }), () => ({ domid, end: undefined })));
  }
  let failed = false;
  await Promise.all(domains.map(async ({ domid }) => host.act(String(domid), action).catch(error => {
    if (!(error instanceof ApiError)) throw error;
    err(`${error.message}\n${action} failed (rc=-9)\n`);
    failed = true;
  })));
  if (failed) return 1;
  if (!options['wait']) return 0;
  err(`Waiting for ${domains.length} domains\n`);
  await Promise.all(ends.map(async waiting => {
    const { domid, end } = await waiting;
    err(end?.kind === 'shutdown' ? `Domain ${domid} has been shut down, reason code ${end.reason}\n` : `Domain ${domid} has been destroyed\n`);
  }));
  return 0;
}

const rest = (name: 'suspend' | 'resume', summary: string): Command => ({
  name, summary, usage: '<Domain>', options: [], requires: 1,
  run: async ({ client, args }) => {
    const host = await client(), domain = await find(host, args[0]!);
    await host.act(String(domain.domid), name).catch(error => { throw new CommandError(`${name} failed: ${(error as Error).message}\n`); });
    return 0;
  },
});
export const suspend = rest('suspend', 'Suspend a domain to RAM');
export const resume = rest('resume', 'Resume a domain from RAM');

const simple = (name: 'pause' | 'unpause', summary: string, all: string): Command => ({
  name, summary, usage: '<Domain>|-a', options: [{ short: 'a', long: 'all', summary: all }],
  run: async ({ client, options, args }) => {
    const host = await client();
    if (!options['all'] && args[0] === undefined) throw new CommandError(`'xl ${name}' requires at least 1 argument.\n\n`, 2);
    const domains = options['all'] ? (await host.domains()).filter(d => d.domid !== 0) : [await find(host, args[0]!)];
    for (const { domid } of domains) await host.act(String(domid), name).catch(error => { throw new CommandError(`${name} failed: ${(error as Error).message}\n`); });
    return 0;
  },
});
export const pause = simple('pause', 'Pause execution of a domain', 'Pause all guest domains');
export const unpause = simple('unpause', 'Unpause a paused domain', 'Unpause all guest domains');

export const rename: Command = {
  name: 'rename', summary: 'Rename a domain', usage: '<Domain> <NewDomainName>', options: [], requires: 2,
  run: async ({ client, args }) => {
    const host = await client(), domain = await find(host, args[0]!);
    await host.act(String(domain.domid), 'rename', { name: args[1]! }).catch(error => { throw new CommandError(`${(error as Error).message}\nCan't rename domain '${args[0]}'.\n`); });
    return 0;
  },
};

export const sysrq: Command = {
  name: 'sysrq', summary: 'Send a sysrq to a domain', usage: '<Domain> <letter>', options: [], requires: 2,
  run: async ({ client, args }) => {
    const host = await client(), domain = await find(host, args[0]!);
    if (args[1]!.length !== 1) throw new CommandError(`Invalid sysrq.\n\n`);
    await host.act(String(domain.domid), 'sysrq', { key: args[1]! });
    return 0;
  },
};

export const consoleCommand: Command = {
  name: 'console', summary: "Attach to domain's console", usage: '[options] <Domain>\n-t <type>       console type, pv or serial\n-n <number>     console number', requires: 1,
  options: [{ short: 't', argument: 'TYPE', summary: 'Console type; only pv exists' }, { short: 'n', argument: 'NUMBER', summary: 'Console number; only 0 exists' }],
  run: async ({ client, options, args }) => {
    if ((options['t'] ?? 'pv') !== 'pv' || (options['n'] ?? '0') !== '0') throw new CommandError('console type supported is: pv, number 0\n', 2);
    const host = await client(), domain = await find(host, args[0]!);
    if (domain.domid === 0) throw new CommandError('Unable to attach console: Domain-0 has none\n');
    await attachConsole(host, String(domain.domid)).catch(error => { throw new CommandError(`Unable to attach console: ${(error as Error).message}\n`); });
    return 0;
  },
};
