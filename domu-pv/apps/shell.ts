// A small shell: enough to see a domain at work (files on its disk, xenstore, memory, time) where there is nothing else
// to boot. Commands are separated by newlines or ";"; "> FILE" and ">> FILE" take a command's output.
import { SHUTDOWN_poweroff, SHUTDOWN_reboot } from '../../hypervisor/public/sched.ts';
import { SECTOR_BYTES } from '../../hypervisor/public/io/blkif.ts';
import { Blkfront, findDisk } from '../front/blkfront.ts';
import { formatExt2 } from '../fs/ext2-format.ts';
import { Ext2, NotExt2 } from '../fs/ext2.ts';
import { Ext2Nodes } from '../fs/ext2-node.ts';
import { follow, Root, type Found, type Place } from '../fs/mounts.ts';
import { FsError, type FileNode } from '../fs/node.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { StoreError } from '../kernel/xenstore.ts';
import { addressOf, textOf } from '../net/ipv4.ts';
import { SocketError } from '../net/socket-error.ts';
import { openStack, type Stack } from '../net/stack.ts';
import { ERRNO } from '../wasi/errno.ts';
import { netCommands } from './net-commands.ts';
import { words } from '../wasi/command-line.ts';

const PROMPT = '# ', NS = 1_000_000_000n, MIB = 1 << 20, LINE_MAX = 4096, TEST_MIB = 16, PING_BYTES = 56, PING_MS = 2000, HEAD_BYTES = 65536;
class Failure extends Error {}
export interface Command { readonly summary: string; run(args: readonly string[], out: (text: string | Uint8Array) => void): void }

export function shell(kernel: Kernel, args: readonly string[]): void {
  const sh = new Shell(kernel);
  if (args[0] === '-c') { sh.line(args.slice(1).join(' ')); return; }
  kernel.console.print(`\nA small shell of the domain's own kernel. "help" lists what it can do.\n`);
  while (!sh.done) {
    const line = sh.read();
    if (line.length === 0) break;
    sh.line(new TextDecoder().decode(line));
  }
}

class Shell {
  done = false;
  /** Ctrl-C, since the command began. */
  #interrupted = false;
  #isReading = false;
  readonly #kernel: Kernel;
  #disk: Blkfront | undefined;
  #fs: Ext2 | undefined;
  #net: Stack | undefined;
  #place: Place = { node: new Root(undefined, new Map()), above: undefined };
  readonly #commands: Readonly<Record<string, Command>>;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#commands = this.#table();
    kernel.console.onInterrupt = () => { this.#interrupted = true; if (this.#isReading) kernel.console.print(PROMPT); };
    const path = findDisk(kernel, 'xvda');
    if (path === undefined) return;
    this.#disk = new Blkfront(kernel, path);
    kernel.atEnd(() => this.#fs?.unmount());
    this.#mount();
  }
  #mount(): void {
    try { this.#fs = new Ext2(this.#disk!, () => this.#kernel.clock.realNs() / NS); } catch (error) {
      if (!(error instanceof NotExt2)) throw error;
      this.#kernel.console.print(`xvda: ${error.message}. "mkfs" makes one.\n`);
      return;
    }
    this.#place = { node: new Ext2Nodes(this.#fs).root, above: undefined };
  }

  read(): Uint8Array {
    this.#isReading = true;
    this.#kernel.console.print(PROMPT);
    try { return this.#kernel.console.readLine(LINE_MAX); } finally { this.#isReading = false; }
  }
  line(text: string): void {
    this.#interrupted = false;
    for (const part of text.split(';')) if (part.trim() !== '' && !this.#interrupted) this.#command(words(part.trim()));
  }
  #command(all: readonly string[]): void {
    const { console, events } = this.#kernel, redirect = all.findIndex(w => w === '>' || w === '>>'), [name = '', ...args] = redirect < 0 ? all : all.slice(0, redirect);
    const command = Object.hasOwn(this.#commands, name) ? this.#commands[name] : undefined;
    try {
      if (!command) throw new Failure('no such command; "help" lists them');
      if (redirect < 0) command.run(args, text => { this.#goOn(); if (typeof text === 'string') console.print(text); else console.write(text); });
      else this.#intoFile(command, args, all[redirect + 1] ?? '', all[redirect] === '>>');
    } catch (error) {
      if (!(error instanceof Failure || error instanceof FsError || error instanceof StoreError || error instanceof SocketError)) throw error;
      console.print(`${name}: ${error instanceof FsError ? reasonOf(error) : error.message}\n`);
    }
    events.runDeferred();
  }
  #goOn(): void { if (this.#interrupted) throw new Failure('interrupted'); }
  #intoFile(command: Command, args: readonly string[], path: string, append: boolean): void {
    const { events } = this.#kernel, file = events.critical(() => this.#file(path, true));
    if (!append) events.critical(() => file.resize(0));
    command.run(args, text => { this.#goOn(); events.critical(() => writeAll(file, file.size, typeof text === 'string' ? new TextEncoder().encode(text) : text)); });
  }

  // ---- files
  #find(path: string): Found { return follow(this.#place, path || '.', true); }
  #node(path: string): FileNode { const { node } = this.#find(path); if (!node) throw new FsError(ERRNO.NOENT); return node; }
  #file(path: string, make: boolean): FileNode {
    const found = this.#find(path), node = found.node ?? (make ? found.directory.node.create(found.name, 'file') : undefined);
    if (!node) throw new FsError(ERRNO.NOENT);
    if (node.kind === 'directory') throw new FsError(ERRNO.ISDIR);
    return node;
  }
  #list(path: string, out: (text: string) => void): void {
    const node = this.#node(path);
    const row = (n: FileNode, name: string): string => `${({ directory: 'd', symlink: 'l', device: 'c', socket: 's', file: '-' })[n.kind]} ${String(n.size).padStart(10)} ${new Date(Number(n.times().modified / 1_000_000n)).toISOString().slice(0, 19)} ${name}\n`;
    if (node.kind !== 'directory') { out(row(node, path)); return; }
    for (const { name } of node.list().sort((a, b) => a.name < b.name ? -1 : 1)) out(row(node.lookup(name)!, name));
  }
  #cat(path: string, out: (data: Uint8Array) => void): void {
    const file = this.#file(path, false), buffer = new Uint8Array(HEAD_BYTES);
    for (let at = 0, n = file.read(at, buffer); n > 0; n = file.read(at, buffer)) { out(buffer.slice(0, n)); at += n; }
  }
  #read(path: string): Uint8Array {
    const file = this.#file(path, false), data = new Uint8Array(file.size);
    return data.subarray(0, file.read(0, data));
  }
  #change(args: readonly string[], work: (found: Found, name: string) => void): void {
    if (args.length === 0) throw new Failure('a name is missing');
    for (const path of args) this.#kernel.events.critical(() => { const found = this.#find(path); if (found.name === '') throw new FsError(ERRNO.INVAL); work(found, found.name); });
  }

  // ---- the disk
  #mkfs(force: boolean): void {
    const { vcpu, clock, events } = this.#kernel, disk = this.#disk;
    if (!disk) throw new Failure('there is no disk xvda');
    if (this.#fs) throw new Failure('xvda is in use');
    const head = new Uint8Array(HEAD_BYTES), uuid = new Uint8Array(16);
    disk.read(0, head);
    if (!force && head.some(b => b !== 0)) throw new Failure('xvda is not empty; "mkfs -f" overwrites what is there');
    vcpu.randomBytes(uuid);
    events.critical(() => formatExt2(disk, Number(clock.realNs() / NS), uuid));
    this.#mount();
    events.critical(() => { this.#place.node.create('lost+found', 'directory'); this.#place.node.sync(); });
  }
  /** Writes and reads a file, and compares: what `dd` is used for. */
  #diskTest(mib: number, out: (text: string) => void): void {
    if (!(mib > 0)) throw new Failure('give a number of MiB');
    const { clock, vcpu, events } = this.#kernel, file = this.#file('disk-test.tmp', true), data = new Uint8Array(MIB), back = new Uint8Array(MIB);
    vcpu.randomBytes(data);
    const timed = (what: string, work: () => void): void => {
      const start = clock.systemNs();
      events.critical(work);
      const seconds = Number(clock.systemNs() - start) / 1e9;
      out(`${what} ${mib} MiB in ${seconds.toFixed(3)} s, ${(mib * MIB / 1e6 / seconds).toFixed(1)} MB/s\n`);
    };
    try {
      timed('wrote', () => { for (let n = 0; n < mib; n++) { data[0] = n; writeAll(file, n * MIB, data); } file.sync(); });
      let wrong = 0;
      const words32 = (bytes: Uint8Array): Uint32Array => new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4), expected = words32(data), found = words32(back);
      timed('read and compared', () => {
        for (let n = 0; n < mib; n++) {
          data[0] = n;
          let same = file.read(n * MIB, back) === MIB;
          for (let i = 0; same && i < expected.length; i++) same = expected[i] === found[i];
          if (!same) wrong++;
        }
      });
      out(wrong === 0 ? 'all as written\n' : `${wrong} MiB differ\n`);
    } finally { events.critical(() => this.#place.node.unlink('disk-test.tmp')); }
  }

  // ---- the network
  #network(): Stack {
    if (!this.#net) {
      this.#net = openStack(this.#kernel);
      if (!this.#net) throw new Failure('there is no network interface (vif)');
    }
    if (!this.#net.configure()) throw new Failure('nobody gives an address by DHCP');
    return this.#net;
  }
  #ping(host: string, count: number, out: (text: string) => void): void {
    const net = this.#network(), target = net.lookUp(host)[0]!;
    for (let n = 1; n <= count; n++) {
      const echo = net.ping(target, n, PING_BYTES, PING_MS);
      out(echo ? `${echo.byteCount} bytes from ${host}: seq=${n} time=${(Number(echo.roundTripNs) / 1e6).toFixed(3)} ms\n` : `no answer from ${host}: seq=${n}\n`);
    }
  }

  // ---- the domain
  #storeTree(path: string, indent: string, out: (text: string) => void): void {
    const { store } = this.#kernel;
    for (const name of store.list(path)) {
      const child = path === '/' ? `/${name}` : `${path}/${name}`, value = store.tryRead(child);
      out(`${indent}${name} = ${value === undefined ? '(not ours to read)' : JSON.stringify(value)}\n`);
      this.#storeTree(child, `${indent} `, out);
    }
  }
  #table(): Record<string, Command> {
    const kernel = this.#kernel, one = (args: readonly string[]): string => args[0] ?? '';
    const command = (summary: string, run: Command['run']): Command => ({ summary, run });
    return {
      help: command('this list', (_, out) => { for (const [name, { summary }] of Object.entries(this.#commands)) out(`${name.padEnd(16)} ${summary}\n`); }),
      ls: command('[PATH] files and directories', (args, out) => this.#list(one(args), out)),
      cat: command('FILE... their contents', (args, out) => { for (const path of args) this.#cat(path, out); }),
      echo: command('WORD... says them', (args, out) => out(`${args.join(' ')}\n`)),
      cd: command('[PATH] another directory', args => {
        const found = follow(this.#place, one(args) || '/', true);
        if (found.node?.kind !== 'directory') throw new FsError(found.node ? ERRNO.NOTDIR : ERRNO.NOENT);
        this.#place = found.name === '' ? found.directory : { node: found.node, above: found.directory };
      }),
      mkdir: command('NAME... new directories', args => this.#change(args, (f, name) => { if (f.node) throw new FsError(ERRNO.EXIST); f.directory.node.create(name, 'directory'); })),
      rm: command('NAME... files or empty directories go', args => this.#change(args, (f, name) => { if (!f.node) throw new FsError(ERRNO.NOENT); if (f.node.kind === 'directory') f.directory.node.removeDirectory(name); else f.directory.node.unlink(name); })),
      mv: command('FROM TO another name', args => { if (args.length !== 2) throw new Failure('give two names'); this.#kernel.events.critical(() => { const from = this.#find(one(args)), to = this.#find(args[1] ?? ''); if (from.name === '' || to.name === '') throw new FsError(ERRNO.INVAL); from.directory.node.rename(from.name, to.directory.node, to.name); }); }),
      sync: command('everything onto the disk', () => kernel.events.critical(() => this.#place.node.sync())),
      mkfs: command('[-f] a file system on xvda', args => this.#mkfs(one(args) === '-f')),
      'disk-test': command('[MIB] writes a file, reads it, compares', (args, out) => this.#diskTest(Math.floor(Number(args[0] ?? TEST_MIB)), out)),
      'xenstore-ls': command('[PATH] what xenstore says', (args, out) => this.#storeTree(one(args) || `/local/domain/${kernel.domid}`, '', out)),
      'xenstore-read': command('PATH one value', (args, out) => out(`${kernel.store.read(one(args))}\n`)),
      'xenstore-write': command('PATH VALUE', args => kernel.store.write(one(args), args.slice(1).join(' '))),
      ifconfig: command('the address that the network gave', (_, out) => { const { lease } = this.#network(); if (lease) out(`address ${textOf(lease.address)} mask ${textOf(lease.mask)} router ${textOf(lease.router)} resolvers ${lease.resolvers.map(textOf).join(' ')}\n`); }),
      ...netCommands(() => this.#network(), kernel, path => this.#read(path), () => this.#interrupted),
      ping: command('HOST [COUNT] echo requests', (args, out) => this.#ping(one(args), Number(args[1] ?? 3) || 3, out)),
      free: command('memory and grants', (_, out) => out(`domain ${kernel.start.pageCount * 4} KiB, kernel frames free ${kernel.heap.freeCount}, grants in use ${kernel.grants.inUse}${this.#disk ? `, disk ${this.#disk.sectors * SECTOR_BYTES / MIB} MiB` : ''}\n`)),
      date: command('the time of day', (_, out) => out(`${new Date(Number(kernel.clock.realNs() / 1_000_000n)).toUTCString()}\n`)),
      uptime: command('how long the domain has been up', (_, out) => out(`${(Number(kernel.clock.uptimeNs()) / 1e9).toFixed(3)} s\n`)),
      uname: command('what this is', (_, out) => out(`Xenolith domu-pv, domain ${kernel.domid}\n`)),
      poweroff: command('ends the domain', () => kernel.end(SHUTDOWN_poweroff)),
      reboot: command('ends it and asks for another start', () => kernel.end(SHUTDOWN_reboot)),
      exit: command('leaves the shell, which ends the domain', () => { this.done = true; }),
    };
  }
}

const REASONS: Readonly<Record<number, string>> = {
  [ERRNO.NOENT]: 'no such file or directory', [ERRNO.ISDIR]: 'it is a directory', [ERRNO.NOTDIR]: 'it is not a directory', [ERRNO.EXIST]: 'it exists', [ERRNO.NOTEMPTY]: 'it is not empty',
  [ERRNO.ROFS]: 'there is no file system that can be written', [ERRNO.NOSPC]: 'the disk is full', [ERRNO.IO]: 'input/output error', [ERRNO.INVAL]: 'that makes no sense here',
};
/** @throws FsError where it does not fit */
function writeAll(file: FileNode, position: number, data: Uint8Array): void { for (let done = 0; done < data.length;) done += file.write(position + done, data.subarray(done)); }
const reasonOf = (error: FsError): string => REASONS[error.errno] ?? `error ${error.errno}`;
