// A domain that breaks every rule it can (domu-pv/apps/hostile.ts), beside one that does not, on a whole hypervisor:
// afterwards the neighbour's disk is as it should be, nothing of the hostile domain's is left, and Dom0 serves others.
// HOSTILE_OPS makes it longer: 10000000 is the long run.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeRunFolder, runFolder } from '../../dom0/api/run-folder.ts';
import type { Dom0Options } from '../../dom0/options.ts';
import type { DomainConfig } from '../../dom0/toolstack/config/schema.ts';
import { parseDomainConfig } from '../../dom0/toolstack/config/domain-config.ts';
import { appModule } from '../../domu-pv/apps/app-module.ts';
import { type RunningHypervisor, startHypervisor } from '../../hypervisor/boot/main.ts';
import { D, DOMAIN_STATE, E, M, MAPTRACK_ENTRIES, MAX_PORTS, MAX_SLOTS, type HypervisorState } from '../../hypervisor/domain/state.ts';
import { Client } from '../../tools/xl/client.ts';
import { FUZZ_SEED } from './random.ts';

const OPS = Number(process.env['HOSTILE_OPS'] ?? 10_000), MIB = 1 << 20, LONG_RUN = 1_000_000;

/** What Dom0 holds for domains: grant mappings, and ports that are bound. */
function held(state: HypervisorState): { mappings: number; ports: number; domains: number } {
  const count = (n: number, is: (i: number) => boolean): number => Array.from({ length: n }, (_, i) => i).filter(is).length;
  return {
    mappings: count(MAPTRACK_ENTRIES, i => state.words[state.maptrack(i) + M.flags] !== 0), ports: count(MAX_PORTS, p => state.words[state.port(0, p) + E.state] !== 0),
    domains: count(MAX_SLOTS, s => state.dget(s, D.state) !== DOMAIN_STATE.free),
  };
}

test(`${OPS} hostile operations leave no trace outside their domain`, { timeout: 120_000 + OPS }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'hostile-')), folder = runFolder({ XENOLITH_RUNDIR: join(dir, 'run') });
  let hypervisor: RunningHypervisor | undefined, dom0Ended = false;
  try {
    await makeRunFolder(folder);
    await new Promise<void>((resolve, reject) => {
      startHypervisor({
        dom0Module: new URL('../../dom0/index.ts', import.meta.url), dom0Data: { runDir: folder.dir, stateDir: join(folder.dir, 'state'), hostLife: 'test', roots: [], hostPid: process.pid, bridges: [{ name: 'xenbr0', uplink: 'user' }] } satisfies Dom0Options, programModule: new URL('../../domu-pv/index.ts', import.meta.url),
        onDom0Message: m => { if ((m as { kind: string }).kind === 'ready') resolve(); }, onDom0Exit: () => { dom0Ended = true; reject(new Error('Dom0 ended')); },
      }).then(h => { hypervisor = h; }, reject);
    });
    const client = new Client(folder.socket), state = hypervisor!.state;
    for (const app of ['shell', 'hostile']) {
      writeFileSync(join(dir, app), appModule(app));
      writeFileSync(join(dir, `${app}.img`), '');
      truncateSync(join(dir, `${app}.img`), 16 * MIB);
    }
    const config = (name: string, extra: string): DomainConfig => parseDomainConfig(
      `name="${name}"\nkernel="${join(dir, name)}"\nmemory=16\nextra="${extra}"\ndisk=["${join(dir, `${name}.img`)},raw,xvda,rw,discard"]\nvif=[""]`, name, { pcpus: 2 }).config;
    const before = held(state);

    const shell = await client.create(config('shell', ''), false), stream = await client.console(String(shell.domid));
    let said = '';
    stream.on('data', data => { said += String(data); });
    const answered = async (command: string, answer: RegExp): Promise<void> => {
      said = '';
      stream.write(`${command}\r`);
      await expect.poll(() => said, { timeout: 30_000 }).toMatch(answer);
    };
    await expect.poll(() => said, { timeout: 30_000 }).toContain('# ');
    await answered('mkfs; echo before > kept; sync; cat kept', /(\n|# )before\r/);
    // The interface connects with its first use.
    await answered('ping 10.0.2.2 1', /bytes from 10\.0\.2\.2/);
    const calm = held(state);

    const hostile = await client.create(config('hostile', `${FUZZ_SEED} ${OPS}`), false);
    const end = client.waitEnd(String(hostile.domid));
    let ended = false;
    end.catch(() => {}).finally(() => { ended = true; });
    const begin = Date.now(), told = async (): Promise<string> => (await client.dmesg(false)).split('\n').filter(line => line.includes('hostile: ')).at(-1) ?? '';
    for (let round = 0; !ended; round++) {
      await answered(`echo round ${round} > now; cat now`, new RegExp(`(\n|# )round ${round}\r`));
      if (OPS >= LONG_RUN && round % 1000 === 0) process.stderr.write(`${((Date.now() - begin) / 1000).toFixed(0)} s, round ${round}: ${await told()}\n`);
    }
    process.stderr.write(`${((Date.now() - begin) / 1000).toFixed(0)} s: ${await told()}\n`);
    expect(await end).toMatchObject({ kind: 'shutdown', reason: 0 });
    await expect.poll(async () => (await client.domains()).map(d => d.name), { timeout: 20_000 }).not.toContain('hostile');
    await expect.poll(() => held(state), { timeout: 20_000 }).toEqual(calm);

    await answered('disk-test 2; cat kept', /all as written[^]*before/);
    await answered('ping 10.0.2.2 1', /bytes from 10\.0\.2\.2/);
    await client.destroy('shell');
    await expect.poll(() => held(state), { timeout: 20_000 }).toEqual(before);
    expect(dom0Ended).toBe(false);
  } finally {
    await hypervisor?.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
