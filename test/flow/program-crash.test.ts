// Dom0's thread ends under programs that use their disk and their network, again and again: they notice a pause.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseDomainConfig } from '../../dom0/toolstack/config/domain-config.ts';
import { appModule } from '../../domu-pv/apps/app-module.ts';
import { Client } from '../../tools/xl/client.ts';

const root = join(import.meta.dirname, '../..'), dir = mkdtempSync(join(tmpdir(), 'program-crash-')), CRASHES = 3, MIB = 1 << 20;
/** Rounds of the disk's test: what was shown before a crash is not shown again, so the work has to outlast it. */
const ROUNDS = 12;
const client = new Client(join(dir, 'run/api.sock')), web = createServer((_, response) => { response.end('from outside\n'); });
let host: ChildProcess;

beforeAll(async () => {
  await new Promise<void>(resolve => { web.listen(0, '127.0.0.1', resolve); });
  host = spawn(process.execPath, [join(root, 'tools/host/index.ts'), 'host'], { env: { ...process.env, XENOLITH_RUNDIR: join(dir, 'run') }, stdio: ['ignore', 'ignore', 'pipe'] });
  await new Promise<void>(resolve => { host.stderr!.on('data', data => { if (String(data).includes('host ready')) resolve(); }); });
}, 60_000);
afterAll(async () => {
  if (host?.exitCode === null) { host.kill('SIGKILL'); await new Promise(resolve => { host.once('exit', resolve); }); }
  web.close();
  rmSync(dir, { recursive: true, force: true });
});

test('a program goes on with its disk, its console and its network while Dom0 crashes', { timeout: 180_000 }, async () => {
  const kernel = join(dir, 'shell.wasm'), image = join(dir, 'disk.img');
  writeFileSync(kernel, appModule('shell'));
  writeFileSync(image, '');
  truncateSync(image, 96 * MIB);
  const { domid } = await client.create(parseDomainConfig(`name="a"\nkernel="${kernel}"\nmemory=24\ndisk=["${image},raw,xvda,rw"]\nvif=[""]`, 'a', { pcpus: 2 }).config, false);
  let said = '', type = (_: string): void => {};
  /** What a connection shows begins with what was there before: only the newest counts. */
  const attach = async (): Promise<void> => {
    const stream = await client.console(String(domid));
    said = '';
    stream.on('data', data => { said += String(data); }).on('error', () => {});
    type = text => { stream.write(text); };
  };
  const has = async (wanted: RegExp): Promise<void> => { await expect.poll(() => said, { timeout: 60_000 }).toMatch(wanted); };
  await attach();
  await has(/# $/);
  type('mkfs; echo before > kept; sync; ping 10.0.2.2 1\r');
  await has(/bytes from 10\.0\.2\.2/);
  for (let n = 0; n < CRASHES; n++) {
    // In the middle of the work: the disk is busy for longer than this.
    type(`${'disk-test 48; '.repeat(ROUNDS)}echo over\r`);
    await new Promise(resolve => { setTimeout(resolve, 60 + 100 * n); });
    await client.debugKeys('C').catch(() => {});
    await expect.poll(async () => (await client.dmesg(false).catch(() => '')).split('Dom0 is started again').length - 1, { timeout: 30_000 }).toBe(n + 1);
    await attach();
    await has(/all as written\r\n# (echo|over)|over\r\n# $/);
    expect(said).not.toMatch(/differ|error/);
    type(`cat kept; get http://10.0.2.2:${(web.address() as AddressInfo).port}/; xenstore-read domid\r`);
    await has(new RegExp(`before\\r\\n(.*\\r\\n)*from outside\\r\\n${domid}\\r\\n`));
  }
  await client.act(String(domid), 'shutdown');
  await expect.poll(async () => (await client.domains()).length, { timeout: 30_000 }).toBe(1);
});
