// The protocol: one row per request type, from payload to reply. docs/misc/xenstore.txt says what each does.
import * as xs from '../../hypervisor/public/io/xs_wire.ts';
import type { Connection } from './connection.ts';
import { control } from './control.ts';
import type { Daemon } from './daemon.ts';
import { refuse, XsError } from './errors.ts';
import * as op from './operations.ts';
import { canonicalise, domainPath } from './path.ts';
import { formatPermissions, isPrivileged, parsePermissions } from './permissions.ts';
import { childNames } from './store.ts';
import { Transaction, type StoreView } from './transaction.ts';
import { oneString, stringsOf, type WireMessage } from './wire.ts';

interface Call {
  readonly daemon: Daemon; readonly connection: Connection; readonly payload: string;
  /** The store, or the transaction that the request is part of. */
  readonly view: StoreView;
  readonly txId: number;
  /** Runs once the reply is queued. */
  after(then: () => void): void;
}
interface Request {
  readonly name: string;
  /** @returns the reply's payload */
  run(call: Call): string;
  /** The request is never part of a transaction. */
  readonly noTransaction?: boolean;
  /** Dom0 only. */
  readonly privileged?: boolean;
}

const OK = 'OK\0';
const DOMID_SELF = 0x7ff0;

const one = ({ payload }: Call): string => oneString(payload) ?? refuse('EINVAL');
const pathOf = (call: Call, text: string): string => canonicalise(text, call.connection.actor.domid);
const number = (text: string | undefined): number => (text !== undefined && /^-?\d{1,10}$/.test(text) ? Number(text) : refuse('EINVAL'));
const domidOf = (text: string | undefined): number => { const n = number(text); return n >= 0 && n <= 0xffff ? n : refuse('EINVAL'); };

const rows: readonly (readonly [number, Request])[] = [
  [xs.XS_CONTROL, { name: 'CONTROL', noTransaction: true, privileged: true, run: call => control(call.daemon, stringsOf(call.payload)) }],
  [xs.XS_DIRECTORY, { name: 'DIRECTORY', run: call => directory(call, one(call)) }],
  [xs.XS_DIRECTORY_PART, { name: 'DIRECTORY_PART', run: directoryPart }],
  [xs.XS_READ, { name: 'READ', run: call => op.readNode(call.view, call.connection.actor, pathOf(call, one(call))).value }],
  [xs.XS_WRITE, { name: 'WRITE', run: write }],
  [xs.XS_MKDIR, { name: 'MKDIR', run: call => { op.write(call.view, call.connection.actor, pathOf(call, one(call)), undefined, call.daemon.quota); return OK; } }],
  [xs.XS_RM, { name: 'RM', run: call => { op.remove(call.view, call.connection.actor, pathOf(call, one(call))); return OK; } }],
  [xs.XS_GET_PERMS, { name: 'GET_PERMS', run: call => formatPermissions(op.getPermissions(call.view, call.connection.actor, pathOf(call, one(call)))).map(p => `${p}\0`).join('') }],
  [xs.XS_SET_PERMS, { name: 'SET_PERMS', run: setPermissions }],
  [xs.XS_WATCH, { name: 'WATCH', noTransaction: true, run: watch }],
  [xs.XS_UNWATCH, { name: 'UNWATCH', noTransaction: true, run: unwatch }],
  [xs.XS_RESET_WATCHES, { name: 'RESET_WATCHES', noTransaction: true, run: call => { call.daemon.reset(call.connection); return OK; } }],
  [xs.XS_TRANSACTION_START, { name: 'TRANSACTION_START', run: startTransaction }],
  [xs.XS_TRANSACTION_END, { name: 'TRANSACTION_END', run: endTransaction }],
  [xs.XS_INTRODUCE, { name: 'INTRODUCE', noTransaction: true, privileged: true, run: introduce }],
  [xs.XS_RELEASE, { name: 'RELEASE', noTransaction: true, privileged: true, run: call => { call.daemon.domains.release(introducedDomain(call)); return OK; } }],
  [xs.XS_RESUME, { name: 'RESUME', noTransaction: true, privileged: true, run: call => { call.daemon.domains.resume(introducedDomain(call)); return OK; } }],
  [xs.XS_SET_TARGET, { name: 'SET_TARGET', noTransaction: true, privileged: true, run: setTarget }],
  [xs.XS_GET_DOMAIN_PATH, { name: 'GET_DOMAIN_PATH', noTransaction: true, run: call => `${domainPath(domidOf(one(call)))}\0` }],
  [xs.XS_IS_DOMAIN_INTRODUCED, { name: 'IS_DOMAIN_INTRODUCED', noTransaction: true, run: isDomainIntroduced }],
];
const table: ReadonlyMap<number, Request> = new Map(rows);

/** Runs one request and queues its reply. Never throws, whatever the message. */
export function handleMessage(daemon: Daemon, connection: Connection, message: WireMessage): void {
  const { reqId, txId, payload } = message;
  let then: (() => void) | undefined;
  try {
    const request = table.get(message.type) ?? refuse('ENOSYS');
    if (request.privileged && !isPrivileged(connection.actor)) refuse('EACCES');
    const view = txId === 0 || request.noTransaction ? daemon : connection.transactions.get(txId) ?? refuse('ENOENT');
    if (view instanceof Transaction && request.run !== endTransaction && !isPrivileged(connection.actor) && view.size >= daemon.quota.transactionNodes) refuse('ENOSPC');
    const reply = request.run({ daemon, connection, payload, view, txId, after: f => { then = f; } });
    if (reply.length > xs.XENSTORE_PAYLOAD_MAX) refuse('E2BIG');
    if (daemon.tracing) trace(daemon, connection, message, reply);
    connection.reply({ type: message.type, reqId, txId, payload: reply });
  } catch (error) {
    if (!(error instanceof XsError)) daemon.log(`xenstore: request ${message.type} of ${connection.name} failed: ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
    const code = error instanceof XsError ? error.code : 'EIO';
    if (daemon.tracing) trace(daemon, connection, message, code);
    connection.reply({ type: xs.XS_ERROR, reqId, txId, payload: `${code}\0` });
    return;
  }
  then?.();
}

/** One line per request, while `xenstore-control log on` is in force: `d5 tx 3 WRITE data/x|1 -> OK|`. */
function trace(daemon: Daemon, { name }: Connection, { type, txId, payload }: WireMessage, outcome: string): void {
  const shown = (text: string): string => text.slice(0, 200).replaceAll('\0', '|').replace(/[^\x20-\x7e]/g, '?');
  daemon.log(`xenstore: ${name}${txId ? ` tx ${txId}` : ''} ${table.get(type)?.name ?? `type ${type}`} ${shown(payload)} -> ${shown(outcome)}`);
}

function directory(call: Call, path: string): string {
  return childNames(op.readChildren(call.view, call.connection.actor, pathOf(call, path))).map(name => `${name}\0`).join('');
}

function directoryPart(call: Call): string {
  const [path, offsetText, ...rest] = stringsOf(call.payload);
  if (path === undefined || offsetText === undefined || rest.length > 0) refuse('EINVAL');
  const offset = number(offsetText);
  if (offset < 0) refuse('EINVAL');
  const node = op.readChildren(call.view, call.connection.actor, pathOf(call, path));
  const list = directory(call, path);
  const head = `${Math.max(node.generation, node.childGeneration)}\0`;
  // An empty string after the last name says that the list is complete.
  if (offset >= list.length) return `${head}\0`;
  const room = xs.XENSTORE_PAYLOAD_MAX - head.length - 1;
  if (list.length - offset <= room) return `${head}${list.slice(offset)}\0`;
  return head + list.slice(offset, list.lastIndexOf('\0', offset + room - 1) + 1);
}

function write(call: Call): string {
  const end = call.payload.indexOf('\0');
  if (end < 0) refuse('EINVAL');
  op.write(call.view, call.connection.actor, pathOf(call, call.payload.slice(0, end)), call.payload.slice(end + 1), call.daemon.quota);
  return OK;
}

function setPermissions(call: Call): string {
  const [path, ...permissions] = stringsOf(call.payload);
  if (path === undefined) refuse('EINVAL');
  op.setPermissions(call.view, call.connection.actor, pathOf(call, path), parsePermissions(permissions), call.daemon.quota);
  return OK;
}

function watch(call: Call): string {
  const { daemon, connection } = call;
  const [path, token, depthText] = stringsOf(call.payload);
  if (path === undefined || token === undefined) refuse('EINVAL');
  const depth = depthText ? number(depthText) : undefined;
  if (depth !== undefined && depth < 0) refuse('EINVAL');
  const absolute = pathOf(call, path);
  if (!isPrivileged(connection.actor) && daemon.watches.count(connection) >= daemon.quota.watches) refuse('E2BIG');
  const added = daemon.watches.add(connection, { path: absolute, token, relative: !/^[/@]/.test(path), depth });
  daemon.journal?.watch(connection, added);
  call.after(() => daemon.watches.fireFirst(added));
  return OK;
}

function unwatch(call: Call): string {
  const [path, token] = stringsOf(call.payload);
  if (path === undefined || token === undefined) refuse('EINVAL');
  call.daemon.watches.remove(call.connection, pathOf(call, path), token);
  call.daemon.journal?.unwatch(call.connection, pathOf(call, path), token);
  return OK;
}

function startTransaction({ daemon, connection, txId }: Call): string {
  if (txId !== 0) refuse('EBUSY');
  if (!isPrivileged(connection.actor) && connection.transactions.size >= daemon.quota.transactions) refuse('ENOSPC');
  const id = connection.addTransaction(daemon.begin());
  daemon.journal?.transaction(connection, id, true);
  return `${id}\0`;
}

function endTransaction(call: Call): string {
  const { daemon, connection, view, txId } = call;
  const verdict = one(call);
  if (verdict !== 'T' && verdict !== 'F') refuse('EINVAL');
  if (!(view instanceof Transaction)) refuse('ENOENT');
  connection.transactions.delete(txId);
  daemon.journal?.transaction(connection, txId, false);
  if (verdict === 'T') daemon.commit(view, connection.actor);
  return OK;
}

function introduce({ daemon, payload }: Call): string {
  // The frame number is not needed: the page is known by its reserved grant reference.
  const [domid, gfn, port] = stringsOf(payload);
  if (gfn === undefined) refuse('EINVAL');
  const dom = domidOf(domid), portNumber = number(port);
  if (dom === 0 || dom >= DOMID_SELF || portNumber <= 0) refuse('EINVAL');
  daemon.domains.introduce(dom, portNumber);
  return OK;
}

function introducedDomain(call: Call): number {
  const domid = domidOf(one(call));
  if (domid === 0) refuse('EINVAL');
  return call.daemon.domains.isIntroduced(domid) ? domid : refuse('ENOENT');
}

function isDomainIntroduced(call: Call): string {
  const domid = domidOf(one(call));
  return domid === DOMID_SELF || domid === 0 || call.daemon.domains.isIntroduced(domid) ? 'T\0' : 'F\0';
}

function setTarget({ daemon, payload }: Call): string {
  const [domid, target] = stringsOf(payload).map(domidOf);
  if (domid === undefined || target === undefined) refuse('EINVAL');
  const connection = daemon.domains.connection(domid) ?? refuse('ENOENT');
  if (!daemon.domains.isIntroduced(target)) refuse('ENOENT');
  connection.actor.target = target;
  daemon.journal?.target(connection, target);
  return OK;
}
