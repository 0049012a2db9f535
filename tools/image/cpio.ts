// Writing cpio archives in the "newc" form that Linux unpacks as an initramfs. Archives may be put one after another
// (each is padded to 512 bytes).
const S_IFDIR = 0o040000, S_IFREG = 0o100000, S_IFLNK = 0o120000, S_IFCHR = 0o020000;
const ALIGN = 512;

export class Cpio {
  private readonly parts: Uint8Array[] = [];
  private length = 0;
  private inode = 1;
  private readonly made = new Set<string>();

  /** Adds a directory and the ones above it, once. */
  directory(path: string, mode = 0o755): this {
    if (path === '' || this.made.has(path)) return this;
    this.parents(path);
    this.made.add(path);
    return this.entry(path, S_IFDIR | mode, new Uint8Array(), 2);
  }

  file(path: string, data: Uint8Array | string, mode = 0o644): this {
    this.parents(path);
    return this.entry(path, S_IFREG | mode, typeof data === 'string' ? Buffer.from(data, 'utf8') : data);
  }

  symlink(path: string, target: string): this {
    this.parents(path);
    return this.entry(path, S_IFLNK | 0o777, Buffer.from(target, 'utf8'));
  }

  charDevice(path: string, major: number, minor: number, mode = 0o600): this {
    this.parents(path);
    return this.entry(path, S_IFCHR | mode, new Uint8Array(), 1, major, minor);
  }

  /** The archive with its trailer. */
  finish(): Uint8Array {
    this.header('TRAILER!!!', 0, 0, 1, 0, 0, 0);
    this.pad(ALIGN);
    const out = new Uint8Array(this.length);
    let at = 0;
    for (const p of this.parts) { out.set(p, at); at += p.length; }
    return out;
  }

  private parents(path: string): void {
    const slash = path.lastIndexOf('/');
    if (slash > 0) this.directory(path.slice(0, slash));
  }

  private entry(path: string, mode: number, data: Uint8Array, links = 1, major = 0, minor = 0): this {
    this.header(path, mode, data.length, links, this.inode++, major, minor);
    this.push(data);
    this.pad(4);
    return this;
  }

  private header(path: string, mode: number, size: number, links: number, inode: number, major: number, minor: number): void {
    const name = Buffer.from(`${path}\0`, 'utf8');
    const fields = [inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name.length, 0];
    this.push(Buffer.from(`070701${fields.map((f) => f.toString(16).padStart(8, '0')).join('')}`, 'latin1'));
    this.push(name);
    this.pad(4);
  }

  private push(bytes: Uint8Array): void {
    this.parts.push(bytes);
    this.length += bytes.length;
  }

  private pad(to: number): void {
    const n = (to - this.length % to) % to;
    if (n > 0) this.push(new Uint8Array(n));
  }
}
