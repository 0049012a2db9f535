// Commands that change how a domain runs: mem-set, trigger, sched-credit2.
import { TRIGGERS, type Trigger } from '../../../dom0/toolstack/tuning.ts';
import { ApiError } from '../client.ts';
import { CommandError, type Command } from '../command.ts';
import { schedulerTable } from '../tables.ts';
import { failed, invalidDomain } from './errors.ts';

/** Of xl's memory sizes; MiB where none is given. */
const UNITS_KIB: Readonly<Record<string, number>> = { b: 1 / 1024, k: 1, '': 1024, m: 1024, g: 1024 ** 2, t: 1024 ** 3 };

export const memSet: Command = {
  name: 'mem-set', summary: 'Set the current memory usage for a domain', usage: "<Domain> <MemMB['b'[bytes]|'k'[KB]|'m'[MB]|'g'[GB]|'t'[TB]]>", options: [], requires: 2,
  run: async ({ client, args: [name, size] }) => {
    const match = /^(\d+)([bkmgt]?)b?$/i.exec(size!), kib = match ? Math.floor(Number(match[1]) * UNITS_KIB[match[2]!.toLowerCase()]!) : 0;
    if (!(kib > 0)) throw new CommandError(`invalid memory size: ${size}\n`, 3);
    try { await (await client()).setMemory(name!, kib); } catch (error) { throw failed(name!, error, `cannot set domid ${name} dynamic max memory to : ${size}`); }
    return 0;
  },
};

export const trigger: Command = {
  name: 'trigger', summary: 'Send a trigger to a domain', usage: '<Domain> <nmi|reset|init|power|sleep|s3resume> [<VCPU>]', options: [], requires: 2,
  run: async ({ client, args: [name, what, vcpu = '0'] }) => {
    if (!TRIGGERS.includes(what as Trigger)) throw new CommandError(`Invalid trigger "${what}"\n`);
    if (!/^\d{1,3}$/.test(vcpu)) throw new CommandError(`Invalid VCPU "${vcpu}"\n`);
    try { await (await client()).trigger(name!, what as Trigger, Number(vcpu)); } catch (error) { throw failed(name!, error, `Send trigger '${what}' failed`); }
    return 0;
  },
};

export const schedCredit2: Command = {
  name: 'sched-credit2', summary: 'Get/set credit2 scheduler parameters', usage: '[-d <Domain> [-w[=WEIGHT]|-c[=CAP]]] [-s]',
  options: [
    { short: 'd', long: 'domain', argument: 'DOMAIN', summary: 'Domain to modify' }, { short: 'w', long: 'weight', argument: 'WEIGHT', summary: 'Weight (int)' },
    { short: 'c', long: 'cap', argument: 'CAP', summary: 'Cap (int)' }, { short: 's', long: 'schedparam', summary: 'Query scheduler parameters' },
  ],
  run: async ({ client, options, out }) => {
    const { domain, weight, cap } = options as Record<string, string | undefined>, host = await client();
    if (domain === undefined) {
      if (weight !== undefined || cap !== undefined) throw new CommandError('Must specify a domain.\n');
      out(schedulerTable(await host.scheduler(), options['schedparam'] === true));
      return 0;
    }
    if (weight !== undefined || cap !== undefined) {
      const numbers = [weight, cap].map(text => text === undefined ? undefined : Number(text));
      if (numbers.some(n => n !== undefined && !Number.isInteger(n))) throw new CommandError('sched-credit2: weight and cap are whole numbers\n', 2);
      try { await host.setScheduler(domain, { ...(weight === undefined ? {} : { weight: numbers[0]! }), ...(cap === undefined ? {} : { cap: numbers[1]! }) }); } catch (error) { throw failed(domain, error, 'libxl_domain_sched_params_set failed.'); }
      return 0;
    }
    const { domid } = await host.domain(domain).catch((error: unknown) => { throw error instanceof ApiError ? invalidDomain(domain, error) : error; }), all = await host.scheduler();
    out(schedulerTable({ ...all, domains: all.domains.filter(d => d.domid === domid) }, false, false));
    return 0;
  },
};
