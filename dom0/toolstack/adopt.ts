// Taking over the domains of a Dom0 that crashed: they have gone on meanwhile. Their nodes are in xenstore as they were,
// their frontends are connected; backends begin anew beneath them.
import { domid as asDomid } from '../../hypervisor/public/types.ts';
import { openDisks, removeNodes, type Neighbours } from './create.ts';
import type { SavedDomain } from './domain-memory.ts';
import type { AttachedDisk, AttachedVif, DomainRecord } from './domain-record.ts';
import { messageOf } from './errors.ts';
import { Rollback } from './rollback.ts';
import { vbdBackendPath, vbdFrontendPath } from './store-tree.ts';
import { vifBackendPath } from './vif-nodes.ts';

/** A device that cannot be had again is left out: the guest waits for it, the domain can still be destroyed. */
export async function adoptDomain(near: Neighbours, saved: SavedDomain): Promise<DomainRecord> {
  const { consoles, networks, log } = near, dom = asDomid(saved.domid), { config } = saved;
  const trying = async (what: string, run: () => unknown): Promise<void> => {
    try { await run(); } catch (error) { log.error({ domid: dom, what, error: messageOf(error) }, 'taking over a domain'); }
  };
  await trying('console', () => consoles.open(dom, config.name, saved.console.mfn, saved.console.port));
  const disks: AttachedDisk[] = [], vifs: AttachedVif[] = [];
  if (!saved.ended) {
    for (const disk of config.disks) await trying(disk.vdev, async () => {
      for (const opened of await openDisks(near, { ...config, disks: [disk] }, new Rollback())) {
        await opened.disk.attach(dom, opened.devid, vbdFrontendPath(dom, opened.devid), vbdBackendPath(dom, opened.devid));
        disks.push(opened);
      }
    });
    for (const [i, vif] of config.vifs.entries()) await trying(`interface ${i}`, () => {
      const devid = vif.devid ?? i;
      vifs.push({ devid, config: vif, vif: networks.attach(vif, dom, vifBackendPath(dom, devid)) });
    });
  }
  return { domid: dom, config, createdMs: saved.createdMs, console: saved.console, disks, vifs, state: saved.ended ? 'ended' : 'running', waiters: new Set() };
}

/** Domains that the one before was making or destroying when it crashed: nobody else can. */
export async function removeOrphans(near: Neighbours, known: ReadonlySet<number>): Promise<void> {
  const { hypercalls, store, log } = near;
  for (const { domid, uuid } of hypercalls.domainList()) {
    if (domid === 0 || known.has(domid)) continue;
    log.warn({ domid }, 'a domain that was half made is destroyed');
    await store.release(domid);
    await hypercalls.domainDestroy(domid);
    await removeNodes(near.store, domid, uuid);
  }
}
