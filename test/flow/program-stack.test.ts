// A program that uses up the stack which the hypervisor runs on too, where it would be in the middle of its work.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compile, hasToolchain } from '../programs/toolchain.ts';

const root = join(import.meta.dirname, '../..'), dir = mkdtempSync(join(tmpdir(), 'program-stack-')), env = { ...process.env, XENOLITH_RUNDIR: join(dir, 'run') };
const hasTaskset = spawnSync('taskset', ['-c', '0', 'true']).status === 0, can = hasToolchain(dir) && hasTaskset;
if (!hasTaskset) process.stderr.write('\n*** SKIPPED: a program on a host with one processor: install util-linux (taskset)\n');
const xl = (...args: string[]): string => {
  const { stdout, stderr } = spawnSync(process.execPath, [join(root, 'tools/xl/index.ts'), ...args], { env, encoding: 'utf8', cwd: dir, timeout: 20_000 });
  return stdout + stderr;
};
let host: ChildProcess, probe = '';
const config = (name: string, extra: string): string => {
  const path = join(dir, `${name}.cfg`);
  writeFileSync(path, `name = "${name}"\nkernel = "${probe}"\nextra = "${extra}"\nmemory = 16\n`);
  return path;
};

beforeAll(async () => {
  if (!can) return;
  probe = compile(dir, 'probe');
  // One processor, so that whoever leaves it there has to hand it over.
  host = spawn('taskset', ['-c', '0', process.execPath, join(root, 'tools/host/index.ts'), 'host'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  await new Promise<void>(resolve => { host.stderr!.on('data', data => { if (String(data).includes('host ready')) resolve(); }); });
}, 120_000);
afterAll(async () => {
  if (host?.exitCode === null) { host.kill('SIGKILL'); await new Promise(resolve => { host.once('exit', resolve); }); }
  rmSync(dir, { recursive: true, force: true });
});

test.skipIf(!can)('it ends by itself, and the processor goes to its neighbours', { timeout: 120_000 }, () => {
  const depth = Number([...xl('create', '-c', config('measure', 'deep')).matchAll(/(\d+) deep/g)].at(-1)?.[1]);
  expect(depth).toBeGreaterThan(1000);
  xl('create', config('busy', 'spin'));
  for (let n = 0; n < 2; n++) {
    xl('create', '-c', config(`deep${n}`, `deep ${depth}`));
    expect(xl('dmesg').split('\n').filter(line => line.includes('domain crashed'))).toHaveLength(n + 2);
    expect(xl('create', '-c', config('neighbour', 'show'))).toContain('slept enough');
  }
  expect(xl('dmesg').match(/ran out of stack/g)).toHaveLength(3);
});
