// Reading tar archives from memory: ustar, GNU long names, pax paths. Contents are views, nothing is copied.
import { ImageError } from './image-error.ts';

export interface TarEntry {
  /** Path without a leading "./" or "/". */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'other';
  readonly mode: number;
  readonly link: string;
  readonly data: Uint8Array;
}

const BLOCK = 512;
const TYPES: Record<string, TarEntry['type']> = { '0': 'file', '\0': 'file', '7': 'file', '1': 'hardlink', '2': 'symlink', '5': 'directory' };

const text = (b: Uint8Array): string => {
  const end = b.indexOf(0);
  return Buffer.from(end < 0 ? b : b.subarray(0, end)).toString('utf8');
};

function octal(field: Uint8Array): number {
  // GNU: large numbers in binary, marked by the top bit.
  if (field[0]! & 0x80) return Number(field.subarray(1).reduce((n, b) => n << 8n | BigInt(b), 0n));
  const n = parseInt(text(field).trim() || '0', 8);
  return Number.isFinite(n) ? n : -1;
}

/** "length key=value\n" records. */
function paxPath(data: Uint8Array): { path?: string; link?: string } {
  const found: { path?: string; link?: string } = {};
  for (const m of Buffer.from(data).toString('utf8').matchAll(/\d+ (path|linkpath)=([^\n]*)\n/g)) found[m[1] === 'path' ? 'path' : 'link'] = m[2]!;
  return found;
}

const clean = (path: string): string => path.replace(/^(\.?\/)+/, '').replace(/\/+$/, '');

/** @throws ImageError where the archive is damaged */
export function* readTar(archive: Uint8Array): Generator<TarEntry> {
  let path: string | undefined, link: string | undefined;
  for (let at = 0; at + BLOCK <= archive.length;) {
    const h = archive.subarray(at, at + BLOCK);
    if (h.every((b) => b === 0)) return;
    const size = octal(h.subarray(124, 136));
    const type = String.fromCharCode(h[156]!);
    at += BLOCK;
    if (size < 0 || size > archive.length - at) throw new ImageError('a tar archive inside the package is damaged');
    const data = archive.subarray(at, at + size);
    at += Math.ceil(size / BLOCK) * BLOCK;
    if (type === 'L') { path = text(data); continue; }
    if (type === 'K') { link = text(data); continue; }
    if (type === 'x') { const p = paxPath(data); path = p.path ?? path; link = p.link ?? link; continue; }
    if (type === 'g') continue;
    const prefix = text(h.subarray(257, 262)) === 'ustar' && h[262] === 0 ? text(h.subarray(345, 500)) : '';
    const short = text(h.subarray(0, 100));
    yield {
      path: clean(path ?? (prefix === '' ? short : `${prefix}/${short}`)), type: TYPES[type] ?? 'other',
      mode: octal(h.subarray(100, 108)) & 0o7777, link: link ?? text(h.subarray(157, 257)), data,
    };
    path = link = undefined;
  }
}
