// /v1/files: kernels, ramdisks and images that the host knows of.
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { DomainConfig } from '../toolstack/config/schema.ts';
import { CONTRACT } from './contract.ts';
import type { HostFile } from './devices-contract.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

/** Folders below the roots that are looked into, and files that are listed: a listing ends somewhere. */
const MAX_DEPTH = 3, MAX_FILES = 1000;
const BZIMAGE_MAGIC_AT = 0x202, HEAD_BYTES = 1024;
/** First bytes of archives that kernels unpack: cpio, gzip, xz, zstd, bzip2. */
const RAMDISKS = [Buffer.from('0707'), Buffer.from([0x1f, 0x8b]), Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a]), Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), Buffer.from('BZh')];

type Kind = HostFile['kind'];

export function fileRoutes(api: FastifyInstance, { toolstack, management: { definitions, roots } }: ApiContext): void {
  serve(api, CONTRACT.files, async ({ query: { kind }, request: { caller } }) => {
    const running = (await toolstack.list()).filter(d => d.domid !== 0).flatMap(d => { try { return [toolstack.config(d.domid)]; } catch { return []; } });
    const found = usedFiles([...running, ...definitions.list().map(d => d.config)]);
    for (const folder of roots.folders) for (const path of await filesBelow(folder)) if (!found.has(path) && found.size < MAX_FILES) found.set(path, { users: new Set() });
    const views = await Promise.all([...found].map(([path, use]) => viewOf(path, use)));
    const visible = await Promise.all(views.map(async view => view && (!caller.remote || await roots.file(view.path).then(() => true, () => false)) ? [view] : []));
    return visible.flat().filter(view => kind === undefined || view.kind === kind).sort((a, b) => a.path < b.path ? -1 : 1);
  });
}

interface Use { readonly kind?: Kind; readonly users: Set<string> }

function usedFiles(configs: readonly DomainConfig[]): Map<string, Use> {
  const found = new Map<string, Use>();
  const add = (path: string | undefined, user: string, kind?: Kind): void => {
    if (!path) return;
    const use = found.get(path) ?? { users: new Set<string>(), ...(kind ? { kind } : {}) };
    use.users.add(user);
    found.set(path, use);
  };
  for (const { name, kernel, ramdisk, disks } of configs) {
    add(kernel, name);
    add(ramdisk, name, 'ramdisk');
    for (const disk of disks) add(disk.target, name, 'disk');
  }
  return found;
}

async function viewOf(path: string, { kind, users }: Use): Promise<HostFile | undefined> {
  try {
    const info = await stat(path);
    if (!info.isFile() && !info.isBlockDevice()) return undefined;
    return { path, kind: kind ?? await kindOf(path, `${info.dev} ${info.ino} ${info.size} ${info.mtimeMs} ${info.ctimeMs}`), sizeBytes: info.size, usedBy: [...users].sort() };
  } catch { return undefined; }
}

/** What files were found to be, as long as they stay the same: by path, with what stat told. */
const kinds = new Map<string, { readonly stamp: string; readonly kind: Kind }>();

async function kindOf(path: string, stamp: string): Promise<Kind> {
  const known = kinds.get(path);
  if (known?.stamp === stamp) return known.kind;
  const kind = await readKind(path);
  if (kinds.size >= MAX_FILES) kinds.clear();
  kinds.set(path, { stamp, kind });
  return kind;
}

async function readKind(path: string): Promise<Kind> {
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    await file.read(head, 0, HEAD_BYTES, 0);
    if (head.subarray(0, 4).equals(Buffer.from('\0asm'))) return 'program';
    if (head.subarray(0, 4).equals(Buffer.from('\x7fELF')) || head.toString('latin1', BZIMAGE_MAGIC_AT, BZIMAGE_MAGIC_AT + 4) === 'HdrS') return 'kernel';
    return RAMDISKS.some(magic => head.subarray(0, magic.length).equals(magic)) ? 'ramdisk' : 'disk';
  } finally { await file.close(); }
}

/** Links are not followed. */
async function filesBelow(folder: string, depth = MAX_DEPTH): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []), found: string[] = [];
  for (const entry of entries) {
    if (found.length >= MAX_FILES) break;
    if (entry.isFile()) found.push(join(folder, entry.name));
    else if (entry.isDirectory() && depth > 1) found.push(...await filesBelow(join(folder, entry.name), depth - 1));
  }
  return found;
}
