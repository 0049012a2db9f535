// `xenolith link`: the state of a virtual interface's link.
import { runFolder } from '../../dom0/api/run-folder.ts';
import { Client } from '../xl/client.ts';

export const LINK_USAGE = `Usage: xenolith link DOMAIN[.DEVID] [up|down]

Takes the cable out of an interface that stays plugged in, or puts it back; without a word says how it is. The guest is
told by the backend's node "carrier" in xenstore, which Linux does not look at: frames are dropped meanwhile.
`;

export class LinkUsageError extends Error {}

/** @returns the exit code @throws LinkUsageError */
export async function runLink(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) { process.stdout.write(LINK_USAGE); return 0; }
  const [which, word, ...rest] = argv, match = /^(.+?)(?:\.(\d+))?$/.exec(which ?? '');
  if (!match || rest.length > 0 || (word !== undefined && word !== 'up' && word !== 'down')) throw new LinkUsageError('an interface, and "up" or "down" or nothing');
  const client = new Client(runFolder().socket), [, domain, devid = '0'] = match;
  if (word) await client.setCarrier(domain!, devid, word === 'up');
  const vif = (await client.domain(domain!)).vifs.find(v => v.devid === Number(devid));
  process.stdout.write(vif ? `${vif.carrier ? 'up' : 'down'}\n` : 'there is no such interface\n');
  return vif ? 0 : 1;
}
