// Who changed what: a file of JSON lines that is only ever added to. Each line carries a hash over itself and the one
// before, so that a line that was taken out or changed shows. What is awaited is on the disk.
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, write, fdatasync } from 'node:fs';
import { promisify } from 'node:util';
import { z } from 'zod';
import { ManagementError } from './errors.ts';

export const auditEntry = z.object({
  seq: z.number().int(), at: z.string().describe('ISO 8601'), who: z.string().describe('token:ID (its name), uid:N on the Unix socket, host'),
  from: z.string().optional().describe('address of a remote caller'),
  what: z.string().describe('method and path, or what the host did by itself'), request: z.string().optional(), body: z.string().optional(),
  of: z.number().int().optional().describe('the entry whose outcome this is'), status: z.number().int().optional(), detail: z.string().optional(),
  chain: z.string(),
}).readonly();
export type AuditEntry = z.infer<typeof auditEntry>;
export type AuditNote = Omit<AuditEntry, 'seq' | 'at' | 'chain'>;

export interface Reading { readonly entries: number; /** Sequence number of the first line that does not follow from the one before. */ readonly brokenAt?: number; /** Of a line that was cut off. */ readonly tornBytes: number }

const writing = promisify(write), syncing = promisify(fdatasync);
const CHAIN_CHARS = 32, CHUNK_BYTES = 1 << 20;
const NONE = '0'.repeat(CHAIN_CHARS);
/** Where every so-many-th entry begins is known, so that a page is found without reading the whole file. */
const INDEX_EVERY = 256;

interface Pending { readonly note: AuditNote; readonly seq: number; readonly at: string; readonly done: (error?: unknown) => void }

export class AuditLog {
  readonly #file: number;
  readonly #nowMs: () => number;
  readonly #index: number[] = [];
  #bytes = 0;
  /** Given out, and written. */
  #lastSeq = 0;
  #chain = NONE;
  #pending: Pending[] = [];
  #flushing: Promise<void> | undefined;

  /** What a killed host left torn is cut off; that is noted. */
  constructor(path: string, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#file = openSync(path, 'a+', 0o600);
    const { tornBytes, brokenAt } = this.#read();
    if (tornBytes > 0) { ftruncateSync(this.#file, this.#bytes); void this.add({ who: 'host', what: 'audit log: a torn line was cut off', detail: `${tornBytes} bytes` }).catch(() => {}); }
    if (brokenAt !== undefined) void this.add({ who: 'host', what: 'audit log: it was changed by other hands', detail: `entry ${brokenAt} does not follow from the one before` }).catch(() => {});
  }

  /** Resolves when it is on the disk. @throws ManagementError 'storage' */
  async add(note: AuditNote): Promise<number> {
    const seq = ++this.#lastSeq;
    await new Promise<void>((resolve, reject) => {
      this.#pending.push({ note, seq, at: new Date(this.#nowMs()).toISOString(), done: error => error === undefined ? resolve() : reject(new ManagementError('storage', 'the audit log cannot be written', { cause: error })) });
      this.#flushing ??= this.#flush().finally(() => { this.#flushing = undefined; });
    });
    return seq;
  }

  /** In order. @param after only entries with a higher number */
  page(after: number, limit: number): AuditEntry[] {
    const found: AuditEntry[] = [];
    for (const line of this.#lines(this.#index[Math.floor(after / INDEX_EVERY)] ?? this.#index.at(-1) ?? 0)) {
      const entry = parsed(line.text);
      if (!entry || entry.seq <= after) continue;
      found.push(entry);
      if (found.length >= limit) break;
    }
    return found;
  }

  async close(): Promise<void> {
    while (this.#flushing) await this.#flushing;
    closeSync(this.#file);
  }

  /** Several that wait are written and synced at once. */
  async #flush(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      let chain = this.#chain, text = '';
      const starts: [seq: number, at: number][] = [];
      for (const { note, seq, at } of batch) {
        const line = sealed({ seq, at, ...note }, chain);
        starts.push([seq, this.#bytes + Buffer.byteLength(text)]);
        chain = line.chain;
        text += `${line.text}\n`;
      }
      try {
        const bytes = Buffer.from(text);
        for (let done = 0; done < bytes.length;) done += await writing(this.#file, bytes, done, bytes.length - done, null).then(r => r.bytesWritten);
        await syncing(this.#file);
        for (const [seq, at] of starts) this.#note(seq, at);
        this.#bytes += bytes.length;
        this.#chain = chain;
        for (const { done } of batch) done();
      } catch (error) {
        // Half of it may be there: the file goes back to what it was.
        try { ftruncateSync(this.#file, this.#bytes); } catch { /* the next start cuts it off */ }
        for (const { done } of batch) done(error);
      }
    }
  }

  #read(): Reading {
    let brokenAt: number | undefined, entries = 0;
    for (const { text, start, end } of this.#lines(0)) {
      const entry = parsed(text);
      entries++;
      if (brokenAt === undefined && (!entry || sealed(entry, this.#chain).text !== text)) brokenAt = entry?.seq ?? this.#lastSeq + 1;
      this.#lastSeq = Math.max(this.#lastSeq, entry?.seq ?? this.#lastSeq + 1);
      this.#note(this.#lastSeq, start);
      this.#chain = entry?.chain ?? NONE;
      this.#bytes = end;
    }
    return { entries, tornBytes: fstatSync(this.#file).size - this.#bytes, ...(brokenAt === undefined ? {} : { brokenAt }) };
  }
  #note(seq: number, at: number): void { this.#index[Math.floor(seq / INDEX_EVERY)] ??= at; }

  /** Whole lines from there on. */
  *#lines(from: number): Generator<{ readonly text: string; readonly start: number; readonly end: number }> {
    let rest = Buffer.alloc(0), at = from;
    for (;;) {
      const chunk = Buffer.alloc(CHUNK_BYTES), length = readSync(this.#file, chunk, 0, CHUNK_BYTES, at + rest.length);
      if (length === 0) return;
      rest = Buffer.concat([rest, chunk.subarray(0, length)]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        yield { text: rest.toString('utf8', 0, end), start: at, end: at + end + 1 };
        rest = rest.subarray(end + 1);
        at += end + 1;
      }
    }
  }
}

function sealed({ chain: _, ...fields }: Omit<AuditEntry, 'chain'> & { readonly chain?: string }, before: string): { readonly text: string; readonly chain: string } {
  const text = JSON.stringify(fields), chain = createHash('sha256').update(before).update(text).digest('hex').slice(0, CHAIN_CHARS);
  return { text: JSON.stringify({ ...fields, chain }), chain };
}

function parsed(text: string): AuditEntry | undefined {
  try { const { success, data } = auditEntry.safeParse(JSON.parse(text)); return success ? data : undefined; } catch { return undefined; }
}
