// The files of an audit log: PATH is written, PATH.0000000123 are older ones, by the number of their first entry.
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { BEGINS, NONE, parsed, sealed } from './audit-entry.ts';

const DIGITS = 12, CHUNK_BYTES = 64 << 10;

export interface AuditFile { readonly path: string; /** Of the file that is written it stands inside. */ readonly firstSeq: number; readonly current: boolean }
export interface Reading {
  readonly entries: number; readonly firstSeq: number; readonly lastSeq: number;
  /** Of the last entry. */
  readonly chain: string;
  /** Number of the first line that does not follow from the one before. */
  readonly brokenAt?: number;
  /** Of whole lines, and of one that was cut off. */
  readonly bytes: number; readonly tornBytes: number;
}
export interface Verdict { readonly files: number; readonly entries: number; readonly firstSeq: number; readonly lastSeq: number; readonly brokenAt?: number; readonly tornBytes: number }

export const olderName = (path: string, firstSeq: number): string => `${path}.${String(firstSeq).padStart(DIGITS, '0')}`;

/** From the oldest to the one that is written. */
export function auditFiles(path: string): AuditFile[] {
  const name = basename(path), older = new RegExp(`^\\.(\\d{${DIGITS}})$`), folder = dirname(path);
  const files = readdirSync(folder).filter(file => file.startsWith(name)).flatMap(file => {
    const match = older.exec(file.slice(name.length));
    return match ? [{ path: join(folder, file), firstSeq: Number(match[1]), current: false }] : file === name ? [{ path, firstSeq: Infinity, current: true }] : [];
  });
  return files.sort((a, b) => a.firstSeq - b.firstSeq);
}

/** Reads all files in order: each line has to follow from the one before, over their ends too. */
export function verifyAudit(path: string): Verdict {
  let before: Reading | undefined, entries = 0, firstSeq = 0, brokenAt: number | undefined;
  const files = auditFiles(path);
  for (const file of files) {
    const reading = verifyFile(file.path, before);
    if (reading.entries === 0) continue;
    entries += reading.entries;
    if (!before) firstSeq = reading.firstSeq;
    brokenAt ??= reading.brokenAt;
    before = reading;
  }
  return { files: files.length, entries, firstSeq, lastSeq: before?.lastSeq ?? 0, tornBytes: before?.tornBytes ?? 0, ...(brokenAt === undefined ? {} : { brokenAt }) };
}

/**
 * @param before what was read of the file before; absent: the first entry may say itself what it follows from
 * @param each told where each entry begins
 */
export function verifyFile(path: string, before?: Pick<Reading, 'lastSeq' | 'chain'>, each?: (seq: number, at: number) => void): Reading {
  let { lastSeq, chain } = before ?? { lastSeq: 0, chain: NONE }, brokenAt: number | undefined, entries = 0, bytes = 0, firstSeq = 0;
  for (const { text, start, end } of linesOf(path, 0)) {
    const entry = parsed(text);
    if (entries === 0 && !before && entry?.what === BEGINS && entry.detail !== undefined) { chain = entry.detail; lastSeq = entry.seq - 1; }
    if (brokenAt === undefined && (!entry || entry.seq !== lastSeq + 1 || sealed(entry, chain).text !== text)) brokenAt = entry?.seq ?? lastSeq + 1;
    lastSeq = Math.max(lastSeq, entry?.seq ?? lastSeq + 1);
    if (entries++ === 0) firstSeq = lastSeq;
    each?.(lastSeq, start);
    chain = entry?.chain ?? NONE;
    bytes = end;
  }
  return { entries, firstSeq, lastSeq, chain, bytes, tornBytes: sizeOf(path) - bytes, ...(brokenAt === undefined ? {} : { brokenAt }) };
}

/** Whole lines from there on. */
export function* linesOf(path: string, from: number): Generator<{ readonly text: string; readonly start: number; readonly end: number }> {
  const file = openSync(path, 'r');
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let rest = Buffer.alloc(0), at = from;
    for (;;) {
      const length = readSync(file, chunk, 0, CHUNK_BYTES, at + rest.length);
      if (length === 0) return;
      rest = Buffer.concat([rest, chunk.subarray(0, length)]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        yield { text: rest.toString('utf8', 0, end), start: at, end: at + end + 1 };
        rest = rest.subarray(end + 1);
        at += end + 1;
      }
    }
  } finally { closeSync(file); }
}

function sizeOf(path: string): number {
  const file = openSync(path, 'r');
  try { return fstatSync(file).size; } finally { closeSync(file); }
}
