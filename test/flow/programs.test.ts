// Domains whose kernel is a WebAssembly module, on a whole host: what they see, their files on a disk, and their ends.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client } from '../../tools/xl/client.ts';
import { appModule } from '../../domu-pv/apps/app-module.ts';
import { compile, compileGo, compileRust, hasToolchain } from '../programs/toolchain.ts';

const root = join(import.meta.dirname, '../..'), dir = mkdtempSync(join(tmpdir(), 'programs-'));
const can = hasToolchain(dir), shelf = compileRust(dir, 'shelf'), steps = compileGo(dir, 'steps');
let host: ChildProcess;
const env = (): NodeJS.ProcessEnv => ({ ...process.env, XENOLITH_RUNDIR: join(dir, 'run') });
const xl = (...args: string[]): string => {
  const { stdout, stderr } = spawnSync(process.execPath, [join(root, 'tools/xl/index.ts'), ...args], { env: env(), encoding: 'utf8', cwd: dir, timeout: 60_000 });
  return stdout + stderr;
};
const client = (): Client => new Client(join(dir, 'run/api.sock'));
function config(name: string, kernel: string, extra: string, more = 'memory = 16'): string {
  const path = join(dir, `${name}.cfg`);
  writeFileSync(path, `name = "${name}"\nkernel = "${kernel}"\nextra = "${extra}"\n${more}\n`);
  return path;
}
/** Runs a program to its end: its console. */
const run = (...args: Parameters<typeof config>): string => xl('create', '-c', config(...args));
const dmesg = (): string => xl('dmesg');
const text = (s: string): string => s.replaceAll('\r', '');
const pause = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms); });
async function consoleHas(domain: string, wanted: RegExp): Promise<(input: string) => void> {
  let seen = '';
  const stream = await client().console(domain);
  stream.on('data', data => { seen += String(data); });
  await expect.poll(() => seen, { timeout: 30_000 }).toMatch(wanted);
  return input => { stream.write(input); };
}

/** A node of xenstore through the API. */
const store = (method: 'GET' | 'PUT', path: string, value?: string): Promise<string> => new Promise((resolve, reject) => {
  const asked = request({ socketPath: join(dir, 'run/api.sock'), method, path: `/v1/xenstore?path=${encodeURIComponent(path)}`, headers: { 'content-type': 'application/json' } }, response => {
    let text = '';
    response.on('data', data => { text += String(data); }).on('end', () => { resolve(text); });
  });
  asked.on('error', reject).end(value === undefined ? undefined : JSON.stringify({ value }));
});

let probe = '', files = '';
beforeAll(async () => {
  if (!can) return;
  probe = compile(dir, 'probe');
  files = compile(dir, 'files');
  host = spawn(process.execPath, [join(root, 'tools/host/index.ts'), 'host'], { env: env(), stdio: ['ignore', 'ignore', 'pipe'] });
  await new Promise<void>(resolve => { host.stderr!.on('data', data => { if (String(data).includes('host ready')) resolve(); }); });
}, 120_000);
afterAll(async () => {
  if (host?.exitCode === null) { host.kill('SIGKILL'); await new Promise(resolve => { host.once('exit', resolve); }); }
  rmSync(dir, { recursive: true, force: true });
});

describe.skipIf(!can)('a program', { timeout: 120_000 }, () => {
  test('sees its arguments, its environment, its initrd and time', () => {
    spawnSync('bash', ['-c', 'mkdir -p tree/etc && echo welcome > tree/etc/motd && tar -C tree -czf tree.tgz etc'], { cwd: dir });
    const said = text(run('show', probe, "A=1 B=two -- show 'with space'", `memory = 16\nramdisk = "${join(dir, 'tree.tgz')}"`));
    for (const line of ['argument show', 'argument with space', 'environment A=1', 'environment B=two', 'entry etc', 'motd welcome', 'slept enough', 'year plausible']) expect(said).toContain(`${line}\n`);
    expect(dmesg()).toMatch(/program ended with status 7/);
  });
  test('reads lines from its console, which echoes and edits them', async () => {
    xl('create', config('echo', probe, 'echo'));
    // One reader for all of it: the domain is gone soon after the last line.
    const stream = await client().console('echo');
    let seen = '';
    stream.on('data', data => { seen += String(data); });
    stream.write('abc\x7fd\r');
    stream.write('\x04');
    await expect.poll(() => seen, { timeout: 30_000 }).toMatch(/abc\x08 \x08d\r\ngot abd\r\nend of input/);
  });
  test('keeps files on a disk, from one boot to the next, and the file system is sound', () => {
    const image = join(dir, 'disk.img'), disk = `memory = 32\ndisk = [ '${image},raw,xvda,rw' ]`;
    writeFileSync(image, '');
    truncateSync(image, 64 << 20);
    for (const blockBytes of ['1024', '4096']) {
      expect(spawnSync('mkfs.ext2', ['-q', '-F', '-b', blockBytes, image]).status).toBe(0);
      expect(text(run('files', files, 'mount=/data:xvda /data', disk))).toContain('fs test done, 0 failures');
      expect(spawnSync('fsck.ext2', ['-fn', image]).status).toBe(0);
      expect(String(spawnSync('debugfs', ['-R', 'cat hard', image]).stdout)).toBe('hello disk\n');
      // Names that are there already fail, the count goes on.
      run('again', files, 'mount=/data:xvda /data', disk);
      expect(String(spawnSync('debugfs', ['-R', 'cat count', image]).stdout)).toBe('2');
      expect(spawnSync('fsck.ext2', ['-fn', image]).status).toBe(0);
    }
  });
  test.each(['1024', '4096'])('leaves a sound file system at the edges: odd offsets, a full disk, what is gone but open (blocks of %s)', blockBytes => {
    const image = join(dir, 'edges.img');
    writeFileSync(image, '');
    truncateSync(image, 8 << 20);
    expect(spawnSync('mkfs.ext2', ['-q', '-F', '-b', blockBytes, image]).status).toBe(0);
    expect(text(run('edges', compile(dir, 'edges'), 'mount=/data:xvda', `memory = 32\ndisk = [ '${image},raw,xvda,rw' ]`))).toContain('edges done, 0 failures');
    const check = spawnSync('fsck.ext2', ['-fn', image], { encoding: 'utf8' });
    expect([check.status, check.stdout]).toEqual([0, expect.anything()]);
    expect(text(run('edges', compile(dir, 'edges'), 'mount=/data:xvda -- again', `memory = 32\ndisk = [ '${image},raw,xvda,ro' ]`))).toContain('read only, 0 failures');
  });
  test.skipIf(shelf === undefined)('from Rust keeps files by its standard library, reads its console, and ends by a panic with a reason', async () => {
    const image = join(dir, 'shelf.img'), disk = `memory = 32\ndisk = [ '${image},raw,xvda,rw' ]`, of = (what: string): string => text(run('shelf', shelf!, `WHO=me mount=/data:xvda -- /data/shelf ${what}`, disk));
    writeFileSync(image, '');
    truncateSync(image, 16 << 20);
    expect(spawnSync('mkfs.ext2', ['-q', '-F', image]).status).toBe(0);
    of('add one the first note');
    of("add two 'another one'");
    of('add one the first note, again');
    expect(of('list')).toContain('one 22 the first note, again\ntwo 12 another one\n');
    expect(of('check')).toContain('checked me\n');
    expect(of('sing')).toContain('no such verb: sing');
    expect(dmesg().split('\n').findLast(line => line.includes('crash'))).toMatch(/unreachable/);
    expect(spawnSync('fsck.ext2', ['-fn', image]).status).toBe(0);
    xl('create', config('hear', shelf!, '/ echo'));
    (await consoleHas('hear', /^/))('one\rtwo\r');
    await expect.poll(dmesg).toMatch(/program ended with status 9/);
  });
  test.skipIf(steps === undefined)('from Go has goroutines that sleep, memory, files and a console, and ends by a panic with its trace', async () => {
    const image = join(dir, 'steps.img'), disk = `memory = 64\ndisk = [ '${image},raw,xvda,rw' ]`, of = (what: string): string => text(run('steps', steps!, `WHO=me mount=/data:xvda -- ${what}`, disk));
    writeFileSync(image, '');
    truncateSync(image, 16 << 20);
    expect(spawnSync('mkfs.ext2', ['-q', '-F', image]).status).toBe(0);
    expect(of('clock')).toContain('arguments [clock] me\norder [1 2 3 4 5] true true\n');
    expect(of('memory')).toContain('allocated 200\n');
    expect(of('files /data')).toContain('file /data/a/b/note\na line\nfar 10003\n');
    expect(of('files /data')).toContain('file /data/a/b/note\nfile /data/far\na line\na line\nfar 10003\n');
    expect(spawnSync('fsck.ext2', ['-fn', image]).status).toBe(0);
    expect(of('sing')).toMatch(/panic: there is no such step[^]*steps\.go:\d+/);
    expect(dmesg()).toMatch(/program ended with status 2/);
    xl('create', config('listen', steps!, 'echo', 'memory = 64'));
    const said = consoleHas('listen', /heard one\r\nheard two/), type = await consoleHas('listen', /arguments/);
    type('one\rtwo\r\x04');
    await said;
    await expect.poll(() => dmesg().match(/program ended with status 9/g)?.length, { timeout: 20_000 }).toBeGreaterThan(0);
  });
  test('of the guest kernel has an address on its network, and is answered there', async () => {
    const shell = join(dir, 'shell.wasm');
    writeFileSync(shell, appModule('shell'));
    xl('create', config('net', shell, '', "memory = 16\nvif = [ '' ]"));
    const type = await consoleHas('net', /# $/);
    const answers = consoleHas('net', /address 10\.0\.2\.\d+[^]*64 bytes from 10\.0\.2\.2: seq=2/);
    type('ifconfig; ping 10.0.2.2 2\r');
    await answers;
    xl('shutdown', '-w', 'net');
    expect(xl('list')).not.toContain('net');
  });
  test('of the guest kernel is a shell that one can type at: keys, ctrl-C, wrong words', async () => {
    const shell = join(dir, 'keys.wasm'), image = join(dir, 'keys.img');
    writeFileSync(shell, appModule('shell'));
    writeFileSync(image, '');
    truncateSync(image, 4 << 20);
    xl('create', config('keys', shell, '', `memory = 16\nvif = [ '' ]\ndisk = [ '${image},raw,xvda,rw' ]`));
    const stream = await client().console('keys');
    let seen = '';
    stream.on('data', data => { seen += String(data); });
    const type = async (input: string, wanted: RegExp): Promise<void> => { await expect.poll(() => seen, { timeout: 30_000 }).toMatch(/# $/); seen = ''; stream.write(input); await expect.poll(() => seen, { timeout: 30_000 }).toMatch(wanted); };
    await type('mkfs\r', /# $/);
    await type('half a line\x03', /\^C\r\n# $/);
    await type('\x1b[A\x7f\x7f\x7f', /\^\[\[A\x08 \x08\x08 \x08\x08 \x08\x08 \x08$/);
    stream.write('echo é\x7f.\r');
    await expect.poll(() => seen).toMatch(/\r\n\.\r\n# $/);
    await type('echo x > f; mv f; mv f .; ls\r', /give two names[^]*that makes no sense here[^]* f\r\n/);
    await type('disk-test -5\r', /give a number of MiB/);
    await type('disk-test 100\r', /the disk is full/);
    await type('ls\r', /^ls\r\n[^]* f\r\n(?![^]*disk-test)[^]*# $/);
    await type('serve abc\r', /there is no such port/);
    await type('serve 80; echo not this\r', /waiting at port 80/);
    stream.write('\x03');
    await expect.poll(() => seen).toMatch(/serve: interrupted\r\n# $/);
    await type('ping 10.0.2.2 100000\r', /seq=3/);
    stream.write('\x03');
    await expect.poll(() => seen).toMatch(/ping: interrupted\r\n# $/);
    xl('shutdown', '-w', 'keys');
    expect(spawnSync('fsck.ext2', ['-fn', image]).status).toBe(0);
  });
  test('whose disk is taken from it hears of errors, and ends when it is asked to', async () => {
    const shell = join(dir, 'taken.wasm'), image = join(dir, 'taken.img');
    writeFileSync(shell, appModule('shell'));
    writeFileSync(image, '');
    truncateSync(image, 4 << 20);
    xl('create', config('taken', shell, '', `memory = 16\ndisk = [ '${image},raw,xvda,rw' ]`));
    const type = await consoleHas('taken', /# $/), mounted = consoleHas('taken', /kept\r\n# $/);
    type('mkfs; echo kept > f; cat f\r');
    await mounted;
    xl('block-detach', 'taken', 'xvda');
    const said = consoleHas('taken', /input\/output error/);
    type('echo more > g; sync\r');
    await said;
    xl('shutdown', '-w', 'taken');
    expect(xl('list')).not.toContain('taken');
  });
  test('grows into the memory of its domain and no further', () => {
    expect(text(run('grow', probe, 'grow', 'memory = 24'))).toMatch(/grown by (1\d|2[0-3]) MiB/);
  });
  test('answers what it is asked through xenstore: memory given back and taken again, nonsense refused, a halt', async () => {
    xl('create', config('asked', probe, 'wait', 'memory = 32'));
    await consoleHas('asked', /waiting/);
    const view = async () => (await client().domains()).find(d => d.name === 'asked')!, { domid } = await view();
    xl('mem-set', 'asked', '20m');
    await expect.poll(async () => (await view()).memKib).toBeLessThanOrEqual(20 * 1024);
    expect((await view()).memKib).toBeGreaterThan(19 * 1024);
    xl('mem-set', 'asked', '32m');
    await expect.poll(async () => (await view()).memKib).toBeGreaterThan(31 * 1024);
    const node = `/local/domain/${domid}/control/shutdown`;
    await store('PUT', node, 'sing');
    await expect.poll(dmesg).toMatch(/control\/shutdown: "sing" is not something this kernel does/);
    expect(JSON.parse(await store('GET', node))).toMatchObject({ value: '' });
    await store('PUT', node, 'halt');
    await expect.poll(() => xl('list')).not.toContain('asked');
  });
  test('is suspended while it waits or computes, and goes on with its clock, its console and what it is asked', async () => {
    xl('create', config('ticks', probe, 'tick', 'memory = 32'));
    let seen = '';
    (await client().console('ticks')).on('data', data => { seen += String(data); });
    const ticks = (): number[][] => [...seen.matchAll(/tick (\d+) (\d+)\r/g)].map(m => [Number(m[1]), Number(m[2])]);
    await expect.poll(() => ticks().length).toBeGreaterThan(3);
    for (let n = 0; n < 3; n++) {
      expect([xl('suspend', 'ticks'), xl('list', 'ticks')]).toEqual(['', expect.stringMatching(/---s--/)]);
      // What came while xl ran is heard of now.
      await pause(200);
      const before = ticks(), last = before.at(-1)!;
      await pause(600);
      expect(ticks()).toEqual(before);
      expect(xl('resume', 'ticks')).toBe('');
      await expect.poll(() => ticks().length).toBeGreaterThan(before.length + 3);
      const next = ticks()[before.length + 2]!;
      expect(next[0]! - last[0]!).toBeGreaterThan(600);
      expect(Math.abs(next[1]! - Date.now() / 1000)).toBeLessThan(3);
    }
    // Over the whole way a balloon, and an end of every kind.
    expect(xl('mem-set', 'ticks', '20m')).toBe('');
    await expect.poll(async () => (await client().domain('ticks')).memKib).toBeLessThanOrEqual(20 * 1024);
    xl('shutdown', '-w', 'ticks');
    expect(xl('list')).not.toContain('ticks');
    xl('create', config('spins', probe, 'spin'));
    await consoleHas('spins', /spinning/);
    const ended = client().waitEnd('spins');
    expect([xl('suspend', 'spins'), await ended]).toEqual(['', { kind: 'shutdown', reason: 2 }]);
    expect(xl('shutdown', 'spins')).toContain('is suspended: use xl resume');
    xl('destroy', 'spins');
    expect(xl('list')).not.toContain('spins');
  });
  test('of the guest kernel keeps its disk and its network over a suspend', async () => {
    const shell = join(dir, 'rests.wasm'), image = join(dir, 'rests.img');
    writeFileSync(shell, appModule('shell'));
    writeFileSync(image, '');
    truncateSync(image, 16 << 20);
    xl('create', config('rests', shell, '', `memory = 16\nvif = [ '' ]\ndisk = [ '${image},raw,xvda,rw' ]`));
    const stream = await client().console('rests');
    let seen = '';
    stream.on('data', data => { seen += String(data); });
    const type = async (input: string, wanted: RegExp): Promise<void> => { seen = ''; stream.write(input); await expect.poll(() => seen, { timeout: 30_000 }).toMatch(wanted); };
    await type('mkfs; echo kept > f; disk-test 1\r', /disk-test[^]*# $/);
    await type('ping 10.0.2.2 100000\r', /seq=2/);
    for (let n = 0; n < 3; n++) {
      expect(xl('suspend', 'rests')).toBe('');
      await pause(200);
      seen = '';
      await pause(300);
      expect([seen, xl('resume', 'rests')]).toEqual(['', '']);
      await expect.poll(() => seen, { timeout: 30_000 }).toMatch(/seq=\d+[^]*seq=\d+/);
    }
    await type('\x03', /interrupted\r\n# $/);
    // In the middle of the disk's work.
    stream.write('disk-test 8\r');
    expect([xl('suspend', 'rests'), xl('resume', 'rests')]).toEqual(['', '']);
    await type('cat f; sync\r', /kept\r\n# $/);
    xl('shutdown', '-w', 'rests');
    expect(spawnSync('fsck.ext2', ['-fn', image]).status).toBe(0);
  });
  test('sleeps for as long as can be said, and uses no processor meanwhile', async () => {
    xl('create', config('forever', probe, 'forever'));
    await consoleHas('forever', /asleep/);
    const time = async () => (await client().domains()).find(d => d.name === 'forever')!.cpuTimeSec, before = await time();
    await new Promise(resolve => { setTimeout(resolve, 1000); });
    expect(await time() - before).toBeLessThan(0.2);
    xl('destroy', 'forever');
  });
  test('is paused, billed, shut down and destroyed while it spins or waits', async () => {
    for (const what of ['spin', 'wait']) {
      xl('create', config(what, probe, what));
      await consoleHas(what, new RegExp(what === 'spin' ? 'spinning' : 'waiting'));
      const view = async () => (await client().domains()).find(d => d.name === what)!;
      if (what === 'spin') await expect.poll(async () => (await view()).cpuTimeSec, { timeout: 20_000 }).toBeGreaterThan(0.2);
      else expect((await view()).cpuTimeSec).toBeLessThan(5);
      xl('pause', what);
      const before = (await view()).cpuTimeSec;
      await new Promise(resolve => { setTimeout(resolve, 200); });
      expect((await view()).cpuTimeSec).toBe(before);
      xl('unpause', what);
      xl('shutdown', '-w', what);
      expect(xl('list')).not.toContain(what);
      xl('create', config(what, probe, what));
      xl('destroy', what);
      expect(xl('list')).not.toContain(what);
    }
  });
});

describe.skipIf(!can)('a program that misbehaves', { timeout: 120_000 }, () => {
  const section = (id: number, ...body: number[]): number[] => [id, body.length, ...body];
  const bytes = (...sections: number[][]): Buffer => Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections.flat()]);
  const name = (text: string): number[] => [text.length, ...Buffer.from(text)];
  const MILLION = [0x80, 0x80, 0x40];
  const MEMORY = section(5, 1, 0, 1), TYPE = section(1, 1, 0x60, 0, 0);
  const modules: Record<string, [Buffer, RegExp]> = {
    cut: [bytes([1, 40, 1]), /cannot be loaded: the module ends in the middle/],
    nonsense: [bytes(section(1, 1, 0x60, 0, 0), section(3, 1, 0), MEMORY, section(10, 1, 3, 0, 0x6a, 0x0b)), /is not valid: /],
    imports: [bytes(TYPE, section(2, 1, 1, 0x78, 1, 0x79, 0, 0), MEMORY), /imports x\.y, which is not there/],
    // What every JavaScript object has: Object.prototype.toString.constructor makes functions from text.
    inherited: [bytes(TYPE, section(2, 1, ...name('toString'), ...name('constructor'), 0, 0), MEMORY), /imports toString\.constructor, which is not there/],
    prototype: [bytes(TYPE, section(2, 1, ...name('__proto__'), ...name('get'), 0, 0), MEMORY), /imports __proto__\.get, which is not there/],
    greedy: [bytes(section(5, 1, 0, 0x80, 0x40)), /wants 512 MiB of memory/],
    reaching: [bytes(MEMORY, section(11, 1, 0, 0x41, 0x70, 0x0b, 1, 1)), /cannot be loaded|not valid|trapped/],
    tables: [bytes(section(4, 2, 0x70, 0, ...MILLION, 0x70, 0, 1), MEMORY), /a table of 1048576 entries; there is room for 524288/],
    empty: [bytes(MEMORY), /has no _start/],
    memories: [bytes(section(5, 2, 0, 1, 0, 1)), /several memories/],
  };
  const EXNREF = 0x69, START = section(7, 1, ...name('_start'), 0, 0);
  /** An exception that holds the one before, over and over: loop (block (try_table (catch_ref 0) (throw 0 (local.get 0)))) */
  const chain = [1, 1, EXNREF, 0x03, 0x40, 0x02, 2, 0x1f, 0x40, 1, 1, 0, 0, 0x20, 0, 0x08, 0, 0x0b, 0, 0x0b, 0x21, 0, 0x1a, 0x0c, 0, 0x0b, 0x0b];
  test('one that uses up its thread\'s heap ends, the host goes on', () => {
    const path = join(dir, 'heap.wasm');
    writeFileSync(path, bytes(section(1, 3, 0x60, 0, 0, 0x60, 1, EXNREF, 0, 0x60, 0, 2, EXNREF, EXNREF), section(3, 1, 0), MEMORY, section(13, 1, 0, 1), START, section(10, 1, chain.length, ...chain)));
    run('heap', path, '');
    expect(dmesg()).toMatch(/thread failed: .*memory/);
    expect(text(run('after', probe, 'show'))).toContain('slept enough');
  });
  test.each(Object.entries(modules))('module: %s', (name, [module, reason]) => {
    const path = join(dir, `${name}.bad`);
    writeFileSync(path, module);
    run(name, path, '');
    expect(dmesg().split('\n').findLast(line => line.includes('domain crashed'))).toMatch(reason);
  });
  test.each([['recurse', /ran out of stack/], ['trap', /trapped: unreachable/], ['outside', /trapped: memory access out of bounds/]])('while it runs: %s', (what, reason) => {
    run(what, probe, what);
    expect(dmesg().split('\n').findLast(line => line.includes('domain crashed'))).toMatch(reason);
  });
  test('one that floods its console waits for its reader, and its neighbour is served', async () => {
    xl('create', config('flood', probe, 'flood'));
    await consoleHas('flood', /0123456789/);
    expect(text(run('neighbour', probe, 'show'))).toContain('slept enough');
    xl('destroy', 'flood');
    expect(xl('list')).not.toContain('flood');
  });
});
