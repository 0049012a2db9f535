// Commands that show domains: list, vm-list, vcpu-list, uptime, domid, domname, block-list, top.
import type { DomainView } from '../../../dom0/toolstack/action.ts';
import type { Client } from '../client.ts';
import { ApiError } from '../client.ts';
import { CommandError, type Command, type Context } from '../command.ts';
import { dom0Json, domainJson, libxlStringify } from '../config-json.ts';
import { blockTable, listTable, topTable, uptimeTable, vcpuTable, vmTable } from '../tables.ts';
import { invalidDomain } from './errors.ts';

async function selected(client: Client, names: readonly string[]): Promise<DomainView[]> {
  if (names.length === 0) return client.domains();
  return Promise.all(names.map(name => client.domain(name).catch(error => { throw invalidDomain(name, error); })));
}

export const list: Command = {
  name: 'list', summary: 'List information about all/some domains', usage: '[options] [Domain]\n- If no Domain is specified, list all of them',
  options: [
    { short: 'l', long: 'long', summary: 'Output all VM details' },
    { short: 'v', long: 'verbose', summary: 'Prints out UUIDs and security context' },
    { short: 'Z', long: 'context', summary: 'Prints out security context' },
    { short: 'c', long: 'cpupool', summary: 'Accepted for compatibility: there is one CPU pool' },
    { short: 'n', long: 'numa', summary: 'Accepted for compatibility: there is one NUMA node' },
  ],
  run: async ({ client, options, args, out }) => {
    const host = await client(), domains = await selected(host, args.slice(0, 1));
    if (!options['long']) { out(listTable(domains, options['verbose'] === true)); return 0; }
    const details = await Promise.all(domains.map(async d => d.domid === 0 ? dom0Json(d) : domainJson(d, await host.config(String(d.domid)))));
    out(`${libxlStringify(details)}\n\n`);
    return 0;
  },
};

export const vmList: Command = {
  name: 'vm-list', summary: 'List guest domains, excluding dom0, stubdoms, etc.', usage: '', options: [],
  run: async ({ client, out }) => { out(vmTable(await (await client()).domains())); return 0; },
};

export const vcpuList: Command = {
  name: 'vcpu-list', summary: 'List the VCPUs for all/some domains', usage: '[Domain, ...]', options: [],
  run: async ({ client, args, out }) => {
    const host = await client();
    out(vcpuTable(await selected(host, args), (await host.host()).cpus));
    return 0;
  },
};

export const uptime: Command = {
  name: 'uptime', summary: 'Print uptime for all/some domains', usage: '[-s] [Domain]',
  options: [{ short: 's', summary: 'Print in short form' }],
  run: async ({ client, options, args, out }) => { out(uptimeTable(await selected(await client(), args), options['s'] === true, new Date())); return 0; },
};

export const domid: Command = {
  name: 'domid', summary: 'Convert a domain name to domain id', usage: '<DomainName>', options: [], requires: 1,
  run: async ({ client, args, out }) => {
    const domain = (await (await client()).domains()).find(d => d.name === args[0]);
    if (!domain) throw new CommandError(`Can't get domid of domain name '${args[0]}', maybe this domain does not exist.\n`);
    out(`${domain.domid}\n`);
    return 0;
  },
};

export const domname: Command = {
  name: 'domname', summary: 'Convert a domain id to domain name', usage: '<DomainId>', options: [], requires: 1,
  run: async ({ client, args, out }) => {
    if (!/^\d+$/.test(args[0]!)) throw new CommandError(`Invalid domain id '${args[0]}'.\n\n`);
    const domain = (await (await client()).domains()).find(d => d.domid === Number(args[0]));
    if (!domain) throw new CommandError(`Can't get domain name of domain id '${args[0]}', maybe this domain does not exist.\n`);
    out(`${domain.name}\n`);
    return 0;
  },
};

export const blockList: Command = {
  name: 'block-list', summary: 'List virtual block devices for a domain', usage: '<Domain(s)>', options: [], requires: 1,
  run: async ({ client, args, out, err }) => {
    const host = await client();
    for (const [i, name] of args.entries()) {
      const domain = await host.domain(name).catch(error => { if (error instanceof ApiError) { err(`${name} is an invalid domain identifier\n`); return undefined; } throw error; });
      if (domain) out(i === 0 ? blockTable(domain) : blockTable(domain).replace(/^.*\n/, ''));
    }
    return 0;
  },
};

export const top: Command = {
  name: 'top', summary: 'Monitor a host and the domains in real time', usage: '[options]',
  options: [
    { short: 'b', summary: 'Batch mode: print samples, one after the other' },
    { short: 'i', argument: 'COUNT', summary: 'End after so many samples' },
    { short: 'd', argument: 'SECONDS', summary: 'Pause between samples (default 3)' },
  ],
  run: runTop,
};

const CLEAR = '\x1b[H\x1b[2J';
const CTRL_C = 3;

async function runTop({ client, options, out }: Context): Promise<number> {
  const host = await client();
  const batch = options['b'] === true || !process.stdout.isTTY;
  const count = options['i'] === undefined ? Infinity : Number(options['i']), delayMs = Number(options['d'] ?? 3) * 1000;
  if (!(count >= 1) || !(delayMs >= 0)) throw new CommandError('top: -i and -d take a positive number\n', 2);
  let before = new Map<number, number>(), beforeMs = Date.now(), quit = false, wake: () => void = () => {};
  const onKey = (key: Buffer): void => { if (key[0] === CTRL_C || key.includes('q')) { quit = true; wake(); } };
  if (!batch) { process.stdin.setRawMode(true); process.stdin.on('data', onKey); }
  try {
    for (let sample = 0; sample < count && !quit; sample++) {
      if (sample > 0) await new Promise<void>(resolve => { wake = resolve; setTimeout(resolve, delayMs); });
      if (quit) break;
      const domains = await host.domains(), info = await host.host(), nowMs = Date.now();
      const percent = new Map(domains.map(d => [d.domid, before.has(d.domid) ? 100_000 * (d.cpuTimeSec - before.get(d.domid)!) / Math.max(1, nowMs - beforeMs) : 0]));
      before = new Map(domains.map(d => [d.domid, d.cpuTimeSec]));
      beforeMs = nowMs;
      out((batch ? '' : CLEAR) + topTable(domains, info.totalMemKib, percent));
    }
  } finally { if (!batch) { process.stdin.setRawMode(false); process.stdin.off('data', onKey); process.stdin.pause(); } }
  return 0;
}
