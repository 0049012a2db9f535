// What an unprivileged domain may use up. Defaults are real xenstored's.
import { isPrivileged, type Actor } from './permissions.ts';
import { refuse } from './errors.ts';
import { lookup, nearest, type StoreNode, type Tree } from './store.ts';

export interface Quota {
  /** Nodes a domain may own. */
  nodes: number;
  watches: number;
  transactions: number;
  /** Places a transaction may look at, and changes it may make. */
  transactionNodes: number;
  /** Bytes of one node: value, permissions and children's names. */
  nodeBytes: number;
  permissions: number;
  /** Replies and events queued towards a domain before no more requests are read from it. */
  outstanding: number;
}
export type QuotaName = keyof Quota;

export const defaultQuota = (): Quota => ({ nodes: 1000, watches: 128, transactions: 10, transactionNodes: 1024, nodeBytes: 2048, permissions: 5, outstanding: 20 });

const NODE_HEADER_BYTES = 24, PERMISSION_BYTES = 8;

function nodeBytes(node: StoreNode): number {
  let bytes = NODE_HEADER_BYTES + PERMISSION_BYTES * node.permissions.length + node.value.length;
  for (const name of node.children.keys()) bytes += name.length + 1;
  return bytes;
}

/** Before a write or mkdir that may create nodes. @throws XsError ENOSPC */
export function checkNewNodes(tree: Tree, actor: Actor, path: string, quota: Quota): void {
  if (isPrivileged(actor)) return;
  const { missing } = nearest(tree.root, path);
  if (missing > 0 && tree.owned(actor.domid) + missing > quota.nodes) refuse('ENOSPC');
}

/** After a change to the node at `path`, on a tree that can still be thrown away. @throws XsError ENOSPC */
export function checkNodeBytes(tree: Tree, actor: Actor, paths: readonly string[], quota: Quota): void {
  if (isPrivileged(actor)) return;
  for (const path of paths) {
    const node = lookup(tree.root, path);
    if (node && nodeBytes(node) >= quota.nodeBytes) refuse('ENOSPC');
  }
}
