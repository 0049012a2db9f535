// The state of the store and what clients can do with it, without any transport. Everything runs to its end at once,
// so requests of different clients never mix.
import { childNames, lookup, Tree, type Mutation, type StoreNode } from './store.ts';
import { INTRODUCE_DOMAIN, RELEASE_DOMAIN } from './path.ts';
import { defaultQuota, type Quota } from './quota.ts';
import { Transaction, type Aspect, type StoreView } from './transaction.ts';
import { WatchTable, type Change } from './watches.ts';
import type { Actor } from './permissions.ts';
import type { Connection } from './connection.ts';
import type { StoreJournal } from './records.ts';

/** The daemon's hold on domains that talk to it; the ring transport gives the real one. */
export interface DomainTable {
  isIntroduced(domid: number): boolean;
  /** The domain's connection. */
  connection(domid: number): Connection | undefined;
  /** XS_INTRODUCE. @throws XsError */
  introduce(domid: number, port: number): void;
  release(domid: number): void;
  /** The next shutdown of the domain is news again. */
  resume(domid: number): void;
}

export class Daemon implements StoreView {
  readonly tree = new Tree();
  readonly watches = new WatchTable();
  readonly quota: Quota = defaultQuota();
  domains: DomainTable = { isIntroduced: () => false, connection: () => undefined, introduce: () => {}, release: () => {}, resume: () => {} };
  readonly log: (line: string) => void;
  /** What happens is noted here, for a daemon that takes over after a crash. */
  journal: StoreJournal | undefined;
  /** Every request is logged. */
  tracing = false;

  constructor(log: (line: string) => void = () => {}) {
    this.log = log;
    for (const path of [INTRODUCE_DOMAIN, RELEASE_DOMAIN, '/tool/xenstored']) this.tree.apply({ kind: 'write', path, value: '', creator: 0 });
  }

  // --- the store itself as what requests act on
  touch(_path: string, _aspect: Aspect): void {}
  mutate(mutation: Mutation): void {
    const before = this.tree.root;
    this.tree.apply(mutation);
    this.journal?.mutations([mutation]);
    this.watches.fire([{ path: mutation.path, removed: mutation.kind === 'remove' }], before, this.tree.root);
  }

  begin(): Transaction { return new Transaction(this.tree); }
  /** @throws XsError EAGAIN, ENOSPC; the transaction is over in any case */
  commit(transaction: Transaction, actor: Actor): void {
    const before = this.tree.root;
    const changes = transaction.commit(this.tree, actor, this.quota);
    this.journal?.mutations(transaction.log);
    this.watches.fire(changes, before, this.tree.root);
  }

  /** Ends what a client has open: watches and transactions. */
  reset(connection: Connection): void {
    this.journal?.reset(connection);
    this.watches.removeAll(connection);
    connection.transactions.clear();
  }

  announceIntroduced(domid: number): void { this.watches.fireSpecial(INTRODUCE_DOMAIN, domid, lookup(this.tree.root, INTRODUCE_DOMAIN)); }
  announceReleased(domid: number): void { this.watches.fireSpecial(RELEASE_DOMAIN, domid, lookup(this.tree.root, RELEASE_DOMAIN)); }

  /** A domain is gone: its nodes too, and its rights to those of others. */
  forgetDomain(domid: number): void {
    const before = this.tree.root;
    this.journal?.forgotten(domid);
    const removed: Change[] = this.tree.forget(domid).map(path => ({ path, removed: true }));
    this.watches.fire(removed, before, this.tree.root);
  }

  /** Number of nodes. @throws if what is counted per owner is not what is there */
  check(): number {
    const owned = new Map<number, number>();
    const visit = (node: StoreNode): number => {
      const owner = node.permissions[0].domid;
      owned.set(owner, (owned.get(owner) ?? 0) + 1);
      return childNames(node).reduce((sum, name) => sum + visit(node.children.get(name)!), 1);
    };
    const count = visit(this.tree.root);
    for (const [domid, n] of owned) if (this.tree.owned(domid) !== n) throw new Error(`d${domid} owns ${n} nodes, ${this.tree.owned(domid)} are counted`);
    return count;
  }
}
