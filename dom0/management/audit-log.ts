// Who changed what: files of JSON lines that are only ever added to. Each line carries a hash over itself and the one
// before, so that a line that was taken out or changed shows. What is awaited is on the disk.
// A file that is full is set aside under the number of its first entry; the next one begins with an entry that has the
// hash it follows from, so that the chain goes on, and can be checked when the oldest file has been removed.
import { closeSync, constants, fsyncSync, ftruncateSync, openSync, renameSync, rmSync, write } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { BEGINS, NONE, parsed, sealed, type AuditEntry, type AuditNote } from './audit-entry.ts';
import { auditFiles, linesOf, olderName, verifyFile } from './audit-files.ts';
import { ManagementError } from './errors.ts';

export interface AuditLimits { /** When a file is set aside. */ readonly fileBytes: number; /** Older files that are kept. */ readonly keptFiles: number }

const LIMITS: AuditLimits = { fileBytes: 4 << 20, keptFiles: 15 };
/** A write returns when it is on the disk: one way to a thread of the pool and back, where a write and fdatasync are two. */
const FLAGS = constants.O_CREAT | constants.O_APPEND | constants.O_RDWR | constants.O_DSYNC;
const writing = promisify(write);
/** Where every so-many-th entry begins is known, so that a page is found without reading the whole file. */
const INDEX_EVERY = 256;

interface Pending { readonly note: AuditNote; readonly at: string; readonly done: (seq: number) => void; readonly failed: (error: unknown) => void }

export class AuditLog {
  readonly #path: string;
  readonly #limits: AuditLimits;
  readonly #nowMs: () => number;
  #file: number;
  /** Of the file that is written. */
  #index = new Map<number, number>();
  #firstSeq = 1;
  #bytes = 0;
  #lastSeq = 0;
  #chain = NONE;
  #pending: Pending[] = [];
  #flushing: Promise<void> | undefined;
  #newest: Promise<number> = Promise.resolve(0);

  /** What a killed host left torn is cut off; that is noted. */
  constructor(path: string, nowMs: () => number, limits: AuditLimits = LIMITS) {
    this.#path = path;
    this.#nowMs = nowMs;
    this.#limits = limits;
    this.#file = openSync(path, FLAGS, 0o600);
    this.#read();
  }

  /** Resolves with its number when it is on the disk. @throws ManagementError 'storage' */
  add(note: AuditNote): Promise<number> {
    return this.#newest = new Promise<number>((done, reject) => {
      this.#pending.push({ note, at: this.#now(), done, failed: error => reject(new ManagementError('storage', 'the audit log cannot be written', { cause: error })) });
      this.#flushing ??= this.#flush();
    });
  }

  /** Resolves when all that was added before is on the disk, or has failed. */
  async settled(): Promise<void> { await this.#newest.catch(() => {}); }

  /** What is on the disk, in order. @param after only entries with a higher number */
  page(after: number, limit: number): AuditEntry[] {
    const found: AuditEntry[] = [], files = after < this.#lastSeq ? auditFiles(this.#path) : [];
    for (const [i, { path, current }] of files.entries()) {
      if (!current && (files[i + 1]?.firstSeq ?? this.#firstSeq) <= after + 1) continue;
      for (const { text } of linesOf(path, current ? this.#index.get(Math.floor(after / INDEX_EVERY)) ?? 0 : 0)) {
        const entry = parsed(text);
        if (!entry || entry.seq <= after) continue;
        found.push(entry);
        if (found.length >= limit) return found;
      }
    }
    return found;
  }

  async close(): Promise<void> {
    while (this.#flushing) await this.#flushing;
    closeSync(this.#file);
  }

  /** Several that wait are written and synced at once. */
  async #flush(): Promise<void> {
    // Those who ask in the same turn come along.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      try {
        if (this.#bytes >= this.#limits.fileBytes) await this.#setAside();
        const first = await this.#write(batch);
        batch.forEach(({ done }, i) => done(first + i));
      } catch (error) {
        // Half of it may be there: the file goes back to what it was.
        try { ftruncateSync(this.#file, this.#bytes); } catch { /* the next start cuts it off */ }
        for (const { failed } of batch) failed(error);
      }
    }
    // In the same turn as the last look: who is told may add the next one at once.
    this.#flushing = undefined;
  }

  /** @returns the number of the first */
  async #write(batch: readonly Pick<Pending, 'note' | 'at'>[]): Promise<number> {
    const first = this.#lastSeq + 1, starts: number[] = [];
    let chain = this.#chain, text = '';
    for (const [i, { note, at }] of batch.entries()) {
      const line = sealed({ seq: first + i, at, ...note }, chain);
      starts.push(this.#bytes + Buffer.byteLength(text));
      chain = line.chain;
      text += `${line.text}\n`;
    }
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length;) done += await writing(this.#file, bytes, done, bytes.length - done, null).then(r => r.bytesWritten);
    starts.forEach((at, i) => this.#remember(first + i, at));
    this.#bytes += bytes.length;
    this.#chain = chain;
    this.#lastSeq += batch.length;
    return first;
  }

  /** The file gets another name; what follows goes into a new one. */
  async #setAside(): Promise<void> {
    const full = this.#file;
    renameSync(this.#path, olderName(this.#path, this.#firstSeq));
    this.#file = openSync(this.#path, FLAGS, 0o600);
    closeSync(full);
    syncFolder(dirname(this.#path));
    this.#index = new Map();
    this.#firstSeq = this.#lastSeq + 1;
    this.#bytes = 0;
    await this.#write([{ note: { who: 'host', what: BEGINS, detail: this.#chain }, at: this.#now() }]);
    for (const old of auditFiles(this.#path).filter(file => !file.current).slice(0, -this.#limits.keptFiles)) rmSync(old.path, { force: true });
  }

  #read(): void {
    const read = verifyFile(this.#path, undefined, (seq, at) => this.#remember(seq, at)), { bytes, tornBytes, brokenAt } = read;
    if (tornBytes > 0) ftruncateSync(this.#file, bytes);
    // A host that was killed while it set a file aside left an empty one, or none.
    const before = read.entries === 0 ? auditFiles(this.#path).findLast(file => !file.current) : undefined, { lastSeq, chain } = before ? verifyFile(before.path) : read;
    this.#firstSeq = read.entries === 0 ? lastSeq + 1 : read.firstSeq;
    this.#lastSeq = lastSeq;
    this.#chain = chain;
    this.#bytes = bytes;
    if (before) this.#note({ who: 'host', what: BEGINS, detail: chain });
    if (tornBytes > 0) this.#note({ who: 'host', what: 'audit log: a torn line was cut off', detail: `${tornBytes} bytes` });
    if (brokenAt !== undefined) this.#note({ who: 'host', what: 'audit log: it was changed by other hands', detail: `entry ${brokenAt} does not follow from the one before` });
  }
  #note(note: AuditNote): void { void this.add(note).catch(() => {}); }
  #now(): string { return new Date(this.#nowMs()).toISOString(); }
  #remember(seq: number, at: number): void { const group = Math.floor(seq / INDEX_EVERY); if (!this.#index.has(group)) this.#index.set(group, at); }
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try { fsyncSync(folder); } finally { closeSync(folder); }
}
