// A whole host as a person runs it: `xenolith host`, xl in processes of its own, a small kernel that says OK on its
// console. No downloads.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client } from '../../tools/xl/client.ts';
import { BLOCK, SAY_OK, shutdown, smallKernel } from './small-kernel.ts';

const root = join(import.meta.dirname, '../..');
let dir: string, host: ChildProcess | undefined;
const env = (): NodeJS.ProcessEnv => ({ ...process.env, XENOLITH_RUNDIR: join(dir, 'run') });
const xl = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'tools/xl/index.ts'), ...args], { env: env(), encoding: 'utf8', cwd: dir });
  return { status, stdout, stderr };
};
async function startHost(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(root, 'tools/host/index.ts'), 'host'], { env: env(), stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr!.on('data', data => { said += String(data); if (said.includes('host ready')) resolve(); });
    child.on('exit', code => reject(new Error(`the host ended (${code}): ${said}`)));
  });
  return child;
}
const ended = (child: ChildProcess): Promise<number | null> => child.exitCode !== null || child.signalCode !== null ? Promise.resolve(child.exitCode) : new Promise(resolve => child.on('exit', resolve));
const client = (): Client => new Client(join(dir, 'run/api.sock'));
const output = async (domain: string): Promise<string> => {
  let text = '';
  const stream = await client().console(domain);
  stream.on('data', data => { text += String(data); });
  await expect.poll(() => text, { timeout: 20_000 }).toContain('OK');
  stream.destroy();
  return text;
};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'flow-'));
  writeFileSync(join(dir, 'ok.elf'), smallKernel([...SAY_OK, ...BLOCK]));
  writeFileSync(join(dir, 'off.elf'), smallKernel([...SAY_OK, ...shutdown(0)]));
  writeFileSync(join(dir, 'panic.elf'), smallKernel([...SAY_OK, ...shutdown(3)]));
  writeFileSync(join(dir, 'disk.img'), '');
  truncateSync(join(dir, 'disk.img'), 1 << 20);
  writeFileSync(join(dir, 'ok.cfg'), 'name = "ok"\nkernel = "ok.elf"\nmemory = 64\non_crash = "preserve"\ndisk = [ "disk.img,raw,xvda,rw" ]\n');
  host = await startHost();
});
afterAll(async () => {
  host?.kill('SIGKILL');
  if (host) await ended(host);
  rmSync(dir, { recursive: true, force: true });
});

describe('a host', () => {
  test('a domain from a configuration file with relative paths says OK on its console', async () => {
    expect(xl('create', 'ok.cfg')).toEqual({ status: 0, stdout: '', stderr: 'Parsing config from ok.cfg\n' });
    expect(await output('ok')).toContain('OK\r\n');
    await expect.poll(() => xl('list', 'ok').stdout).toMatch(/\nok +1 +64 +1 {5}(r-|-b)---- /);
    expect(xl('block-list', 'ok').stdout).toContain('/local/domain/0/backend/vbd/1/51712');
  });
  test('pause, unpause, rename, destroy', () => {
    expect(xl('pause', 'ok').status).toBe(0);
    expect(xl('list', 'ok').stdout).toContain('--p---');
    expect(xl('unpause', 'ok').status).toBe(0);
    expect(xl('rename', 'ok', 'still').status).toBe(0);
    expect(xl('destroy', 'still').status).toBe(0);
    expect(xl('vm-list').stdout).toBe('UUID                                  ID    name\n');
  });
  test('a guest that powers off is destroyed; one that panics is kept if on_crash says so', async () => {
    expect(xl('create', '-q', 'ok.cfg', 'name="off"', 'kernel="off.elf"').status).toBe(0);
    await expect.poll(() => xl('domid', 'off').status, { timeout: 20_000 }).toBe(1);
    expect(xl('create', '-q', 'ok.cfg', 'name="panic"', 'kernel="panic.elf"').status).toBe(0);
    await expect.poll(() => xl('list', 'panic').stdout, { timeout: 20_000 }).toMatch(/----c- |---sc- /);
    expect(xl('destroy', 'panic').status).toBe(0);
  });
  test('a second host for the same folder is refused', () => {
    const second = spawnSync(process.execPath, [join(root, 'tools/host/index.ts'), 'host'], { env: env(), encoding: 'utf8' });
    expect([second.status, second.stderr]).toEqual([1, expect.stringContaining(`a host runs already (process ${host!.pid}`)]);
  });
  test('after kill -9 the next host starts, and takes the disk again', async () => {
    expect(xl('create', '-q', 'ok.cfg').status).toBe(0);
    host!.kill('SIGKILL');
    await ended(host!);
    host = await startHost();
    expect(xl('create', '-q', 'ok.cfg').status).toBe(0);
  });
  test('SIGTERM ends it in order and leaves nothing in its folder but logs', async () => {
    expect(xl('pause', 'ok').status).toBe(0);
    const { pid } = host!;
    expect(pid).toBeGreaterThan(0);
    // A guest without a driver for control/shutdown does not answer; the second signal does not wait for it.
    host!.kill('SIGTERM');
    await new Promise(resolve => setTimeout(resolve, 300));
    host!.kill('SIGTERM');
    await ended(host!);
    expect(readdirSync(join(dir, 'run'))).toEqual(['log', 'state']);
    host = undefined;
  });
  test('a host that xl started for a domain that cannot be made ends with it', () => {
    const { status, stderr } = xl('create', 'ok.cfg', 'kernel="missing.elf"');
    expect([status, stderr]).toEqual([3, expect.stringMatching(/^Parsing config from ok\.cfg\nno host runs: starting one .*\nxl: error: failed to open file .*missing\.elf/)]);
    expect(readdirSync(join(dir, 'run'))).toEqual(['log', 'state']);
  });
  test('xl starts a host by itself and says so', async () => {
    const { status, stdout, stderr } = xl('list');
    expect([status, stdout.split('\n').length, stderr]).toEqual([0, 3, expect.stringMatching(/^no host runs: starting one in the background \(process \d+, log /)]);
    await client().shutdownHost(false);
    await expect.poll(() => existsSync(join(dir, 'run/host.pid')), { timeout: 20_000 }).toBe(false);
  });
  test('several that find no host at once share the one that one of them starts', async () => {
    const run = join(dir, 'shared'), list = (): ChildProcess => spawn(process.execPath, [join(root, 'tools/xl/index.ts'), 'list'], { env: { ...env(), XENOLITH_RUNDIR: run }, cwd: dir, stdio: 'ignore' });
    expect(await Promise.all(Array.from({ length: 3 }, () => ended(list())))).toEqual([0, 0, 0]);
    await new Client(join(run, 'api.sock')).shutdownHost(false);
    await expect.poll(() => existsSync(join(run, 'host.pid')), { timeout: 20_000 }).toBe(false);
  });
});
