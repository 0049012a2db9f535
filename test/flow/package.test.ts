// The package that `npm pack` makes, installed in an empty folder as a person would: its commands run, and so do the
// parts that are found by path at run time (threads, workers, the guest kernel for programs).
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client } from '../../tools/xl/client.ts';
import { BLOCK, SAY_OK, smallKernel } from './small-kernel.ts';

const root = join(import.meta.dirname, '../..'), LIMIT_MS = 180_000;
let dir = '', installed = false;
/** Without what `npm test` puts in front: the commands start with whatever Node the person has. */
const path = (process.env['PATH'] ?? '').split(delimiter).filter(folder => !folder.includes('node_modules')).join(delimiter);

function run(file: string, args: string[], input = '', cwd = dir): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(file, args, { cwd, input, encoding: 'utf8', timeout: LIMIT_MS, env: { ...process.env, PATH: path, XENOLITH_RUNDIR: join(dir, 'run') } });
  return { status, stdout, stderr };
}
const command = (name: string, ...args: string[]) => run(join(dir, 'node_modules/.bin', name), args);

/** `npm install FILE`, with the versions of this checkout's lock, from npm's cache: what `npm ci` fetched here is in it. */
function install(tarball: string): { status: number | null; stderr: string } {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, { dev?: boolean; version?: string; dependencies?: object; bin?: object }> };
  const { '': { version, dependencies, bin } = {}, ...others } = packages, file = { xenolith: `file:${tarball}` };
  const needed = Object.entries(others).filter(([, { dev }]) => !dev);
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'empty', dependencies: file }));
  writeFileSync(join(dir, 'package-lock.json'), JSON.stringify({ name: 'empty', lockfileVersion: 3, packages: {
    '': { name: 'empty', dependencies: file }, 'node_modules/xenolith': { version, resolved: file.xenolith, dependencies, bin }, ...Object.fromEntries(needed),
  } }));
  return run('npm', ['ci', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']);
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'package-'));
  const packed = run('npm', ['pack', '--silent', '--pack-destination', dir], '', root);
  expect([packed.status, packed.stderr]).toEqual([0, '']);
  const { status, stderr } = install(packed.stdout.trim().split('\n').at(-1)!);
  installed = status === 0;
  if (installed) return;
  if (process.env['CI'] !== undefined) throw new Error(`npm installs the package with status ${status}: ${stderr}`);
  process.stderr.write(`\n*** SKIPPED: the installed package: ${stderr.split('\n')[0]}\n`);
}, LIMIT_MS);
afterAll(async () => {
  await new Client(join(dir, 'run/api.sock')).shutdownHost(true).catch(() => {});
  rmSync(dir, { recursive: true, force: true });
});

test('it holds JavaScript and no tests', ctx => {
  if (!installed) ctx.skip();
  const folder = join(dir, 'node_modules/xenolith'), files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  expect(readdirSync(folder).sort()).toEqual(['README.md', 'bin', 'dist', 'package.json']);
  expect(files.filter(f => /\.ts$|(^|\/)(test-|fake|.*\.test\.)/.test(f))).toEqual([]);
});
test('xl and xenolith say what they can do', ctx => {
  if (!installed) ctx.skip();
  expect(command('xl', 'help')).toMatchObject({ status: 0, stdout: expect.stringContaining('create') as string, stderr: '' });
  expect(command('xenolith', '--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('host') as string });
  expect(command('xl', 'nonsense').status).toBe(1);
});
test('a domain runs on a host that xl starts', async ctx => {
  if (!installed) ctx.skip();
  writeFileSync(join(dir, 'ok.elf'), smallKernel([...SAY_OK, ...BLOCK]));
  writeFileSync(join(dir, 'ok.cfg'), 'name = "ok"\nkernel = "ok.elf"\nmemory = 64\n');
  const created = command('xl', 'create', 'ok.cfg');
  expect([created.status, created.stderr]).toEqual([0, expect.stringMatching(/^(Parsing config from ok\.cfg\n|no host runs: starting one in the background.*\n){2}$/)]);
  await expect.poll(() => readdirSync(join(dir, 'run/log')).map(f => readFileSync(join(dir, 'run/log', f), 'utf8')).join(''), { timeout: 20_000 }).toContain('OK\r\n');
  expect(command('xl', 'list', 'ok').stdout).toMatch(/\nok +1 +64 +1 {5}(r-|-b)---- /);
  expect(command('xl', 'destroy', 'ok')).toEqual({ status: 0, stdout: '', stderr: '' });
});
test('the small guest that comes with it takes commands', ctx => {
  if (!installed) ctx.skip();
  const { status, stdout } = run(join(dir, 'node_modules/.bin/xenolith'), ['start', '--embedded'], 'mkfs; echo from inside > /f; cat /f\n');
  expect([status, stdout]).toEqual([0, expect.stringMatching(/^from inside\r?$/m)]);
  expect(existsSync(join(dir, 'demo.img'))).toBe(true);
});
