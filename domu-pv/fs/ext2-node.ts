// Files, directories and symbolic links on ext2. A directory is a list of entries, each as long as up to the next.
import { ERRNO } from '../wasi/errno.ts';
import {
  ENTRY, ENTRY_TYPE, entryBytes, FAST_SYMLINK_BYTES, FLAG_INDEX, INODE, MODE_DIRECTORY, MODE_FILE, MODE_KIND, MODE_SYMLINK, ROOT_INODE,
} from './ext2-layout.ts';
import type { Ext2 } from './ext2.ts';
import { FileNode, FsError, type Entry, type NodeKind, type Times } from './node.ts';

const NS = 1_000_000_000n, NAME_MAX = 255, LINKS_MAX = 32000;
const KIND: Readonly<Record<number, NodeKind>> = { [MODE_DIRECTORY]: 'directory', [MODE_FILE]: 'file', [MODE_SYMLINK]: 'symlink' };
const MODE: Readonly<Record<'file' | 'directory' | 'symlink', number>> = { file: MODE_FILE | 0o644, directory: MODE_DIRECTORY | 0o755, symlink: MODE_SYMLINK | 0o777 };
const encoder = new TextEncoder(), decoder = new TextDecoder();

/** Nodes of one file system, one object for each inode in use. */
export class Ext2Nodes {
  readonly fs: Ext2;
  readonly #nodes = new Map<number, WeakRef<Ext2Node>>();
  constructor(fs: Ext2) { this.fs = fs; }
  get root(): Ext2Node { return this.node(ROOT_INODE); }
  node(inode: number): Ext2Node {
    const known = this.#nodes.get(inode)?.deref();
    if (known) return known;
    const kind = KIND[this.fs.get(inode, INODE.mode) & MODE_KIND];
    const node = new Ext2Node(this, inode, kind ?? 'device');
    this.#nodes.set(inode, new WeakRef(node));
    return node;
  }
  forget(inode: number): void { this.#nodes.delete(inode); }
  /** What is gone but still open goes: nobody reads it any more. */
  unmount(): void {
    for (const ref of [...this.#nodes.values()]) ref.deref()?.abandon();
    this.fs.unmount();
  }
}

interface Place { readonly block: number; readonly at: number; readonly before: number; readonly inode: number; readonly length: number; readonly name: string; readonly type: number }

export class Ext2Node extends FileNode {
  readonly kind: NodeKind;
  readonly inode: number;
  readonly #nodes: Ext2Nodes; readonly #fs: Ext2;
  #users = 0;
  constructor(nodes: Ext2Nodes, inode: number, kind: NodeKind) { super(); this.#nodes = nodes; this.#fs = nodes.fs; this.inode = inode; this.kind = kind; }

  get id(): bigint { return BigInt(this.inode); }
  get size(): number { return this.kind === 'device' ? 0 : this.#fs.size(this.inode); }
  override get writable(): boolean { return !this.#fs.readOnly; }
  override links(): number { return this.#fs.get(this.inode, INODE.links); }
  override times(): Times {
    const time = (field: number): bigint => BigInt(this.#fs.get(this.inode, field)) * NS;
    return { accessed: time(INODE.accessed), modified: time(INODE.modified), changed: time(INODE.changed) };
  }
  override setTimes(accessed: bigint | undefined, modified: bigint | undefined): void {
    this.#mustWrite();
    for (const [field, ns] of [[INODE.accessed, accessed], [INODE.modified, modified]] as const) if (ns !== undefined) this.#fs.set(this.inode, field, Number(ns / NS & 0xffff_ffffn));
    this.#touch(INODE.changed);
  }
  override sync(): void { this.#fs.sync(); }
  override opened(): void { this.#users++; }
  override closed(): void { this.#users--; this.#dropIfGone(); }
  /** Its users have ended, without closing it. */
  abandon(): void { if (this.#users > 0) { this.#users = 0; this.#dropIfGone(); } }
  #mustWrite(): void { if (this.#fs.readOnly) throw new FsError(ERRNO.ROFS); }
  #touch(...fields: number[]): void { const now = this.#fs.nowSec(); for (const f of fields) this.#fs.set(this.inode, f, now); }

  // ---- files
  override read(position: number, into: Uint8Array): number {
    if (this.kind === 'directory') throw new FsError(ERRNO.ISDIR);
    const fs = this.#fs, { blockBytes } = fs, total = Math.max(0, Math.min(into.length, this.size - position));
    for (let done = 0; done < total;) {
      const at = position + done, n = Math.floor(at / blockBytes), within = at % blockBytes, block = fs.blockOf(this.inode, n, false);
      if (within === 0 && total - done >= 2 * blockBytes && block !== 0) {
        let count = 1;
        while ((count + 1) * blockBytes <= total - done && fs.blockOf(this.inode, n + count, false) === block + count) count++;
        fs.cache.readRun(block, count, into.subarray(done, done + count * blockBytes));
        done += count * blockBytes;
        continue;
      }
      const count = Math.min(blockBytes - within, total - done);
      if (block === 0) into.fill(0, done, done + count); else into.set(fs.cache.block(block).subarray(within, within + count), done);
      done += count;
    }
    return total;
  }
  override write(position: number, data: Uint8Array): number {
    this.#mustWrite();
    if (this.kind !== 'file') throw new FsError(ERRNO.ISDIR);
    const fs = this.#fs, oldBlocks = Math.ceil(this.size / fs.blockBytes);
    let done = 0;
    const grown = (): void => { if (done > 0 && position + done > this.size) fs.setSize(this.inode, position + done); };
    try {
      while (done < data.length) done += this.#put(position + done, data.subarray(done), oldBlocks);
      grown();
    } catch (error) {
      // The file is as long as what fitted; blocks taken for the rest are free again.
      grown();
      fs.truncateBlocks(this.inode, Math.ceil(this.size / fs.blockBytes));
      if (done === 0 || !(error instanceof FsError && error.errno === ERRNO.NOSPC)) throw error;
    }
    this.#touch(INODE.modified, INODE.changed);
    return done;
  }
  /** Writes up to the end of a block, or blocks that lie behind each other. @param oldBlocks that the file had before: others hold nothing yet @returns bytes written @throws FsError(NOSPC) */
  #put(position: number, data: Uint8Array, oldBlocks: number): number {
    const fs = this.#fs, { blockBytes } = fs, n = Math.floor(position / blockBytes), within = position % blockBytes, count = Math.min(blockBytes - within, data.length);
    const hadBlock = n < oldBlocks && fs.blockOf(this.inode, n, false) !== 0, block = fs.blockOf(this.inode, n, true);
    if (within === 0 && data.length >= 4 * blockBytes) {
      let run = 1;
      while ((run + 1) * blockBytes <= data.length && this.#blockIfRoom(n + run) === block + run) run++;
      fs.cache.writeRun(block, data.subarray(0, run * blockBytes));
      return run * blockBytes;
    }
    const bytes = hadBlock && count < blockBytes ? fs.cache.block(block) : fs.cache.fresh(block);
    bytes.set(data.subarray(0, count), within);
    fs.cache.dirty(block);
    return count;
  }
  #blockIfRoom(n: number): number {
    try { return this.#fs.blockOf(this.inode, n, true); } catch (error) { if (error instanceof FsError && error.errno === ERRNO.NOSPC) return 0; throw error; }
  }
  override resize(size: number): void {
    this.#mustWrite();
    if (this.kind !== 'file') throw new FsError(this.kind === 'directory' ? ERRNO.ISDIR : ERRNO.INVAL);
    const fs = this.#fs, { blockBytes } = fs, kept = Math.ceil(size / blockBytes);
    if (size < this.size) {
      fs.truncateBlocks(this.inode, kept);
      const last = size % blockBytes === 0 ? 0 : fs.blockOf(this.inode, kept - 1, false);
      if (last !== 0) { fs.cache.block(last).fill(0, size % blockBytes); fs.cache.dirty(last); }
    }
    fs.setSize(this.inode, size);
    this.#touch(INODE.modified, INODE.changed);
  }
  override target(): string {
    if (this.kind !== 'symlink') throw new FsError(ERRNO.INVAL);
    const { size } = this;
    if (size > this.#fs.blockBytes) throw new FsError(ERRNO.IO);
    const data = new Uint8Array(size);
    if (size < FAST_SYMLINK_BYTES && this.#fs.get(this.inode, INODE.sectors) === 0) data.set(this.#fs.inlineBytes(this.inode).subarray(0, size)); else this.read(0, data);
    return decoder.decode(data);
  }
  #setTarget(target: string): void {
    const data = encoder.encode(target), fs = this.#fs;
    if (data.length >= fs.blockBytes) throw new FsError(ERRNO.NAMETOOLONG);
    if (data.length < FAST_SYMLINK_BYTES) { fs.inlineBytes(this.inode).set(data); fs.inlineChanged(this.inode); } else {
      const block = fs.blockOf(this.inode, 0, true);
      fs.cache.fresh(block).set(data);
    }
    fs.setSize(this.inode, data.length);
  }

  // ---- directories
  /** Entries in order; those of unused space have inode 0. */
  * #entries(): Generator<Place> {
    if (this.kind !== 'directory') throw new FsError(ERRNO.NOTDIR);
    const fs = this.#fs, { blockBytes } = fs;
    for (let n = 0; n * blockBytes < this.size; n++) {
      const block = fs.blockOf(this.inode, n, false);
      if (block === 0) continue;
      for (let at = 0, before = -1; at < blockBytes;) {
        const v = fs.cache.view(block), length = v.getUint16(at + ENTRY.length, true) || blockBytes, nameLength = v.getUint8(at + ENTRY.nameLength);
        if (length < ENTRY.name || at + length > blockBytes || ENTRY.name + nameLength > length) throw new FsError(ERRNO.IO);
        const name = decoder.decode(fs.cache.block(block).subarray(at + ENTRY.name, at + ENTRY.name + nameLength));
        yield { block, at, before, inode: v.getUint32(at + ENTRY.inode, true), length, name, type: v.getUint8(at + ENTRY.type) };
        before = at;
        at += length;
      }
    }
  }
  #entry(name: string): Place | undefined { for (const e of this.#entries()) if (e.inode !== 0 && e.name === name) return e; return undefined; }
  override lookup(name: string): FileNode | undefined { const e = this.#entry(name); return e && this.#nodes.node(e.inode); }
  override list(): Entry[] {
    return [...this.#entries()].filter(e => e.inode !== 0 && e.name !== '.' && e.name !== '..')
      .map(e => ({ name: e.name, id: BigInt(e.inode), kind: this.#nodes.node(e.inode).kind }));
  }
  #add(name: string, inode: number, kind: NodeKind): void {
    const fs = this.#fs, text = encoder.encode(name), wanted = entryBytes(text.length);
    if (text.length > NAME_MAX) throw new FsError(ERRNO.NAMETOOLONG);
    // Removed, but open.
    if (this.links() === 0) throw new FsError(ERRNO.NOENT);
    const put = (block: number, at: number, length: number): void => {
      const v = fs.cache.view(block);
      v.setUint32(at + ENTRY.inode, inode, true);
      v.setUint16(at + ENTRY.length, length, true);
      v.setUint8(at + ENTRY.nameLength, text.length);
      v.setUint8(at + ENTRY.type, fs.hasTypes && kind !== 'device' && kind !== 'socket' ? ENTRY_TYPE[kind] : 0);
      fs.cache.block(block).set(text, at + ENTRY.name);
      fs.cache.dirty(block);
    };
    this.#becomesList();
    this.#touch(INODE.modified, INODE.changed);
    for (const e of this.#entries()) {
      const used = e.inode === 0 ? 0 : entryBytes(encoder.encode(e.name).length);
      if (e.length - used < wanted) continue;
      if (used > 0) fs.cache.view(e.block).setUint16(e.at + ENTRY.length, used, true);
      put(e.block, e.at + used, e.length - used);
      return;
    }
    const n = this.size / fs.blockBytes, block = fs.blockOf(this.inode, n, true);
    fs.cache.fresh(block);
    fs.setSize(this.inode, (n + 1) * fs.blockBytes);
    put(block, 0, fs.blockBytes);
  }
  #becomesList(): void {
    const flags = this.#fs.get(this.inode, INODE.flags);
    if (flags & FLAG_INDEX) this.#fs.set(this.inode, INODE.flags, flags & ~FLAG_INDEX);
  }
  #remove(e: Place): void {
    const { cache } = this.#fs, v = cache.view(e.block);
    this.#becomesList();
    if (e.before >= 0) v.setUint16(e.before + ENTRY.length, v.getUint16(e.before + ENTRY.length, true) + e.length, true);
    else v.setUint32(e.at + ENTRY.inode, 0, true);
    cache.dirty(e.block);
    this.#touch(INODE.modified, INODE.changed);
  }
  #count(by: number): void { this.#fs.set(this.inode, INODE.links, this.links() + by); this.#touch(INODE.changed); }
  #dropIfGone(): void {
    if (this.#users > 0 || this.links() > 0 || this.#fs.readOnly) return;
    if (this.kind !== 'symlink' || this.#fs.get(this.inode, INODE.sectors) > 0) this.#fs.truncateBlocks(this.inode, 0);
    this.#fs.freeInode(this.inode, this.kind === 'directory');
    this.#nodes.forget(this.inode);
  }

  override create(name: string, kind: 'file' | 'directory' | 'symlink', target = ''): FileNode {
    this.#mustWrite();
    if (this.kind !== 'directory') throw new FsError(ERRNO.NOTDIR);
    if (encoder.encode(name).length > NAME_MAX) throw new FsError(ERRNO.NAMETOOLONG);
    const inode = this.#fs.allocateInode(this.inode, MODE[kind], kind === 'directory'), node = this.#nodes.node(inode);
    node.#count(1);
    try {
      if (kind === 'symlink') node.#setTarget(target);
      if (kind === 'directory') { node.#add('.', inode, 'directory'); node.#count(1); node.#add('..', this.inode, 'directory'); }
      this.#add(name, inode, kind);
      if (kind === 'directory') this.#count(1);
    } catch (error) { this.#fs.set(inode, INODE.links, 0); node.#dropIfGone(); throw error; }
    return node;
  }
  override link(name: string, node: FileNode): void {
    this.#mustWrite();
    if (!(node instanceof Ext2Node) || node.#fs !== this.#fs) throw new FsError(ERRNO.XDEV);
    if (node.kind === 'directory') throw new FsError(ERRNO.PERM);
    if (node.links() >= LINKS_MAX) throw new FsError(ERRNO.MLINK);
    this.#add(name, node.inode, node.kind);
    node.#count(1);
  }
  override unlink(name: string): void {
    this.#mustWrite();
    const e = this.#entry(name);
    if (!e) throw new FsError(ERRNO.NOENT);
    const node = this.#nodes.node(e.inode);
    this.#remove(e);
    node.#count(-1);
    node.#dropIfGone();
  }
  override removeDirectory(name: string): void {
    this.#mustWrite();
    const e = this.#entry(name);
    if (!e) throw new FsError(ERRNO.NOENT);
    const node = this.#nodes.node(e.inode);
    if (node.list().length > 0) throw new FsError(ERRNO.NOTEMPTY);
    this.#remove(e);
    this.#fs.set(node.inode, INODE.links, 0);
    this.#count(-1);
    node.#dropIfGone();
  }
  override rename(name: string, to: FileNode, toName: string): void {
    this.#mustWrite();
    if (!(to instanceof Ext2Node) || to.#fs !== this.#fs) throw new FsError(ERRNO.XDEV);
    const from = this.#entry(name), there = to.#entry(toName);
    if (!from) throw new FsError(ERRNO.NOENT);
    const node = this.#nodes.node(from.inode), isDirectory = node.kind === 'directory';
    if (there?.inode === from.inode) return;
    if (isDirectory) for (let up: Ext2Node | undefined = to; up; up = up.inode === ROOT_INODE ? undefined : up.#parent()) if (up === node) throw new FsError(ERRNO.INVAL);
    if (there) {
      const old = this.#nodes.node(there.inode);
      if (old.kind === 'directory' && !isDirectory) throw new FsError(ERRNO.ISDIR);
      if (old.kind !== 'directory' && isDirectory) throw new FsError(ERRNO.NOTDIR);
      if (isDirectory) to.removeDirectory(toName); else to.unlink(toName);
    }
    to.#add(toName, node.inode, node.kind);
    this.#remove(this.#entry(name)!);
    if (!isDirectory || to === this) return;
    const up = node.#entry('..');
    if (up) { this.#fs.cache.view(up.block).setUint32(up.at + ENTRY.inode, to.inode, true); this.#fs.cache.dirty(up.block); }
    this.#count(-1);
    to.#count(1);
  }
  #parent(): Ext2Node | undefined { const up = this.#entry('..'); return up && this.#nodes.node(up.inode); }
}
