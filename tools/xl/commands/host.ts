// Commands about the host: info, dmesg, debug-keys.
import type { Command } from '../command.ts';
import { infoTable } from '../tables.ts';

export const info: Command = {
  name: 'info', summary: 'Get information about Xen host', usage: '',
  options: [{ short: 'n', long: 'numa', summary: 'List host NUMA topology information' }],
  run: async ({ client, options, out }) => { out(infoTable(await (await client()).host(), options['numa'] === true)); return 0; },
};

export const dmesg: Command = {
  name: 'dmesg', summary: 'Read and/or clear dmesg buffer', usage: '[-c]',
  options: [{ short: 'c', long: 'clear', summary: 'Clear dmesg buffer as well as printing it' }],
  run: async ({ client, options, out }) => {
    const text = await (await client()).dmesg(options['clear'] === true);
    out(text === '' || text.endsWith('\n') ? text : `${text}\n`);
    return 0;
  },
};

export const debugKeys: Command = {
  name: 'debug-keys', summary: 'Send debug keys to Xen', usage: '<Keys>', options: [], requires: 1,
  run: async ({ client, args }) => { await (await client()).debugKeys(args[0]!); return 0; },
};
