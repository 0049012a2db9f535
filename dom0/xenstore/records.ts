// What xenstore notes of itself, record by record, and how the state is put together again from them. Connections of
// sockets are not among it: they end with the thread.
import type { Handover } from '../../hypervisor/public/handover.ts';
import { Journal, type JournalRecord } from '../handover/journal.ts';
import type { Connection } from './connection.ts';
import type { Daemon } from './daemon.ts';
import { formatPermissions, parsePermissions, type Permissions } from './permissions.ts';
import { walkBelow, type Mutation } from './store.ts';
import type { Watch } from './watches.ts';

/** Of a domain's ring: the streams' positions and what is between the ends. */
export interface RingState {
  readonly requestBytes: number; /** Of a message received in part. */ readonly partial: Uint8Array;
  readonly replyBytes: number; /** Queued behind that position. */ readonly unsent: Uint8Array;
}
export interface DomainState {
  /** The guest's port, and the frame of the ring in the domain's memory. */
  port: number; frame: number; shutdown: boolean; target: number | undefined;
  watches: { path: string; token: string; relative: boolean; depth: number | undefined }[];
  transactions: Set<number>;
  ring: { requestBytes: number; partial: Buffer; replyBytes: number; queued: Buffer[] };
}
/** A domain as the daemon has it now. */
export interface LiveDomain extends Pick<DomainState, 'port' | 'frame' | 'shutdown'> { readonly connection: Connection; readonly ring: RingState }

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
const INFINITE_DEPTH = -1;

export class StoreJournal {
  readonly #journal: Journal;

  /** @param domains those that are introduced now */
  constructor(area: Handover, daemon: Daemon, domains: () => Iterable<readonly [number, LiveDomain]>) {
    this.#journal = new Journal(area, () => snapshot(daemon, domains()));
  }

  read(): JournalRecord[] { return this.#journal.read(); }
  /** To be called once the state is that of the records. */
  begin(): void { this.#journal.compact(); }
  flush(): void { this.#journal.flush(); }

  mutations(done: readonly Mutation[]): void { for (const m of done) this.#journal.note(mutationRecord(m)); }
  forgotten(domid: number): void { this.#journal.note(['forgotten', domid]); }
  introduced(domid: number, port: number, frame: number): void { this.#journal.note(['introduced', domid, port, frame]); }
  released(domid: number): void { this.#journal.note(['released', domid]); }
  shutdown(domid: number, announced: boolean): void { this.#journal.note(['shutdown', domid, announced]); }
  /** The ring starts anew, with empty streams. */
  restarted(domid: number): void { this.#journal.note(['restarted', domid]); }
  /** Part of a message was taken: the stream's position after it. */
  received(domid: number, part: Uint8Array, requestBytes: number): void { this.#journal.note(['received', domid, base64(part), requestBytes]); }
  /** A message was carried out; what it caused has been noted before. */
  handled(domid: number, requestBytes: number): void { this.#journal.note(['handled', domid, requestBytes]); }
  queued(domid: number, bytes: Uint8Array): void { this.#journal.note(['queued', domid, base64(bytes)]); }

  reset(c: Connection): void { if (c.actor.domid) this.#journal.note(['reset', c.actor.domid]); }
  watch(c: Connection, w: Watch): void { if (c.actor.domid) this.#journal.note(watchRecord(c.actor.domid, w)); }
  unwatch(c: Connection, path: string, token: string): void { if (c.actor.domid) this.#journal.note(['unwatch', c.actor.domid, path, token]); }
  transaction(c: Connection, id: number, open: boolean): void { if (c.actor.domid) this.#journal.note(['transaction', c.actor.domid, id, open]); }
  target(c: Connection, domid: number): void { this.#journal.note(['target', c.actor.domid, domid]); }
}

const permissionTexts = (p: Permissions): string[] => formatPermissions(p);
const watchRecord = (domid: number, w: Watch): JournalRecord => ['watch', domid, w.path, w.token, w.base !== undefined, Number.isFinite(w.depth) ? w.depth : INFINITE_DEPTH];
function mutationRecord(m: Mutation): JournalRecord {
  switch (m.kind) {
    case 'write': return ['write', m.path, m.value ?? null, m.creator];
    case 'remove': return ['remove', m.path];
    case 'permissions': return ['permissions', m.path, permissionTexts(m.permissions)];
  }
}

function* snapshot(daemon: Daemon, domains: Iterable<readonly [number, LiveDomain]>): Generator<JournalRecord> {
  const { root } = daemon.tree, nodes: JournalRecord[] = [];
  yield ['write', '/', root.value, 0];
  yield ['permissions', '/', permissionTexts(root.permissions)];
  walkBelow(root, '/', (path, node) => { nodes.push(['write', path, node.value, 0], ['permissions', path, permissionTexts(node.permissions)]); });
  yield* nodes;
  for (const [domid, d] of domains) {
    yield ['introduced', domid, d.port, d.frame];
    yield ['shutdown', domid, d.shutdown];
    if (d.connection.actor.target !== undefined) yield ['target', domid, d.connection.actor.target];
    for (const w of daemon.watches.of(d.connection)) yield watchRecord(domid, w);
    for (const id of d.connection.transactions.keys()) yield ['transaction', domid, id, true];
    yield ['ring', domid, d.ring.requestBytes, base64(d.ring.partial), d.ring.replyBytes, base64(d.ring.unsent)];
  }
}

const emptyRing = (): DomainState['ring'] => ({ requestBytes: 0, partial: Buffer.alloc(0), replyBytes: 0, queued: [] });

/** Makes the tree again. @returns the domains that were introduced */
export function replay(records: readonly JournalRecord[], daemon: Daemon): Map<number, DomainState> {
  const domains = new Map<number, DomainState>();
  for (const record of records) {
    // Written by this file: shapes are known.
    const [kind, ...values] = record as [string, ...never[]], [first, a, b, c] = values as [never, never, never, never], path: string = first, domid: number = first;
    const d = domains.get(domid);
    switch (kind) {
      case 'write': daemon.tree.apply({ kind, path, value: a ?? undefined, creator: b }); break;
      case 'remove': daemon.tree.apply({ kind, path }); break;
      case 'permissions': daemon.tree.apply({ kind, path, permissions: parsePermissions(a) }); break;
      case 'forgotten': daemon.tree.forget(domid); break;
      case 'introduced':
        if (d) Object.assign(d, { port: a, frame: b }); else domains.set(domid, { port: a, frame: b, shutdown: false, target: undefined, watches: [], transactions: new Set(), ring: emptyRing() });
        break;
      case 'released':
        domains.delete(domid);
        for (const other of domains.values()) if (other.target === domid) other.target = undefined;
        break;
      default: if (d) replayOf(d, kind, [a, b, c, (values as never[])[4]!]);
    }
  }
  return domains;
}

function replayOf(d: DomainState, kind: string, [a, b, c, e]: readonly [never, never, never, never]): void {
  const { ring } = d;
  switch (kind) {
    case 'shutdown': d.shutdown = a; break;
    case 'target': d.target = a; break;
    case 'reset': d.watches = []; d.transactions.clear(); break;
    case 'watch': d.watches.push({ path: a, token: b, relative: c, depth: e === INFINITE_DEPTH ? undefined : e }); break;
    case 'unwatch': d.watches = d.watches.filter(w => w.path !== a || w.token !== b); break;
    case 'transaction': if (b) d.transactions.add(a); else d.transactions.delete(a); break;
    case 'restarted': d.ring = emptyRing(); break;
    case 'received': ring.partial = Buffer.concat([ring.partial, Buffer.from(a, 'base64')]); ring.requestBytes = b; break;
    case 'handled': ring.partial = Buffer.alloc(0); ring.requestBytes = a; break;
    case 'queued': ring.queued.push(Buffer.from(a, 'base64')); break;
    case 'ring': d.ring = { requestBytes: a, partial: Buffer.from(b, 'base64'), replyBytes: c, queued: [Buffer.from(e, 'base64')] }; break;
  }
}
