// The configurations recorded on a real Xen, through xl against a running host with its own kernels, disks and bridges:
// the recorded exit code, a sentence, and nothing left behind. Then a session, with the words scripts read.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeElf } from '../../dom0/toolstack/builder/make-elf.ts';
import { RECORDED_CASES } from '../../dom0/toolstack/config/recorded-cases.ts';
import { xl } from '../../tools/xl/main.ts';
import { TestHost } from '../guests/guest-shell.ts';
import { BLOCK, SAY_OK, shutdown, smallKernel } from './small-kernel.ts';

let dir = '', host: TestHost, clean: string[] = [];
const back = process.cwd();

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '', err = '';
  const code = await xl(args, { out: text => { out += text; }, err: text => { err += text; }, client: async () => host.client });
  return { code, out, err };
}
/** Domains, files of the host, locks beside images. */
async function traces(): Promise<string[]> {
  return [...(await host.client.domains()).map(d => d.name), ...readdirSync('run').filter(f => f !== 'log'), ...readdirSync('.', { recursive: true, encoding: 'utf8' }).filter(f => !f.startsWith('run'))].sort();
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'recorded-'));
  process.chdir(dir);
  for (const folder of ['boot', 'oracle', 'tmp/bad', 'bin', 'run']) mkdirSync(folder, { recursive: true });
  const small = smallKernel([...SAY_OK, ...BLOCK]);
  writeFileSync('boot/small-pv-kernel', small);
  writeFileSync('boot/off', smallKernel([...SAY_OK, ...shutdown(0)]));
  // One that is too large for the 64 MiB it is given, as Debian's is.
  writeFileSync('boot/vmlinuz-6.1.0-56-amd64', smallKernel([...SAY_OK], 96 << 20));
  writeFileSync('tmp/bad/text.bin', 'not a kernel\n');
  writeFileSync('tmp/bad/trunc.bin', small.subarray(0, 100));
  writeFileSync('tmp/bad/empty.bin', '');
  writeFileSync('oracle/domu.img', new Uint8Array(1 << 20));
  for (const name of ['bin/busybox', 'bin/true']) writeFileSync(name, makeElf({ entry: 0x401000n, loads: [{ vaddr: 0x401000n, paddr: 0x401000n, data: Uint8Array.of(0xc3), memSize: 4096 }], notes: [] }));
  writeFileSync('case.cfg', '');
  host = await TestHost.start(join(dir, 'run'));
  writeFileSync('domu.cfg', 'name="domu"\nkernel="boot/small-pv-kernel"\nmemory=32\n');
  clean = await traces();
}, 60_000);
afterAll(async () => { await host?.stop(); process.chdir(back); rmSync(dir, { recursive: true, force: true }); });

/** What a sentence of exit code 3 must name, where the recorded one is not said word for word. */
const NAMES: Readonly<Record<string, RegExp>> = {
  'kernel-text': /text\.bin is neither a Linux bzImage nor an ELF file/, 'kernel-trunc': /trunc\.bin.*fetch or copy it again/, 'kernel-elf-notxen': /busybox.*Xen/, 'kernel-pv32pae': /bin\/true.*Xen/,
  'kernel-linux-64mb': /64 MiB.*memory/, 'memory-0': /memory is 0/, 'memory-1': /1 MiB.*at least \d+ MiB/, 'memory-huge': /1000000 MiB.*at most/,
};

describe('recorded configurations', () => {
  for (const recorded of RECORDED_CASES) test(recorded.name, async () => {
    const { exitCode, stderr } = recorded.here ?? recorded, name = `${recorded.name}.cfg`, dup = recorded.name === 'name-dup';
    // Their files are here under the same names.
    writeFileSync(name, recorded.text.replaceAll(/(?<=['"=:])\/(?=boot|oracle|tmp|bin)/g, `${dir}/`));
    if (dup) expect(await run('create', '-qp', 'domu.cfg')).toEqual({ code: 0, out: '', err: '' });
    try {
      const { code, out, err } = await run('create', '-p', name), said = err.replaceAll(`${dir}/`, '/');
      expect([code, out, said.split('\n')[0]]).toEqual([exitCode, '', `Parsing config from ${name}`]);
      if (exitCode === 3) expect(said).toMatch(NAMES[recorded.name] ?? new RegExp(stderr.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')));
      else expect(said).toContain(stderr);
      const made = (await host.client.domains()).slice(1).filter(d => d.name !== 'domu');
      expect(made.map(d => d.paused)).toEqual(exitCode === 0 ? [true] : []);
      for (const { domid } of made) expect((await run('destroy', String(domid))).code).toBe(0);
    } finally { if (dup) await run('destroy', 'domu'); rmSync(name); }
    expect(await traces()).toEqual(clean);
  });
  test('without a file, with one that is not there, with settings alone', async () => {
    expect(await run('create')).toEqual({ code: 6, out: '', err: 'Config file not specified and none in save file\n' });
    expect(await run('create', '/nonexistent.cfg')).toEqual({ code: 3, out: '', err: 'Failed to read config file: /nonexistent.cfg: No such file or directory\n' });
    expect(await run('create', '-n', '/dev/null', 'name="foo"', 'kernel="/boot/small-pv-kernel"', 'memory=32')).toMatchObject({ code: 0, err: 'Parsing config from /dev/null\n' });
    expect(await traces()).toEqual(clean);
  });
});

test('a session, as recorded', async () => {
  const silent = { code: 0, out: '', err: '' }, invalid = { code: 1, out: '', err: 'nosuchdomain is an invalid domain identifier (rc=-6)\n' };
  expect(await run('create', 'domu.cfg')).toEqual({ ...silent, err: 'Parsing config from domu.cfg\n' });
  const { out: id } = await run('domid', 'domu'), domid = id.trim();
  expect(id).toMatch(/^\d+\n$/);
  expect((await run('domname', domid)).out).toBe('domu\n');
  expect(await run('domname', '999')).toMatchObject({ code: 1, err: "Can't get domain name of domain id '999', maybe this domain does not exist.\n" });
  expect(await run('domid', 'nosuchdomain')).toMatchObject({ code: 1, err: "Can't get domid of domain name 'nosuchdomain', maybe this domain does not exist.\n" });
  for (const command of ['list', 'pause', 'unpause', 'console']) expect(await run(command, 'nosuchdomain')).toEqual(invalid);
  expect((await run('uptime', 'domu')).out).toMatch(/^Name {32}ID Uptime\ndomu {31,32}\d+ {2}0:\d\d:\d\d\n$/);
  // Pauses are counted, as Xen counts them. With an event pending the small kernel never sleeps long.
  for (const [command, state] of [['pause', '--p---'], ['pause', '--p---'], ['unpause', '--p---'], ['unpause', '(r-|-b)----']] as const) {
    expect(await run(command, 'domu')).toEqual(silent);
    await expect.poll(async () => (await run('list', 'domu')).out).toMatch(new RegExp(`^Name {40}ID   Mem VCPUs\tState\tTime\\(s\\)\ndomu +${domid} {4}32 {5}1 {5}${state} +\\d+\\.\\d\n$`));
  }
  expect((await run('vcpu-list', 'domu')).out).toMatch(/^Name {32}ID {2}VCPU {3}CPU State {3}Time\(s\) Affinity \(Hard \/ Soft\)\ndomu +\d+ {5}0 {4}[-\d] {3}(r-|-b)- +\d+\.\d {2}all \/ all\n$/);
  expect(await run('rename', 'domu', 'domuX')).toEqual(silent);
  expect((await run('vm-list')).out).toMatch(/^UUID {34}ID {4}name\n[0-9a-f-]{36} +\d+ {4}domuX +\n$/);
  expect(await run('rename', 'domuX', 'domu')).toEqual(silent);
  expect(await run('debug-keys', 'q')).toEqual(silent);
  expect(await run('destroy', '0')).toMatchObject({ code: 1, err: 'Not destroying domain 0; use -f to force.\nThis can only be done when using a disaggregated hardware domain and toolstack.\n\n' });
  expect(await run('shutdown')).toMatchObject({ code: 1, err: 'You must specify -a or a domain id.\n\n' });
  expect(await run('destroy', 'domu')).toEqual(silent);
  expect(await run('create', '-q', 'domu.cfg', 'kernel="boot/off"')).toEqual(silent);
  await expect.poll(async () => (await run('domid', 'domu')).code, { timeout: 20_000 }).toBe(1);
  expect(await traces()).toEqual(clean);
});
