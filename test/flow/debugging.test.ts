// The debugging aids on a whole host: gdb itself on a small guest, back-traces, traces, debug keys. No downloads; the
// tests with gdb need gdb on the machine and say so when there is none.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeElf } from '../../dom0/toolstack/builder/make-elf.ts';
import { hasGdb, runGdb, serveGdb } from './gdb.ts';
import { framePacket } from '../../dom0/debug/gdb-packets.ts';

const root = join(import.meta.dirname, '../..');
const VIRT_BASE = 0xffffffff80000000n, LOAD_AT = 0x1000000n;
const NOTE = { entry: 1, virtBase: 3, paddrOffset: 4, xenVersion: 5, guestOs: 6, loader: 8, pae: 9 } as const;

/** Counts in rbx for ever, through a function. */
const COUNT = [
  0x31, 0xdb, //                    00 _start: xor ebx, ebx
  0xf3, 0x0f, 0x6f, 0x05, 0x20, 0, 0, 0, // 02 movdqu xmm0, [rip + 0x20] (2a)
  0xd9, 0xe8, //                    0a fld1
  0x48, 0xff, 0xc3, //              0c again: inc rbx
  0xe8, 0x02, 0, 0, 0, //           0f call work
  0xeb, 0xf6, //                    14 jmp again
  0x48, 0x89, 0xd8, //              16 work: mov rax, rbx
  0x48, 0x8b, 0x0c, 0x24, //        19 mov rcx, [rsp]
  0x90, //                          1d nop
  0xc3, //                          1e ret
  ...new Array<number>(0x2a - 0x1f).fill(0x90), ...Array.from({ length: 16 }, (_, i) => i), //  2a data
];
/** xen_version, again and again: hypercalls for the trace. */
const CALLS = [0x31, 0xff, 0x31, 0xf6, 0xb8, 0x11, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf3]; // again: xen_version(XENVER_version, NULL); jmp again
const PANIC = [0x6a, 0x03, 0x48, 0x89, 0xe6, 0xbf, 0x02, 0x00, 0x00, 0x00, 0xb8, 0x1d, 0x00, 0x00, 0x00, 0x0f, 0x05]; // sched_op(shutdown, crash)
const TEXT = 'ffffffff81000000';
const SYMBOLS = `${TEXT} T _start\nffffffff8100000c t again\nffffffff81000016 t work\n`;

const kernel = (code: number[]): Buffer => makeElf({
  entry: VIRT_BASE + LOAD_AT, loads: [{ vaddr: VIRT_BASE + LOAD_AT, paddr: LOAD_AT, data: Uint8Array.from(code), memSize: 4096 }],
  notes: [[NOTE.guestOs, 'linux'], [NOTE.xenVersion, 'xen-3.0'], [NOTE.virtBase, VIRT_BASE], [NOTE.paddrOffset, 0n], [NOTE.entry, VIRT_BASE + LOAD_AT], [NOTE.loader, 'generic'], [NOTE.pae, 'yes']],
});

let dir: string, host: ChildProcess;
const env = (): NodeJS.ProcessEnv => ({ ...process.env, XENOLITH_RUNDIR: join(dir, 'run') });
const run = (tool: 'xl' | 'host', ...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, `tools/${tool}/index.ts`), ...args], { env: env(), encoding: 'utf8', cwd: dir, timeout: 30_000 });
  return { status, stdout, stderr };
};
const xl = (...args: string[]) => run('xl', ...args);
const xenolith = (...args: string[]) => run('host', ...args);

const waitForGdb = (domain: string, ...args: string[]) => serveGdb(env(), domain, ...args);

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'debug-'));
  writeFileSync(join(dir, 'count.elf'), kernel(COUNT));
  writeFileSync(join(dir, 'calls.elf'), kernel(CALLS));
  writeFileSync(join(dir, 'panic.elf'), kernel(PANIC));
  writeFileSync(join(dir, 'System.map'), SYMBOLS);
  for (const name of ['count', 'calls', 'panic']) writeFileSync(join(dir, `${name}.cfg`), `name = "${name}"\nkernel = "${name}.elf"\nmemory = 32\non_crash = "preserve"\n`);
  host = spawn(process.execPath, [join(root, 'tools/host/index.ts'), 'host'], { env: env(), stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    host.stderr!.on('data', data => { said += String(data); if (said.includes('host ready')) resolve(); });
    host.on('exit', code => reject(new Error(`the host ended (${code}): ${said}`)));
  });
});
afterAll(async () => {
  if (host?.exitCode === null) { const ended = new Promise(resolve => host.on('exit', resolve)); host.kill('SIGKILL'); await ended; }
  rmSync(dir, { recursive: true, force: true });
});

if (!hasGdb) process.stderr.write('SKIPPED: the tests of the gdb stub with gdb itself, because there is no gdb on this machine (apt-get install gdb)\n');
const gdb = (address: string, ...commands: string[]): string => runGdb(address, commands);

describe.skipIf(!hasGdb)('gdb', () => {
  test('attaches before the first instruction of a paused domain, steps, reads registers of every kind', async () => {
    expect(xl('create', '-q', '-p', 'count.cfg').status).toBe(0);
    const stub = await waitForGdb('count');
    expect(gdb(stub.address, 'p/x $rip', 'x/2i $pc', 'detach')).toMatch(/= 0xffffffff81000000\n=> 0xffffffff81000000:\txor +%ebx,%ebx\n/);
    expect(xl('list', 'count').stdout).toContain('--p---');
    expect(xl('unpause', 'count').status).toBe(0);
    const out = gdb(stub.address, 'break *0xffffffff8100000c', 'continue', 'p/x $xmm0.uint128', 'p $st0', 'p $eflags', 'p/x $cs', 'p $guest_kernel', 'info threads', 'detach');
    expect(out).toContain('Breakpoint 1, 0xffffffff8100000c in');
    expect(out).toContain('= 0xf0e0d0c0b0a09080706050403020100');
    expect(out).toMatch(/= 1\n/);
    expect(out).toMatch(/= \[.*IF.*\]/);
    expect(out).toContain('= 0xe033');
    expect(out).toContain('Thread 1 (vCPU 0, guest kernel)');
    expect(await stub.end()).toBe(0);
    expect(stub.said()).toContain('gdb has left; the domain runs on');
  });
  test('software and hardware breakpoints, registers and memory written, single steps', async () => {
    const stub = await waitForGdb('count', '--port', '0');
    expect(stub.address).toMatch(/^127\.0\.0\.1:\d+$/);
    const out = gdb(stub.address,
      'break *0xffffffff81000016', 'continue', 'p $rbx == 0', 'set var $rbx = 1000', 'continue', 'p $rbx', 'delete',
      'hbreak *0xffffffff8100001d', 'continue', 'p $rax', 'p/x $rcx', 'stepi', 'p/x $rip', 'stepi', 'p/x $rip', 'delete',
      'x/1ub 0xffffffff81000030', 'set var *(unsigned char *)0xffffffff81000030 = 77', 'x/1ub 0xffffffff81000030', 'x/1xb 0x10', 'detach');
    expect(out).toContain('Breakpoint 1, 0xffffffff81000016 in');
    expect(out).toContain('= 1001\n');
    expect(out).toContain('= 0xffffffff81000014\n'); // the return address that work() loads
    expect(out).toContain('= 0xffffffff8100001e\n');
    expect(out).toMatch(/0xffffffff81000030:\t6\n0xffffffff81000030:\t77\n/);
    expect(await stub.end()).toBe(0);
  });
  test('watchpoints on the return address of work(): called, loaded, returned through', async () => {
    const stub = await waitForGdb('count');
    const out = gdb(stub.address, 'break *0xffffffff8100000c', 'continue', 'delete', 'set $slot = (long *) ($rsp - 8)', 'set var *$slot = 0',
      'watch -l *$slot', 'continue', 'p/x $rip', 'delete', 'rwatch -l *$slot', 'continue', 'p/x $rip', 'delete', 'awatch -l *$slot', 'continue', 'p/x $rip', 'continue', 'p/x $rip', 'delete', 'detach');
    expect(out).toMatch(/Old value = 0\nNew value = -2130706412\n/);
    expect([...out.matchAll(/= 0xffffffff810000(..)\n/g)].map(m => m[1])).toEqual(['16', '1d', '14', '16']);
    expect(await stub.end()).toBe(0);
  });
  test('code that a debugger writes is the code that runs', async () => {
    const stub = await waitForGdb('count');
    // inc rbx becomes dec rbx.
    const out = gdb(stub.address, 'break *0xffffffff81000016', 'continue', 'set var $rbx = 500', 'set var *(unsigned char *)0xffffffff8100000e = 0xcb', 'continue', 'p $rbx', 'set var *(unsigned char *)0xffffffff8100000e = 0xc3', 'continue', 'p $rbx', 'detach');
    expect(out).toMatch(/= 499\n[^]*= 500\n/);
    expect(await stub.end()).toBe(0);
  });
  test('what is left of a domain that crashed can be looked at', async () => {
    expect(xl('create', '-q', 'panic.cfg').status).toBe(0);
    await expect.poll(() => xl('list', 'panic').stdout, { timeout: 20_000 }).toMatch(/----c- |---sc- /);
    const stub = await waitForGdb('panic');
    expect(gdb(stub.address, 'p $rdi', 'x/1i $pc-2', 'continue')).toMatch(/= 2\n[^]*syscall[^]*SIGSEGV/);
    expect(await stub.end()).toBe(0);
    expect(xl('destroy', 'panic').status).toBe(0);
  });
  test('a domain that is destroyed under gdb ends the session and the command', async () => {
    expect(xl('create', '-q', 'count.cfg', 'name="victim"').status).toBe(0);
    const stub = await waitForGdb('victim');
    const child = spawn('gdb', ['-nx', '-batch', '-ex', `target remote ${stub.address}`, '-ex', 'continue'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', data => { text += String(data); });
    await expect.poll(() => stub.said(), { timeout: 20_000 }).toContain('gdb is attached');
    await new Promise(resolve => setTimeout(resolve, 500));
    const gone = new Promise(resolve => child.on('exit', resolve));
    expect(xl('destroy', 'victim').status).toBe(0);
    await gone;
    expect(text).toContain('exited normally');
    await expect.poll(() => stub.said(), { timeout: 20_000 }).toContain('closed');
  });
});

describe('without gdb', () => {
  test('a client that goes away without a word leaves the domain running, without breakpoints', async () => {
    if (xl('domid', 'count').status !== 0) expect(xl('create', '-q', 'count.cfg').status).toBe(0);
    const stub = await waitForGdb('count');
    const socket = connect(stub.address);
    let answers = '';
    socket.on('data', data => { answers += String(data); });
    socket.write(framePacket('?'));
    await expect.poll(() => answers, { timeout: 10_000 }).toContain('T05thread:1;');
    socket.write(framePacket('Z0,ffffffff81000016,1'));
    await expect.poll(() => answers).toContain('OK');
    const second = connect(stub.address);
    await new Promise(resolve => second.on('close', resolve));
    await expect.poll(() => stub.said()).toContain('another gdb was turned away');
    const before = xl('list', 'count').stdout;
    expect(before).not.toContain(' r-----');
    socket.destroy();
    await expect.poll(() => xl('list', 'count').stdout, { timeout: 10_000 }).toMatch(/count .* r----- /);
    expect(await stub.end()).toBe(0);
    await expect.poll(() => existsSync(stub.address)).toBe(false);
  });
  test('an HTTP request with packets in it is turned away at its first byte', async () => {
    if (xl('domid', 'count').status !== 0) expect(xl('create', '-q', 'count.cfg').status).toBe(0);
    const stub = await waitForGdb('count', '--port', '0'), [address, port] = stub.address.split(':');
    const socket = connect(Number(port), address);
    let answers = '';
    socket.on('data', data => { answers += String(data); });
    socket.on('error', () => {});
    socket.write(`POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n${framePacket('?')}`);
    await new Promise(resolve => socket.on('close', resolve));
    expect(answers).toBe('');
    expect(await stub.end()).toBe(0);
  });
  test('back-traces, bare and with symbols', () => {
    if (xl('domid', 'count').status !== 0) expect(xl('create', '-q', 'count.cfg').status).toBe(0);
    expect(xenolith('backtrace', 'count')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^vCPU 0: guest kernel, rsp ffffffff[0-9a-f]{8}\n {2}<ffffffff810000[01][0-9a-f]>\n/) });
    const named = xenolith('backtrace', 'count', '--symbols', 'System.map', '--registers').stdout;
    expect(named).toMatch(/^ {2}<ffffffff810000[01][0-9a-f]> (again|work)\+0x[0-9a-f]+$/m);
    expect(named).toMatch(/ rbx [0-9a-f]{16} /);
    expect(xenolith('backtrace', 'count', '--symbols', 'none.map')).toMatchObject({ status: 1, stderr: 'xenolith: symbols from none.map: there is no such file\n' });
    expect(xenolith('backtrace')).toMatchObject({ status: 2, stderr: expect.stringContaining('which domain?') });
  });
  test('the instruction trace: what ran, in order, with names; off again', async () => {
    if (xl('domid', 'count').status !== 0) expect(xl('create', '-q', 'count.cfg').status).toBe(0);
    expect(xenolith('trace', 'count', '--instructions')).toMatchObject({ status: 1, stderr: expect.stringContaining('is not traced: switch it on with') });
    expect(xenolith('trace', 'count', '--instructions', '--on', '--last', '1000').status).toBe(0);
    await expect.poll(() => xenolith('trace', 'count', '--instructions', '--last', '1000').stdout.split('\n').length, { timeout: 20_000 }).toBe(1001);
    const lines = xenolith('trace', 'count', '--instructions', '--last', '300', '--symbols', 'System.map').stdout.trim().split('\n');
    expect(lines).toHaveLength(300);
    const loop = ['again+0x0', 'again+0x3', 'work+0x0', 'work+0x3', 'work+0x7', 'work+0x8', 'again+0x8'], names = lines.map(line => line.split(' ')[4]!), first = loop.indexOf(names[0]!);
    expect(names).toEqual(lines.map((_, i) => loop[(first + i) % loop.length]));
    expect(lines[0]).toMatch(/^v0 k ffffffff810000[01][0-9a-f] [0-9a-f]{8} /);
    // The counter is in the digest: no round is like another.
    const starts = lines.filter(line => line.endsWith('again+0x0'));
    expect(new Set(starts).size).toBe(starts.length);
    expect(xenolith('trace', 'count', '--instructions', '--off').status).toBe(0);
    expect(xenolith('trace', 'count', '--instructions').status).toBe(1);
  });
  test('the trace of hypercalls and events', async () => {
    expect(xl('create', '-q', 'calls.cfg').status).toBe(0);
    expect(xenolith('trace', 'calls')).toMatchObject({ status: 1, stderr: expect.stringContaining('is not traced') });
    expect(xenolith('trace', 'calls', '--on').status).toBe(0);
    await expect.poll(() => xenolith('trace', 'calls', '--hypercalls', '--last', '4').stdout, { timeout: 10_000 }).toMatch(/^ +\d+\.\d{6} d\d+v0 xen_version(\(0x0, 0x0\)| = \d+)$/m);
    expect(xenolith('trace', 'calls', '--events').stdout).not.toContain('xen_version');
    expect(xenolith('trace', 'calls', '--off').status).toBe(0);
    expect(xl('debug-keys', 'cd').status).toBe(0);
    await expect.poll(() => xl('dmesg').stdout, { timeout: 10_000 }).toMatch(/d\d+v0 processor: .*exit_syscall=\d+/);
    expect(xl('dmesg').stdout).toMatch(/CONTEXT: pv guest \(d\d+v0\) kernel/);
    expect(xl('destroy', 'calls').status).toBe(0);
  });
  test('addresses that cannot be listened on, and domains that are not there', () => {
    if (xl('domid', 'count').status !== 0) expect(xl('create', '-q', 'count.cfg').status).toBe(0);
    expect(xenolith('gdb', 'count', '--socket', join(dir, 'none/g.sock'))).toMatchObject({ status: 1, stderr: expect.stringMatching(/^xenolith: gdb cannot be waited for at .*none\/g\.sock: /) });
    writeFileSync(join(dir, 'taken'), '');
    expect(xenolith('gdb', 'count', '--socket', 'taken')).toMatchObject({ status: 1, stderr: expect.stringContaining('the address is in use') });
    expect(xenolith('gdb', 'nobody')).toMatchObject({ status: 1, stderr: 'xenolith: nobody is an invalid domain identifier\n' });
    expect(xenolith('gdb', '0')).toMatchObject({ status: 1, stderr: 'xenolith: Domain-0 is the host itself\n' });
    expect(xenolith('gdb', 'count', '--port', '70000')).toMatchObject({ status: 2, stderr: expect.stringContaining('--port takes a number from 0 to 65535') });
    expect(xenolith('trace', 'count', '--on', '--off').status).toBe(2);
  });
});
