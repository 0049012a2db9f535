// What a person gets wrong, through the real `xl` against a real host: a sentence that names the thing and the way out,
// the exit code of real xl, and nothing left behind.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { TestHost } from './guest-shell.ts';

const XL = join(import.meta.dirname, '../../tools/xl/index.ts'), LIMIT_MS = 120_000;
let dir = '', kernel = '', ramdisk = '', host: TestHost | undefined, clean: string[] = [];

interface Run { readonly status: number; readonly stdout: string; readonly stderr: string }
const xl = (...args: string[]): Promise<Run> => new Promise(resolve => {
  execFile(process.execPath, [XL, ...args], { cwd: dir, env: { ...process.env, XENOLITH_RUNDIR: join(dir, 'run') }, timeout: LIMIT_MS }, (error, stdout, stderr) =>
    resolve({ status: error ? Number(error.code) : 0, stdout, stderr }));
});
/** Everything a failed creation might leave: domains, files of the host, locks beside the images. */
async function traces(): Promise<string[]> {
  const domains = (await host!.client.domains()).map(d => d.name);
  return [...domains, ...readdirSync(join(dir, 'run')).filter(f => f !== 'log'), ...readdirSync(dir)].sort();
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-bad-'));
  try { ({ kernelPath: kernel, ramdiskPath: ramdisk } = await prepareDemo({ cacheDir: defaultCacheDir() })); } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    process.stderr.write(`\n*** SKIPPED: bad input against a real host: ${(error as Error).message}\n`);
    return;
  }
  const file = (name: string, contents: string | Uint8Array): void => writeFileSync(join(dir, name), contents);
  file('text', 'not a kernel\n');
  file('empty', '');
  file('truncated', readFileSync(kernel).subarray(0, 3_000_000));
  file('noxen', readFileSync(process.execPath).subarray(0, 1_000_000));
  file('large', '');
  truncateSync(join(dir, 'large'), 300 * 2 ** 20);
  file('disk.img', new Uint8Array(2 ** 20));
  file('other.img', new Uint8Array(2 ** 20));
  file('case.cfg', '');
  mkdirSync(join(dir, 'folder'));
  mkdirSync(join(dir, 'run'));
  host = await TestHost.start(join(dir, 'run'));
  await xl('info');
  clean = await traces();
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); if (dir) rmSync(dir, { recursive: true, force: true }); });

const CASES: readonly [what: string, lines: string[], status: number, says: RegExp][] = [
  ['a kernel that is not there', ['kernel = "nowhere"', 'memory = 64'], 3, /nowhere.*No such file/],
  ['a kernel that is text', ['kernel = "text"', 'memory = 64'], 3, /text is neither a Linux bzImage nor an ELF file/],
  ['an empty kernel', ['kernel = "empty"', 'memory = 64'], 3, /empty.*zero length/],
  ['a kernel cut short', ['kernel = "truncated"', 'memory = 256'], 3, /truncated bzImage.*fetch or copy it again/],
  ['a program for a kernel', ['kernel = "noxen"', 'memory = 64'], 3, /noxen.*(Xen|ELF)/],
  ['a folder for a kernel', ['kernel = "folder"', 'memory = 64'], 3, /folder.*not a file/],
  ['an initrd that is not there', ['kernel = "KERNEL"', 'ramdisk = "nowhere"', 'memory = 128'], 3, /nowhere.*No such file/],
  ['an initrd larger than memory', ['kernel = "KERNEL"', 'ramdisk = "large"', 'memory = 128'], 3, /initrd does not fit into 128 MiB.*Raise "memory"/],
  ['no memory', ['kernel = "KERNEL"', 'memory = 0'], 3, /memory is 0/],
  ['too little memory', ['kernel = "KERNEL"', 'memory = 8'], 3, /8 MiB.*at least \d+ MiB/],
  ['too much memory', ['kernel = "KERNEL"', 'memory = 5000'], 3, /5000 MiB.*at most 4096 MiB/],
  ['a disk that is not there', ['kernel = "KERNEL"', 'memory = 128', 'disk = [ "nowhere.img,raw,xvda,w" ]'], 3, /xvda.*nowhere\.img.*No such file/],
  ['a disk format that is not known', ['kernel = "KERNEL"', 'memory = 128', 'disk = [ "disk.img,qcow2,xvda,w" ]'], 3, /qcow2.*only raw.*qemu-img convert/],
  ['an empty disk', ['kernel = "KERNEL"', 'memory = 128', 'disk = [ "empty,raw,xvda,w" ]'], 3, /empty is empty: make it as large/],
  ['a folder for a disk', ['kernel = "KERNEL"', 'memory = 128', 'disk = [ "folder,raw,xvda,w" ]'], 3, /folder.*folder, not/],
  ['a disk twice', ['kernel = "KERNEL"', 'memory = 128', 'disk = [ "disk.img,raw,xvda,w", "disk.img,raw,xvdb,w" ]'], 3, /disk\.img is already used read-write/],
  ['two disks in one place', ['kernel = "KERNEL"', 'memory = 128', 'disk = [ "disk.img,raw,xvda,w", "other.img,raw,xvda,w" ]'], 3, /xvda.*same virtual device/],
  ['a second disk that fails', ['kernel = "KERNEL"', 'memory = 128', 'disk = [ "disk.img,raw,xvda,w", "nowhere.img,raw,xvdb,w" ]'], 3, /xvdb.*nowhere\.img/],
  ['a bridge that is not there', ['kernel = "KERNEL"', 'memory = 128', 'vif = [ "bridge=nowhere" ]'], 3, /nowhere/],
  ['a line that is broken', ['kernel = "KERNEL', 'memory = 128'], 1, /case\.cfg:2: config parsing error/],
];
for (const [what, lines, status, says] of CASES) test(what, async ctx => {
  if (!host) { ctx.skip(); return; }
  writeFileSync(join(dir, 'case.cfg'), ['name = "bad"', ...lines.map(l => l.replace('KERNEL', kernel)), ''].join('\n'));
  const r = await xl('create', '-p', 'case.cfg');
  expect([r.status, r.stderr]).toEqual([status, expect.stringMatching(says)]);
  expect(await traces()).toEqual(clean);
}, LIMIT_MS);

test('a name, and a disk, that a running domain has', async ctx => {
  if (!host) { ctx.skip(); return; }
  const config = (name: string): void => writeFileSync(join(dir, 'case.cfg'), `name = "${name}"\nkernel = "${kernel}"\nramdisk = "${ramdisk}"\nmemory = 128\ndisk = [ "disk.img,raw,xvda,w" ]\n`);
  config('first');
  expect(await xl('create', '-p', 'case.cfg')).toMatchObject({ status: 0 });
  const before = await traces();
  const named = await xl('create', '-p', 'case.cfg');
  expect([named.status, named.stderr]).toEqual([3, expect.stringMatching(/first.*already exists/)]);
  config('second');
  const disk = await xl('create', '-p', 'case.cfg');
  expect([disk.status, disk.stderr]).toEqual([3, expect.stringMatching(/disk\.img is already used read-write by domain "first"/)]);
  expect(await traces()).toEqual(before);
  expect(await xl('destroy', 'first')).toMatchObject({ status: 0 });
  // The disk is free again.
  expect(await xl('create', '-p', 'case.cfg')).toMatchObject({ status: 0 });
  expect(await xl('destroy', 'second')).toMatchObject({ status: 0 });
  expect(await traces()).toEqual(clean);
}, LIMIT_MS);
