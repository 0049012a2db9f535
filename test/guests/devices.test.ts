// What is changed under a Linux guest that runs: disks come and go, memory shrinks and grows, an NMI arrives.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { GuestShell, TestHost } from './guest-shell.ts';

const LIMIT_MS = 240_000, MIB = 2 ** 20;
let dir = '', host: TestHost | undefined, guest: GuestShell;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-devices-'));
  try {
    const demo = await prepareDemo({ cacheDir: defaultCacheDir() });
    host = await TestHost.start(join(dir, 'run'), '--jit=off');
    guest = await GuestShell.boot(host.client, 'devices', { kernel: demo.kernelPath, ramdisk: demo.ramdiskPath }, []);
  } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    process.stderr.write(`\n*** SKIPPED: devices of running guests: ${(error as Error).message}\n`);
  }
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

function xl(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, '../../tools/xl/index.ts'), ...args], { env: { ...process.env, XENOLITH_RUNDIR: join(dir, 'run') }, encoding: 'utf8', cwd: dir, timeout: 60_000 });
  return { status, stdout, stderr };
}
/** Looks every quarter of a second until the guest's answer is as wanted. */
async function eventually(command: string, wanted: (output: string) => boolean): Promise<string> {
  for (let output, end = Date.now() + 60_000; ;) {
    output = await guest.run(`{ ${command}; } 2>&1; true`);
    if (wanted(output)) return output;
    if (Date.now() > end) throw new Error(`"${command}" still says ${output}`);
    await new Promise(resolve => { setTimeout(resolve, 250); });
  }
}

test('a disk is plugged in, written to, pulled out, and plugged in again', async ctx => {
  if (!guest) { ctx.skip(); return; }
  const image = join(dir, 'extra.img');
  writeFileSync(image, Buffer.alloc(8 * MIB));
  expect(xl('block-attach', 'devices', 'extra.img,raw,xvdb,rw')).toEqual({ status: 0, stdout: '', stderr: '' });
  await eventually('cat /sys/block/xvdb/size', size => size === '16384\n');
  expect(xl('block-list', 'devices').stdout).toMatch(/^51728 +0 +\d+ +4 /m);
  await guest.run('echo written-by-the-guest | dd of=/dev/xvdb bs=512 seek=3 conv=sync,fsync 2>/dev/null');
  expect(readFileSync(image).toString('latin1', 1536, 1536 + 20)).toBe('written-by-the-guest');
  expect(xl('block-attach', 'devices', 'extra.img,raw,xvdb,rw')).toMatchObject({ status: 1, stderr: expect.stringContaining('libxl_device_disk_add failed.') });
  expect(xl('block-detach', 'devices', 'xvdb')).toEqual({ status: 0, stdout: '', stderr: '' });
  await eventually('ls /sys/block', names => !names.includes('xvdb'));
  expect(xl('block-list', 'devices').stdout.trim().split('\n')).toHaveLength(1);
  expect(xl('block-detach', 'devices', 'xvdb')).toEqual({ status: 1, stdout: '', stderr: 'Error: Device xvdb not connected.\n' });
  expect(xl('block-attach', 'devices', 'extra.img,raw,xvdb,r').status).toBe(0);
  await eventually('cat /sys/block/xvdb/ro', readOnly => readOnly === '1\n');
  expect(await guest.run('dd if=/dev/xvdb bs=512 skip=3 count=1 2>/dev/null | head -c 20')).toBe('written-by-the-guest');
}, LIMIT_MS);

test('the balloon follows the memory target down and up', async ctx => {
  if (!guest) { ctx.skip(); return; }
  const inUse = async (): Promise<number> => (await host!.client.domain('devices')).memKib;
  const before = await inUse();
  expect(xl('mem-set', 'devices', '128')).toEqual({ status: 0, stdout: '', stderr: '' });
  for (const end = Date.now() + 60_000; (await inUse()) > 129 * 1024;) if (Date.now() > end) throw new Error(`${await inUse()} KiB are in use`);
  expect(await inUse()).toBeGreaterThan(120 * 1024);
  await guest.run('ls / >/dev/null');
  expect(xl('mem-set', 'devices', '192m').status).toBe(0);
  for (const end = Date.now() + 60_000; (await inUse()) < before - 1024;) if (Date.now() > end) throw new Error(`${await inUse()} KiB are in use`);
  expect(xl('mem-set', 'devices', '4g').stderr).toContain('memory_dynamic_max must be less than or equal to memory_static_max');
}, LIMIT_MS);

test('sysrq and NMI reach the kernel; scheduler parameters and name change while it runs', async ctx => {
  if (!guest) { ctx.skip(); return; }
  await guest.run('echo 1 >/proc/sys/kernel/sysrq');
  expect(xl('sysrq', 'devices', 's').status).toBe(0);
  await eventually('dmesg', text => /sysrq: Emergency Sync/i.test(text));
  const count = async (): Promise<number> => Number(/NMI: +(\d+)/.exec(await guest.run('grep NMI: /proc/interrupts'))?.[1]);
  const before = await count();
  expect(xl('trigger', 'devices', 'nmi')).toEqual({ status: 0, stdout: '', stderr: '' });
  await eventually('grep NMI: /proc/interrupts', text => Number(/NMI: +(\d+)/.exec(text)?.[1]) > before);
  expect(xl('trigger', 'devices', 'power').stderr).toContain('is for HVM guests');
  expect(xl('sched-credit2', '-d', 'devices', '-w', '512', '-c', '50').status).toBe(0);
  expect(xl('sched-credit2').stdout).toMatch(/^Cpupool Pool-0: ratelimit=\d+us\nName +ID Weight +Cap\nDomain-0 +0 +256 +0\ndevices +\d+ +512 +50\n$/);
  expect(xl('sched-credit2', '-d', 'devices', '-w', '0').status).toBe(1);
  expect(xl('rename', 'devices', 'renamed').status).toBe(0);
  expect(xl('domname', String(guest.domid)).stdout).toBe('renamed\n');
  expect(await guest.run('uname')).toBe('Linux\n');
}, LIMIT_MS);
