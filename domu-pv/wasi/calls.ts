// WASI preview 1: the system calls of a program, each as the module imports it. Results are error numbers.
import type { Kernel } from '../kernel/kernel.ts';
import { FileNode, FsError, type NodeKind } from '../fs/node.ts';
import { follow, type Found, type Place } from '../fs/mounts.ts';
import { HypercallError } from '../kernel/hypercalls.ts';
import { ALL_RIGHTS, Descriptors, RIGHT, Terminal, type Descriptor } from './descriptors.ts';
import { ERRNO } from './errno.ts';
import { byteLengthOf, GuestMemory, roomOf } from './guest-memory.ts';
import type { Stack } from '../net/stack.ts';
import { socketCalls } from './socket-calls.ts';
import { SocketNode } from './socket-node.ts';

const FILETYPE: Readonly<Record<NodeKind, number>> = { device: 2, directory: 3, file: 4, socket: 6, symlink: 7 };
const DATAGRAM_FILETYPE = 5;
const OFLAGS = { creat: 1, directory: 2, excl: 4, trunc: 8 } as const;
const FDFLAGS = { append: 1, dsync: 2, nonblock: 4, rsync: 8, sync: 16 } as const;
const FSTFLAGS = { atim: 1, atimNow: 2, mtim: 4, mtimNow: 8 } as const;
const CLOCK = { realtime: 0, monotonic: 1 } as const;
const EVENT = { clock: 0, read: 1, write: 2 } as const;
const FDSTAT_BYTES = 24, DIRENT_BYTES = 24, EVENT_BYTES = 32, PRESTAT_BYTES = 8;
/** What differs between preview 1 and its predecessor, wasi_unstable. Offsets of links (64 or 32 bits), size and clock fields. */
const VERSIONS = {
  wasi_snapshot_preview1: { seek: ['set', 'cur', 'end'], filestatBytes: 64, links: 24, size: 32, subscriptionBytes: 48, clockId: 16, timeout: 24, clockFlags: 40 },
  wasi_unstable: { seek: ['cur', 'end', 'set'], filestatBytes: 56, links: 20, size: 24, subscriptionBytes: 56, clockId: 24, timeout: 32, clockFlags: 48 },
} as const;
export type WasiVersion = keyof typeof VERSIONS;
export const WASI_VERSIONS = Object.keys(VERSIONS) as WasiVersion[];
/** System times are 63 bits wide for the hypervisor's timers: one beyond would be over already. */
const FOREVER = 2n ** 63n - 1n;
const RANDOM_STEP = 65536, SUBSCRIPTIONS_MAX = 1024, HANGUP = 1, ABSTIME = 1, FOLLOW = 1;

/** Calls that may wait for the console, the network or for ever, or do not come back; sock_* too. */
const WAITING_CALLS: ReadonlySet<string> = new Set(['fd_read', 'fd_write', 'fd_pread', 'fd_pwrite', 'poll_oneoff', 'sched_yield', 'proc_exit']);

export interface ProgramSettings {
  readonly arguments: readonly string[]; readonly environment: readonly string[];
  /** undefined: the program is given no directory. */
  readonly root: FileNode | undefined;
  /** Sockets that it is given, each with the descriptor behind the last. */
  readonly sockets: readonly SocketNode[];
  /** The network, connected and with an address. @throws FsError(NETDOWN) */
  network(): Stack;
  /** proc_exit */
  exit(code: number): never;
}
type Call = (...args: never[]) => number | void;

export function wasiCalls(kernel: Kernel, settings: ProgramSettings, version: WasiVersion): Record<string, Call> {
  return new Calls(kernel, settings, version).table();
}

class Calls {
  readonly #kernel: Kernel; readonly #settings: ProgramSettings;
  readonly #memory: GuestMemory;
  readonly #fds = new Descriptors();

  readonly #abi: typeof VERSIONS[WasiVersion];

  constructor(kernel: Kernel, settings: ProgramSettings, version: WasiVersion) {
    this.#abi = VERSIONS[version];
    this.#kernel = kernel;
    this.#settings = settings;
    this.#memory = new GuestMemory(kernel.vcpu);
    const terminal = new Terminal(kernel.console),  { root } = settings;
    for (let fd = 0; fd < 3; fd++) this.#fds.add(terminal);
    if (root) this.#fds.add(root, { node: root, above: undefined }, 0, '/');
    for (const socket of settings.sockets) this.#fds.add(socket);
  }

  table(): Record<string, Call> {
    const m = this.#memory, s = this.#settings, fds = this.#fds;
    const calls: Record<string, Call> = {
      args_sizes_get: (count: number, bytes: number) => { m.u32(count, s.arguments.length); m.u32(bytes, byteLengthOf(s.arguments)); },
      args_get: (pointers: number, buffer: number) => m.strings(s.arguments, pointers, buffer),
      environ_sizes_get: (count: number, bytes: number) => { m.u32(count, s.environment.length); m.u32(bytes, byteLengthOf(s.environment)); },
      environ_get: (pointers: number, buffer: number) => m.strings(s.environment, pointers, buffer),
      clock_res_get: (id: number, out: number) => { this.#now(id); m.u64(out, 1n); },
      clock_time_get: (id: number, _precision: bigint, out: number) => m.u64(out, this.#now(id)),
      random_get: (at: number, count: number) => this.#random(at, count),
      sched_yield: () => this.#kernel.hypercalls.yield(),
      proc_exit: (code: number) => s.exit(code),
      proc_raise: () => ERRNO.NOSYS,
      poll_oneoff: (subscriptions: number, events: number, count: number, out: number) => this.#poll(subscriptions, events, count, out),

      fd_advise: (fd: number) => { fds.get(fd); },
      fd_allocate: (fd: number, at: bigint, count: bigint) => { const { node } = fds.get(fd), end = sizeOf(at) + sizeOf(count); if (end > node.size) node.resize(end); },
      fd_close: (fd: number) => fds.close(fd),
      fd_datasync: (fd: number) => fds.get(fd).node.sync(),
      fd_sync: (fd: number) => fds.get(fd).node.sync(),
      fd_fdstat_get: (fd: number, out: number) => this.#fdstat(fds.get(fd), out),
      fd_fdstat_set_flags: (fd: number, flags: number) => { const d = fds.get(fd); d.flags = flags; if (d.node instanceof SocketNode) d.node.nonBlocking = (flags & FDFLAGS.nonblock) !== 0; },
      fd_fdstat_set_rights: (fd: number) => { fds.get(fd); },
      fd_filestat_get: (fd: number, out: number) => this.#filestat(fds.get(fd).node, out),
      fd_filestat_set_size: (fd: number, size: bigint) => fds.get(fd).node.resize(sizeOf(size)),
      fd_filestat_set_times: (fd: number, accessed: bigint, modified: bigint, flags: number) => this.#setTimes(fds.get(fd).node, accessed, modified, flags),
      fd_read: (fd: number, vectors: number, count: number, out: number) => { const d = fds.get(fd); d.position += this.#read(d, vectors, count, d.position, out); },
      fd_pread: (fd: number, vectors: number, count: number, at: bigint, out: number) => { this.#read(fds.get(fd), vectors, count, offsetOf(at), out); },
      fd_write: (fd: number, vectors: number, count: number, out: number) => { const d = fds.get(fd); if (d.flags & FDFLAGS.append) d.position = d.node.size; d.position += this.#write(d, vectors, count, d.position, out); },
      fd_pwrite: (fd: number, vectors: number, count: number, at: bigint, out: number) => { this.#write(fds.get(fd), vectors, count, offsetOf(at), out); },
      fd_prestat_get: (fd: number, out: number) => { const { preopened } = fds.get(fd), v = m.view(out, PRESTAT_BYTES); if (preopened === undefined) return ERRNO.BADF; v.setUint32(0, 0, true); v.setUint32(4, preopened.length, true); return 0; },
      fd_prestat_dir_name: (fd: number, out: number, bytes: number) => { const { preopened } = fds.get(fd); if (preopened === undefined) return ERRNO.BADF; m.at(out, bytes).set(new TextEncoder().encode(preopened).subarray(0, bytes)); return 0; },
      fd_readdir: (fd: number, buffer: number, bytes: number, cookie: bigint, out: number) => this.#readDirectory(fds.get(fd), buffer, bytes, Number(cookie), out),
      fd_renumber: (from: number, to: number) => fds.renumber(from, to),
      fd_seek: (fd: number, offset: bigint, whence: number, out: number) => this.#seek(fds.get(fd), Number(offset), whence, out),
      fd_tell: (fd: number, out: number) => m.u64(out, BigInt(fds.get(fd).position)),

      path_create_directory: (fd: number, path: number, bytes: number) => { const f = this.#find(fd, path, bytes, false); this.#absent(f); f.directory.node.create(f.name, 'directory'); },
      path_filestat_get: (fd: number, flags: number, path: number, bytes: number, out: number) => this.#filestat(present(this.#find(fd, path, bytes, (flags & FOLLOW) !== 0)), out),
      path_filestat_set_times: (fd: number, flags: number, path: number, bytes: number, accessed: bigint, modified: bigint, which: number) => this.#setTimes(present(this.#find(fd, path, bytes, (flags & FOLLOW) !== 0)), accessed, modified, which),
      path_link: (fd: number, flags: number, path: number, bytes: number, toFd: number, toPath: number, toBytes: number) => {
        const node = present(this.#find(fd, path, bytes, (flags & FOLLOW) !== 0)), to = this.#find(toFd, toPath, toBytes, false);
        this.#absent(to);
        to.directory.node.link(to.name, node);
      },
      path_open: (fd: number, flags: number, path: number, bytes: number, oflags: number, rights: bigint, _inheriting: bigint, fdflags: number, out: number) =>
        m.u32(out, this.#open(this.#find(fd, path, bytes, (flags & FOLLOW) !== 0), oflags, fdflags, rights)),
      path_readlink: (fd: number, path: number, bytes: number, buffer: number, room: number, out: number) => {
        const data = new TextEncoder().encode(present(this.#find(fd, path, bytes, false)).target()).subarray(0, room >>> 0);
        m.at(buffer, data.length).set(data);
        m.u32(out, data.length);
      },
      path_remove_directory: (fd: number, path: number, bytes: number) => { const f = this.#find(fd, path, bytes, false); if (present(f).kind !== 'directory') return ERRNO.NOTDIR; f.directory.node.removeDirectory(named(f)); return 0; },
      path_rename: (fd: number, path: number, bytes: number, toFd: number, toPath: number, toBytes: number) => {
        const from = this.#find(fd, path, bytes, false), to = this.#find(toFd, toPath, toBytes, false);
        present(from);
        from.directory.node.rename(named(from), to.directory.node, named(to));
      },
      path_symlink: (target: number, targetBytes: number, fd: number, path: number, bytes: number) => { const f = this.#find(fd, path, bytes, false); this.#absent(f); f.directory.node.create(f.name, 'symlink', m.string(target, targetBytes)); },
      path_unlink_file: (fd: number, path: number, bytes: number) => { const f = this.#find(fd, path, bytes, false); if (present(f).kind === 'directory') return ERRNO.ISDIR; f.directory.node.unlink(named(f)); return 0; },

      ...socketCalls(this.#kernel, m, fds, () => s.network()),
    };
    return Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, this.#guarded(name, call)]));
  }

  /** Refusals become error numbers. What others asked for meanwhile is done after calls that must not be interrupted. */
  #guarded(name: string, call: Call): Call {
    const { events } = this.#kernel, mayWait = WAITING_CALLS.has(name) || name.startsWith('sock_');
    return (...args) => {
      try {
        const result = (mayWait ? call(...args) : events.critical(() => call(...args))) ?? ERRNO.SUCCESS;
        events.runDeferred();
        return result;
      } catch (error) {
        if (error instanceof FsError) return error.errno;
        if (error instanceof HypercallError) return ERRNO.IO;
        throw error;
      }
    };
  }
  /** Files and disks are not interrupted by work that uses them too (a shutdown); terminals and sockets are. */
  #transfer<T>(d: Descriptor, work: () => T): T { return isStream(d.node) ? work() : this.#kernel.events.critical(work); }

  #now(id: number): bigint {
    if (id === CLOCK.realtime) return this.#kernel.clock.realNs();
    if (id > 3) throw new FsError(ERRNO.INVAL);
    return id === CLOCK.monotonic ? this.#kernel.clock.systemNs() : this.#kernel.clock.uptimeNs();
  }
  #random(at: number, count: number): void {
    const into = this.#memory.at(at, count), part = new Uint8Array(Math.min(into.length, RANDOM_STEP));
    for (let done = 0; done < into.length; done += part.length) {
      this.#kernel.vcpu.randomBytes(part);
      into.set(part.subarray(0, into.length - done), done);
    }
  }

  // ---- files
  #find(fd: number, path: number, bytes: number, followLast: boolean): Found {
    const { place } = this.#fds.get(fd);
    if (!place) throw new FsError(ERRNO.NOTDIR);
    return follow(place, this.#memory.string(path, bytes), followLast);
  }
  #absent(found: Found): void { if (found.node || found.name === '') throw new FsError(ERRNO.EXIST); }
  #open(found: Found, oflags: number, fdflags: number, rights: bigint): number {
    let { node } = found;
    if (node && oflags & OFLAGS.creat && oflags & OFLAGS.excl) throw new FsError(ERRNO.EXIST);
    if (!node) {
      if (!(oflags & OFLAGS.creat)) throw new FsError(ERRNO.NOENT);
      if (oflags & OFLAGS.directory) throw new FsError(ERRNO.INVAL);
      if (found.slashed) throw new FsError(ERRNO.ISDIR);
      node = found.directory.node.create(found.name, 'file');
    }
    if (node.kind === 'symlink') throw new FsError(ERRNO.LOOP);
    if (oflags & OFLAGS.directory && node.kind !== 'directory') throw new FsError(ERRNO.NOTDIR);
    if (node.kind === 'directory' && !(oflags & OFLAGS.directory) && rights & RIGHT.write) throw new FsError(ERRNO.ISDIR);
    if (node.kind === 'file' && rights & RIGHT.write && !node.writable) throw new FsError(ERRNO.ROFS);
    if (oflags & OFLAGS.trunc) { if (node.kind !== 'file') throw new FsError(ERRNO.ISDIR); node.resize(0); }
    const place = node.kind !== 'directory' ? undefined : found.name === '' ? found.directory : { node, above: found.directory };
    return this.#fds.add(node, place, fdflags, undefined, rights);
  }
  #read(d: Descriptor, vectors: number, count: number, position: number, out: number): number {
    if (d.node.kind === 'directory') throw new FsError(ERRNO.ISDIR);
    if (!(d.rights & RIGHT.read)) throw new FsError(ERRNO.BADF);
    const parts = this.#memory.vectors(vectors, count).filter(part => part.length > 0);
    let total = 0;
    if (isStream(d.node) && parts.length > 0) {
      if (d.node instanceof Terminal && d.flags & FDFLAGS.nonblock && !this.#kernel.console.hasInput) throw new FsError(ERRNO.AGAIN);
      // One read over all of them: it may wait, and take an end of input, once.
      const data = parts.length === 1 ? parts[0]! : new Uint8Array(roomOf(parts));
      total = d.node.read(position, data);
      if (parts.length > 1) this.#memory.scatter(parts, data.subarray(0, total));
    } else for (const into of parts) {
      const n = this.#transfer(d, () => d.node.read(position + total, into));
      total += n;
      if (n < into.length) break;
    }
    this.#memory.u32(out, total);
    return total;
  }
  #write(d: Descriptor, vectors: number, count: number, position: number, out: number): number {
    if (d.node.kind === 'directory' || !(d.rights & RIGHT.write)) throw new FsError(ERRNO.BADF);
    let total = 0;
    for (const data of this.#memory.vectors(vectors, count)) {
      if (data.length === 0) continue;
      try {
        const n = this.#transfer(d, () => d.node.write(position + total, data));
        total += n;
        if (n < data.length) break;
      } catch (error) {
        // What went is said; whoever asks again hears why it was not more.
        if (total > 0 && error instanceof FsError) break;
        throw error;
      }
    }
    if (d.flags & (FDFLAGS.sync | FDFLAGS.dsync)) this.#transfer(d, () => d.node.sync());
    this.#memory.u32(out, total);
    return total;
  }
  #seek(d: Descriptor, offset: number, whence: number, out: number): void {
    if (d.node.kind === 'device' || d.node.kind === 'socket') throw new FsError(ERRNO.SPIPE);
    const from = this.#abi.seek[whence], base = from === 'set' ? 0 : from === 'cur' ? d.position : from === 'end' ? d.node.size : -1;
    if (base < 0 || base + offset < 0 || !Number.isSafeInteger(base + offset)) throw new FsError(ERRNO.INVAL);
    d.position = base + offset;
    this.#memory.u64(out, BigInt(d.position));
  }
  #fdstat(d: Descriptor, out: number): void {
    const v = this.#memory.view(out, FDSTAT_BYTES);
    v.setUint32(0, filetypeOf(d.node), true);
    v.setUint16(2, d.flags, true);
    // Seek and tell are what tells a terminal from a file.
    v.setBigUint64(8, d.node.kind === 'device' || d.node.kind === 'socket' ? d.rights & ~0x24n : d.rights, true);
    v.setBigUint64(16, ALL_RIGHTS, true);
  }
  #filestat(node: FileNode, out: number): void {
    const { filestatBytes, links, size } = this.#abi, v = this.#memory.view(out, filestatBytes), t = node.times();
    v.setBigUint64(0, 0n, true);
    v.setBigUint64(8, node.id, true);
    v.setBigUint64(16, BigInt(filetypeOf(node)), true);
    if (links > 20) v.setUint32(links + 4, 0, true);
    v.setUint32(links, node.links(), true);
    v.setBigUint64(size, BigInt(node.size), true);
    [t.accessed, t.modified, t.changed].forEach((time, i) => v.setBigUint64(size + 8 + 8 * i, time, true));
  }
  #setTimes(node: FileNode, accessed: bigint, modified: bigint, flags: number): void {
    const now = this.#kernel.clock.realNs();
    node.setTimes(flags & FSTFLAGS.atimNow ? now : flags & FSTFLAGS.atim ? BigInt.asUintN(64, accessed) : undefined,
      flags & FSTFLAGS.mtimNow ? now : flags & FSTFLAGS.mtim ? BigInt.asUintN(64, modified) : undefined);
  }
  /** Entries as many as fit, the last perhaps in part; a cookie is an index. */
  #readDirectory(d: Descriptor, buffer: number, bytes: number, cookie: number, out: number): void {
    if (cookie === 0 || !d.entries) {
      const dot = { name: '.', id: d.node.id, type: FILETYPE.directory }, above = { name: '..', id: d.place?.above?.node.id ?? d.node.id, type: FILETYPE.directory };
      d.entries = [dot, above, ...d.node.list().map(e => ({ name: e.name, id: e.id, type: FILETYPE[e.kind] }))];
    }
    const into = this.#memory.at(buffer, bytes);
    let used = 0;
    for (let i = cookie; i < d.entries.length && used < into.length; i++) {
      const { name, id, type } = d.entries[i]!, text = new TextEncoder().encode(name), entry = new Uint8Array(DIRENT_BYTES + text.length), v = new DataView(entry.buffer);
      v.setBigUint64(0, BigInt(i + 1), true);
      v.setBigUint64(8, id, true);
      v.setUint32(16, text.length, true);
      v.setUint32(20, type, true);
      entry.set(text, DIRENT_BYTES);
      const part = entry.subarray(0, into.length - used);
      into.set(part, used);
      used += part.length;
    }
    this.#memory.u32(out, used);
  }

  // ---- waiting
  #poll(subscriptions: number, events: number, count: number, out: number): number {
    if (count === 0 || count >>> 0 > SUBSCRIPTIONS_MAX) return ERRNO.INVAL;
    const { clock, console } = this.#kernel, { subscriptionBytes, clockId, timeout: timeoutAt, clockFlags } = this.#abi;
    const list = this.#memory.view(subscriptions, count * subscriptionBytes);
    const asked = Array.from({ length: count }, (_, i) => {
      const at = i * subscriptionBytes, tag = list.getUint8(at + 8), absolute = (list.getUint16(at + clockFlags, true) & ABSTIME) !== 0;
      const fd = list.getUint32(at + 16, true), timeout = list.getBigUint64(at + timeoutAt, true);
      const wait = tag !== EVENT.clock ? 0n : absolute ? timeout - this.#now(list.getUint32(at + clockId, true)) : timeout;
      const deadline = clock.systemNs() + wait;
      if (tag > EVENT.write) throw new FsError(ERRNO.INVAL);
      return { userdata: list.getBigUint64(at, true), tag, fd, deadline: deadline < FOREVER ? deadline : FOREVER };
    });
    const isReady = ({ tag, fd, deadline }: typeof asked[number]): boolean => {
      if (tag === EVENT.clock) return clock.systemNs() >= deadline;
      const node = this.#fds.find(fd)?.node;
      if (node instanceof SocketNode) return tag === EVENT.read ? node.canRead : node.canWrite;
      return tag === EVENT.write || !(node instanceof Terminal) || console.hasInput;
    };
    const deadlines = asked.filter(a => a.tag === EVENT.clock).map(a => a.deadline), first = deadlines.length ? deadlines.reduce((x, y) => x < y ? x : y) : undefined;
    this.#kernel.events.waitFor(() => asked.some(isReady), first);
    const ready = asked.filter(isReady), result = this.#memory.view(events, count * EVENT_BYTES);
    ready.forEach((a, i) => {
      const at = i * EVENT_BYTES;
      for (let word = 0; word < EVENT_BYTES; word += 8) result.setBigUint64(at + word, 0n, true);
      result.setBigUint64(at, a.userdata, true);
      result.setUint8(at + 10, a.tag);
      if (a.tag === EVENT.clock) return;
      const node = this.#fds.find(a.fd)?.node, socket = node instanceof SocketNode ? node : undefined;
      if (!node) result.setUint16(at + 8, ERRNO.BADF, true);
      result.setBigUint64(at + 16, BigInt(Math.max(1, socket?.readableBytes ?? 1)), true);
      if (socket?.hungUp) result.setUint16(at + 24, HANGUP, true);
    });
    this.#memory.u32(out, ready.length);
    return ERRNO.SUCCESS;
  }
}

const isStream = (node: FileNode): boolean => node instanceof Terminal || node instanceof SocketNode;
const filetypeOf = (node: FileNode): number => node instanceof SocketNode && node.type === 'datagram' ? DATAGRAM_FILETYPE : FILETYPE[node.kind];
/** Where to read or write: what the engine gives as a signed number. @throws FsError(INVAL) */
function offsetOf(at: bigint): number {
  if (at < 0n || at > BigInt(Number.MAX_SAFE_INTEGER)) throw new FsError(ERRNO.INVAL);
  return Number(at);
}
/** Of a file; one too large is refused by whoever holds the file. */
const sizeOf = (size: bigint): number => Number(BigInt.asUintN(64, size));
function present(found: Found): FileNode {
  if (!found.node) throw new FsError(ERRNO.NOENT);
  return found.node;
}
/** The name of something in its directory: the directory a path starts from has none. */
function named(found: Found): string {
  if (found.name === '') throw new FsError(ERRNO.INVAL);
  return found.name;
}
