// Debian's own xenstore-utils against the Unix socket.
import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeHypervisor } from '../bus/fakes.ts';
import { XenstoreServer } from './server.ts';

const haveTools = spawnSync('xenstore-read', ['-h']).error === undefined;
const run = mkdtempSync(join(tmpdir(), 'xs-')), log: string[] = [];
const server = new XenstoreServer({ hypercalls: new FakeHypervisor().hypercalls, log: line => log.push(line) });
const env = { ...process.env, XENSTORED_RUNDIR: run };
beforeAll(async () => { await server.listen(run); });
afterAll(async () => { await server.close(); rmSync(run, { recursive: true }); });

function tool(name: string, ...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  return new Promise(resolve => execFile(`xenstore-${name}`, args, { env }, (error, stdout, stderr) =>
    resolve({ status: error ? Number(error.code) : 0, stdout, stderr })));
}

describe.skipIf(!haveTools)('xenstore-utils', () => {
  it('write, read, list, exists, rm', async () => {
    expect(await tool('write', '/t/a', 'hello', '/t/b', 'two words')).toMatchObject({ status: 0 });
    expect(server.client().read('/t/b')).toBe('two words');
    expect((await tool('read', '/t/a', '/t/b')).stdout).toBe('hello\ntwo words\n');
    expect((await tool('list', '/t')).stdout).toBe('a\nb\n');
    expect((await tool('exists', '/t/a')).status).toBe(0);
    expect((await tool('exists', '/t/c')).status).toBe(1);
    expect((await tool('rm', '/t')).status).toBe(0);
    expect(await tool('read', '/t/a')).toEqual({ status: 1, stdout: '', stderr: "xenstore-read: couldn't read path /t/a\n" });
  });
  it('chmod and ls, in every form', async () => {
    server.client().write('/p/q', 'v');
    expect((await tool('chmod', '-r', '/p', 'n0', 'r5')).status).toBe(0);
    expect(server.client().getPerms('/p/q')).toEqual(['n0', 'r5']);
    expect((await tool('ls', '-f', '-p', '/p')).stdout).toBe('/p/q = "v"   (n0,r5)\n');
    expect((await tool('ls', '/p')).stdout).toBe('q = "v"\n');
    expect((await tool('ls', '-f')).stdout.split('\n').slice(0, 3)).toEqual(['/@introduceDomain = ""', '/@releaseDomain = ""', '/p = ""']);
    server.client().remove('/p');
  });
  it('lists directories that do not fit one message', async () => {
    const store = server.client(), names = Array.from({ length: 700 }, (_, i) => `entry-${String(i).padStart(5, '0')}`);
    store.transaction(t => { for (const name of names) t.write(`/long/${name}`, ''); });
    expect((await tool('list', '/long')).stdout.trim().split('\n')).toEqual(names);
    store.remove('/long');
  });
  it('watch sees changes in order', async () => {
    const store = server.client(), child = spawn('xenstore-watch', ['-n', '4', '/w'], { env });
    let output = '';
    const line = (count: number): Promise<void> => new Promise(resolve => {
      const look = (): void => { if (output.split('\n').length > count) { child.stdout.off('data', look); resolve(); } };
      child.stdout.on('data', look);
      look();
    });
    child.stdout.on('data', data => { output += String(data); });
    const ended = new Promise<number | null>(resolve => child.on('exit', resolve));
    await line(1);
    store.write('/w/x', '1');
    store.write('/w/y', '1');
    await line(3);
    store.remove('/w');
    expect(await ended).toBe(0);
    expect(output).toBe('/w\n/w/x\n/w/y\n/w\n');
  });
  it('several at once do not disturb each other', async () => {
    const results = await Promise.all(Array.from({ length: 12 }, (_, i) => tool('write', `/many/${i}`, String(i))));
    expect(results.every(r => r.status === 0)).toBe(true);
    expect(server.client().list('/many').length).toBe(12);
  });
});

describe('the socket', () => {
  it('is for its owner only', () => { expect(statSync(join(run, 'socket')).mode & 0o777).toBe(0o600); });
  it('drops a client that breaks the protocol, and its watches, and serves on', async () => {
    const socket = connect(join(run, 'socket'));
    const closed = new Promise(resolve => socket.on('close', resolve));
    socket.write(Buffer.concat([Buffer.from([2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0]), Buffer.alloc(64)]));
    await closed;
    expect(log.at(-1)).toContain('a payload of 65535 bytes is announced');
    server.client().write('/still', 'here');
    expect(server.client().read('/still')).toBe('here');
  });
  it('is not taken from a xenstore that runs, but from one that has died', async () => {
    const second = new XenstoreServer({ hypercalls: new FakeHypervisor().hypercalls });
    await expect(second.listen(run)).rejects.toThrow('belongs to a xenstore that is running');
    await expect(second.listen(join(run, 'x'.repeat(120)))).rejects.toThrow('shorter run folder');
    const stale = join(run, 'stale');
    spawnSync(process.execPath, ['-e', `require('fs').mkdirSync(${JSON.stringify(stale)}); require('net').createServer().listen(${JSON.stringify(join(stale, 'socket'))}, () => process.kill(process.pid, 'SIGKILL'))`]);
    expect(statSync(join(stale, 'socket')).isSocket()).toBe(true);
    expect(await second.listen(stale)).toBe(join(stale, 'socket'));
    await second.close();
  });
});
