// What can be asked of the toolstack: one union, used by the HTTP API and through it by xl.
import type { DiskConfig, DomainConfig, VifConfig } from './config/schema.ts';
import type { Trigger } from './tuning.ts';

/** A domid, or a name (which may not be all digits to be found by). */
export type DomainRef = number | string;

export type Action =
  | { readonly action: 'create'; readonly config: DomainConfig; readonly paused?: boolean }
  | { readonly action: 'destroy'; readonly domain: DomainRef }
  /** Asks the guest through control/shutdown and waits until it has taken the request. */
  | { readonly action: 'shutdown'; readonly domain: DomainRef }
  | { readonly action: 'reboot'; readonly domain: DomainRef }
  /** Asks the guest to come to rest in its memory, and waits until it has: it is shut down then with reason SHUTDOWN_suspend. */
  | { readonly action: 'suspend'; readonly domain: DomainRef }
  /** A suspended domain goes on where it was. */
  | { readonly action: 'resume'; readonly domain: DomainRef }
  | { readonly action: 'pause'; readonly domain: DomainRef }
  | { readonly action: 'unpause'; readonly domain: DomainRef }
  | { readonly action: 'rename'; readonly domain: DomainRef; readonly name: string }
  /** One letter of control/sysrq. */
  | { readonly action: 'sysrq'; readonly domain: DomainRef; readonly key: string }
  /** A command for the balloon driver of the guest. */
  | { readonly action: 'memory-target'; readonly domain: DomainRef; readonly kib: number }
  | { readonly action: 'trigger'; readonly domain: DomainRef; readonly trigger: Trigger; readonly vcpu: number }
  | { readonly action: 'set-scheduler'; readonly domain: DomainRef; readonly weight?: number | undefined; readonly cap?: number | undefined }
  | { readonly action: 'attach-disk'; readonly domain: DomainRef; readonly disk: DiskConfig }
  /** By vdev or devid; waits until the guest has let go. */
  | { readonly action: 'detach-disk'; readonly domain: DomainRef; readonly device: string }
  | { readonly action: 'attach-vif'; readonly domain: DomainRef; readonly vif: VifConfig }
  /** By devid or address; waits until the guest has let go. */
  | { readonly action: 'detach-vif'; readonly domain: DomainRef; readonly device: string }
  /** The link of an interface that stays plugged in goes down or up. */
  | { readonly action: 'set-carrier'; readonly domain: DomainRef; readonly device: string; readonly carrier: boolean }
  /** The backend of one interface begins anew, as after a crash. */
  | { readonly action: 'restart-vif'; readonly domain: DomainRef; readonly device: string };

export type ActionName = Action['action'];

export type { DiskView, DomainView, HostView, VifView } from './views.ts';
