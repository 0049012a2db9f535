// The control plane: performs actions, keeps the list of domains and acts when one ends.
// Invariant: a name is in #names from the start of create until destroy is done; a record is in #records exactly
// while its domain exists in the hypervisor. All of it runs on Dom0's thread, interleaved only at awaits.
import { randomUUID } from 'node:crypto';
import type { DomainInfo } from '../../hypervisor/public/dom0-hypercalls.ts';
import { SHUTDOWN_crash, SHUTDOWN_poweroff, SHUTDOWN_reboot, SHUTDOWN_soft_reset, SHUTDOWN_suspend, SHUTDOWN_watchdog } from '../../hypervisor/public/sched.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import type { Action, DiskView, DomainRef, DomainView } from './action.ts';
import type { DomainConfig, EventAction } from './config/schema.ts';
import { adoptDomain, removeOrphans } from './adopt.ts';
import { checkConfig, createDomain, removeNodes, type Neighbours } from './create.ts';
import { endDomain, type DomainEnd, type DomainRecord } from './domain-record.ts';
import { checked, messageOf, ToolstackError } from './errors.ts';
import { attachDisk, detachDisk } from './disks.ts';
import { domainPath, vbdBackendPath, vbdFrontendPath, vmPath } from './store-tree.ts';
import { attachVif, closeVifs, detachVif, restartVif, setCarrier, vifView } from './vifs.ts';
import { sendTrigger, setMemoryTarget, setScheduler } from './tuning.ts';
import type { Watch } from './watch.ts';

export interface ToolstackOptions extends Neighbours {
  /** How long a guest may take to acknowledge control/shutdown. */
  readonly acknowledgeMs?: number;
}

const DOM0_NAME = 'Domain-0';
const DOM0_UUID = '00000000-0000-0000-0000-000000000000';
const ACKNOWLEDGE_MS = 60_000;
/** A domain that ends sooner than this is not restarted at once, so that a crash loop does not eat the host. */
const RESTART_HOLD_MS = 2000;

const USAGE_MS = 1000;
interface Usage { readonly atMs: number; readonly memKib: number; readonly cpuTimeSec: number }

/** A domain is gone, or could not be made again after it was. */
export interface Gone {
  readonly config: DomainConfig;
  /** SHUTDOWN_*, if the guest ended by itself; else it was destroyed. */
  readonly reason?: number;
  readonly ranMs: number;
  /** Its on_... setting brings it back. */
  readonly returns: boolean;
  readonly error?: unknown;
}

export class Toolstack {
  readonly #near: ToolstackOptions;
  readonly #records = new Map<number, DomainRecord>();
  readonly #names = new Map<string, number>();
  readonly #startedMs: number;
  #closing = false;
  #lastUsage: Usage | undefined;
  #onGone: (gone: Gone) => void = () => {};
  #onChange: (view: Promise<DomainView> | undefined) => void = () => {};

  constructor(near: ToolstackOptions) {
    this.#near = near;
    this.#startedMs = near.nowMs();
    near.hypercalls.onDomainEvent(() => this.#scan());
  }

  /** To be set once, before anything is performed. */
  set onGone(handler: (gone: Gone) => void) { this.#onGone = handler; }

  /** To be set once: hears of each change, with the domain as it was right then, or that one is gone. */
  set onChange(handler: (view: Promise<DomainView> | undefined) => void) { this.#onChange = handler; }

  /** Takes over what a Dom0 that crashed left behind. To be called once, before anything is performed. */
  async adopt(): Promise<void> {
    const { memory, hypercalls, log } = this.#near;
    if (!memory) return;
    for (const saved of memory.domains) {
      const info = hypercalls.domainInfo(saved.domid as Domid);
      if (typeof info === 'number') { memory.forget(saved.domid); await removeNodes(this.#near.store, saved.domid, saved.config.uuid); continue; }
      const record = await adoptDomain(this.#near, saved);
      this.#records.set(record.domid, record);
      this.#names.set(record.config.name, record.domid);
      log.info({ domid: record.domid, name: record.config.name }, 'domain taken over');
      if (info.dying) await this.#destroy(record);
    }
    await removeOrphans(this.#near, new Set(this.#records.keys()));
    for (const config of memory.successors) await this.#create(config, false).catch(error => log.error({ name: config.name, error: messageOf(error) }, 'restarting a domain'));
    this.#scan();
  }

  /** @throws ToolstackError */
  async perform(action: Action, watch: Watch = {}): Promise<DomainView | undefined> {
    if (action.action === 'create') return this.view(await this.#create(action.config, action.paused ?? false, watch));
    const record = this.#find(action.domain);
    const { hypercalls } = this.#near;
    switch (action.action) {
      case 'destroy': delete record.successor; await this.#destroy(record); return undefined;
      case 'shutdown': await this.#control(record, 'poweroff', watch); break;
      case 'reboot': await this.#control(record, 'reboot', watch); break;
      case 'suspend': await this.#suspend(record, watch); break;
      case 'resume': await this.#resume(record); break;
      case 'pause': checked(hypercalls.domainPause(record.domid), 'pausing'); break;
      case 'unpause': checked(hypercalls.domainUnpause(record.domid), 'unpausing'); break;
      case 'rename': await this.#rename(record, action.name); break;
      case 'attach-vif': this.#mustRun(record); await attachVif(this.#near, record, action.vif); this.#near.memory?.save(record); break;
      case 'detach-vif': this.#mustRun(record); await detachVif(this.#near, record, action.device); this.#near.memory?.save(record); break;
      case 'attach-disk': this.#mustRun(record); await attachDisk(this.#near, record, action.disk); this.#near.memory?.save(record); break;
      case 'detach-disk': this.#mustRun(record); await detachDisk(this.#near, record, action.device); this.#near.memory?.save(record); break;
      case 'memory-target': this.#mustRun(record); await setMemoryTarget(this.#near, record, action.kib); this.#near.memory?.save(record); break;
      case 'set-scheduler': setScheduler(this.#near, record, action); this.#near.memory?.save(record); break;
      case 'trigger': this.#mustRun(record); sendTrigger(this.#near, record, action.trigger, action.vcpu); break;
      case 'set-carrier': this.#mustRun(record); await setCarrier(this.#near, record, action.device, action.carrier); break;
      case 'restart-vif': this.#mustRun(record); await restartVif(record, action.device); break;
      case 'sysrq': await this.#near.store.write(`${domainPath(record.domid)}/control/sysrq`, action.key); break;
    }
    return this.#changed(record);
  }

  /** Domain-0 first, then the rest by domid. */
  async list(): Promise<DomainView[]> {
    return Promise.all([this.#dom0View(), ...[...this.#records.values()].sort((a, b) => a.domid - b.domid).map(record => this.view(record))]);
  }

  async describe(ref: DomainRef): Promise<DomainView> {
    return this.#isDom0(ref) ? this.#dom0View() : this.view(this.#find(ref));
  }

  /** The configuration the domain was made from. */
  config(ref: DomainRef): DomainConfig { return this.#find(ref).config; }

  domid(ref: DomainRef): number { return this.#isDom0(ref) ? 0 : this.#find(ref).domid; }

  /** The domain that has the UUID, if one has. */
  withUuid(uuid: string): { readonly domid: number; readonly name: string } | undefined {
    const record = [...this.#records.values()].find(r => r.config.uuid === uuid);
    return record && { domid: record.domid, name: record.config.name };
  }

  /** Resolves when the domain shuts down, is suspended, or is destroyed. */
  waitEnd(ref: DomainRef, signal?: AbortSignal): Promise<DomainEnd> { return this.#awaitEnd(this.#find(ref), signal); }
  #awaitEnd(record: DomainRecord, signal?: AbortSignal): Promise<DomainEnd> {
    if (record.end) return Promise.resolve(record.end);
    return new Promise((resolve, reject) => {
      record.waiters.add(resolve);
      signal?.addEventListener('abort', () => { record.waiters.delete(resolve); reject(new ToolstackError('no-answer', 'waiting was given up')); }, { once: true });
    });
  }

  /** Domains, Domain-0 too. */
  get count(): number { return this.#records.size + 1; }

  /** No guest is there or being made. */
  get idle(): boolean { return this.#names.size === 0; }

  /** Asks every guest to power off, then destroys what is left after `graceMs`. */
  async shutdownAll(graceMs: number): Promise<void> {
    this.#closing = true;
    const running = [...this.#records.values()];
    await Promise.all(running.filter(r => r.state === 'suspended').map(record => this.#resume(record)));
    const timeout = AbortSignal.timeout(Math.max(1, graceMs));
    await Promise.all(running.filter(r => r.state === 'running').map(async record => {
      this.#near.hypercalls.domainUnpause(record.domid);
      const ended = this.waitEnd(record.domid, timeout).catch(() => undefined);
      await this.#near.store.write(`${domainPath(record.domid)}/control/shutdown`, 'poweroff');
      await ended;
    }));
    await this.destroyAll();
  }

  async destroyAll(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#records.values()].map(record => this.#destroy(record).catch(error => this.#near.log.error({ domid: record.domid, error: messageOf(error) }, 'destroy failed'))));
  }

  async #create(config: DomainConfig, paused: boolean, watch: Watch = {}): Promise<DomainRecord> {
    if (this.#closing) throw new ToolstackError('domain-busy', 'the host is shutting down');
    checkConfig(config);
    this.#mustBeFree(config.name);
    this.#names.set(config.name, -1);
    let record: DomainRecord;
    try {
      if ([...this.#records.values()].some(r => r.config.uuid === config.uuid)) throw new ToolstackError('domain-exists', `Domain with UUID ${config.uuid} already exists: give another uuid or none.`);
      record = await createDomain(this.#near, config, watch);
    } catch (error) { this.#names.delete(config.name); throw error; } finally { this.#near.memory?.settle(config.name); }
    this.#records.set(record.domid, record);
    this.#names.set(config.name, record.domid);
    this.#near.memory?.save(record);
    this.#near.log.info({ domid: record.domid, name: config.name }, 'domain created');
    if (!paused) checked(this.#near.hypercalls.domainUnpause(record.domid), 'starting the domain');
    void this.#changed(record);
    return record;
  }

  /** Whoever asks while it is under way waits for the same end. */
  #destroy(record: DomainRecord): Promise<void> {
    record.state = 'destroying';
    return record.destroyed ??= this.#tearDown(record);
  }

  async #tearDown(record: DomainRecord): Promise<void> {
    const { hypercalls, store, consoles, log } = this.#near;
    const step = async (what: string, run: () => unknown): Promise<void> => {
      try { await run(); } catch (error) { log.error({ domid: record.domid, what, error: messageOf(error) }, 'destroying a domain'); }
    };
    hypercalls.domainPause(record.domid);
    await step('interfaces', () => closeVifs(record));
    await step('disks', () => this.#closeDisks(record));
    await step('console', () => consoles.close(record.domid));
    await step('xenstore ring', () => store.release(record.domid));
    await step('memory', async () => checked(await hypercalls.domainDestroy(record.domid), 'domain_destroy'));
    await step('xenstore nodes', () => removeNodes(store, record.domid, record.config.uuid));
    this.#near.memory?.forget(record.domid, record.successor);
    this.#records.delete(record.domid);
    if (this.#names.get(record.config.name) === record.domid) this.#names.delete(record.config.name);
    log.info({ domid: record.domid, name: record.config.name }, 'domain destroyed');
    const reason = record.end?.kind === 'shutdown' && record.end.reason !== SHUTDOWN_suspend ? record.end.reason : undefined;
    this.#onGone({ config: record.config, ...(reason === undefined ? {} : { reason }), ranMs: this.#near.nowMs() - record.createdMs, returns: record.successor !== undefined });
    this.#onChange(undefined);
    endDomain(record, { kind: 'destroyed' });
  }

  #changed(record: DomainRecord): Promise<DomainView> {
    const view = this.view(record);
    this.#onChange(view);
    return view;
  }

  async #closeDevices(record: DomainRecord): Promise<void> {
    await closeVifs(record);
    await this.#closeDisks(record);
  }

  async #closeDisks(record: DomainRecord): Promise<void> {
    const disks = record.disks;
    record.disks = [];
    await Promise.all(disks.map(({ disk }) => disk.close()));
  }

  async #rename(record: DomainRecord, name: string): Promise<void> {
    checkConfig({ ...record.config, name });
    if (name === '') throw new ToolstackError('bad-name', 'the new name is empty');
    this.#mustBeFree(name);
    const { store } = this.#near;
    this.#names.delete(record.config.name);
    this.#names.set(name, record.domid);
    record.config = { ...record.config, name };
    this.#near.memory?.save(record);
    await store.write(`${domainPath(record.domid)}/name`, name);
    await store.write(`${vmPath(record.config.uuid)}/name`, name);
  }

  /** Writes control/shutdown and waits until the guest has emptied it. */
  async #control(record: DomainRecord, request: 'poweroff' | 'reboot' | 'suspend', { signal, step }: Watch): Promise<void> {
    const { store } = this.#near, path = `${domainPath(record.domid)}/control/shutdown`;
    const limitMs = this.#near.acknowledgeMs ?? ACKNOWLEDGE_MS;
    this.#mustRun(record);
    step?.('asked', 0, 1);
    let done: (acknowledged: boolean) => void = () => {};
    const acknowledged = new Promise<boolean>(resolve => { done = resolve; });
    const ended = (): void => done(true);
    record.waiters.add(ended);
    const cancelled = (): void => done(false);
    signal?.addEventListener('abort', cancelled, { once: true });
    await store.write(path, request);
    const unwatch = await store.watch(path, async () => { if ((await store.read(path)) === '') done(true); });
    const timer = setTimeout(() => done(false), limitMs);
    try {
      if (await acknowledged) return;
      await store.write(path, '');
      signal?.throwIfAborted();
      throw new ToolstackError('no-answer', "guest didn't acknowledge control request: it may still be booting, be paused or have no driver for it; xl destroy ends it");
    } finally { clearTimeout(timer); unwatch(); record.waiters.delete(ended); signal?.removeEventListener('abort', cancelled); }
  }

  /** The guest takes the request, comes to rest, and shuts down with reason SHUTDOWN_suspend; backends and consoles stay as they are. */
  async #suspend(record: DomainRecord, watch: Watch): Promise<void> {
    const { store } = this.#near, limit = AbortSignal.timeout(this.#near.acknowledgeMs ?? ACKNOWLEDGE_MS);
    await this.#control(record, 'suspend', watch);
    watch.step?.('suspending', 1, 2);
    const end = await this.#awaitEnd(record, watch.signal ? AbortSignal.any([limit, watch.signal]) : limit).catch(() => {
      watch.signal?.throwIfAborted();
      throw new ToolstackError('no-answer', 'guest did not suspend, timed out: its console may say why');
    });
    if (end.kind !== 'shutdown' || end.reason !== SHUTDOWN_suspend) throw new ToolstackError('domain-not-running', `domain ${record.domid} has ended instead of being suspended`);
    // Of another who asked meanwhile: it would be suspended again as soon as it is resumed.
    await store.write(`${domainPath(record.domid)}/control/shutdown`, '');
  }

  async #resume(record: DomainRecord): Promise<void> {
    if (record.state !== 'suspended') throw new ToolstackError('domain-not-suspended', `domain ${record.domid} is not suspended`);
    checked(this.#near.hypercalls.domainResume(record.domid), 'resuming');
    record.state = 'running';
    delete record.end;
    await this.#near.store.resume(record.domid);
    this.#near.log.info({ domid: record.domid, name: record.config.name }, 'domain resumed');
  }

  #mustBeFree(name: string): void {
    if (this.#names.has(name) || name === DOM0_NAME) throw new ToolstackError('domain-exists', `Domain with name "${name}" already exists.`);
  }

  #mustRun(record: DomainRecord): void {
    if (record.state === 'suspended') throw new ToolstackError('domain-not-running', `domain ${record.domid} is suspended: use xl resume, or xl destroy`);
    if (record.state !== 'running') throw new ToolstackError('domain-not-running', `domain ${record.domid} has already shut down: use xl destroy`);
  }

  #scan(): void {
    for (const record of [...this.#records.values()]) {
      if (record.state !== 'running') continue;
      const info = this.#near.hypercalls.domainInfo(record.domid);
      if (typeof info === 'number') continue;
      if (!info.shutdown && !info.crashed) continue;
      const reason = info.crashed ? SHUTDOWN_crash : info.shutdownReason;
      record.state = reason === SHUTDOWN_suspend ? 'suspended' : 'ended';
      void this.#changed(record);
      void this.#ended(record, reason).catch(error => this.#near.log.error({ domid: record.domid, error: messageOf(error) }, 'handling the end of a domain'));
    }
  }

  async #ended(record: DomainRecord, reason: number): Promise<void> {
    const { log, nowMs } = this.#near;
    const action = this.#closing ? 'destroy' : actionFor(record.config, reason);
    log.info({ domid: record.domid, name: record.config.name, reason, action }, action === 'suspend' ? 'domain is suspended' : 'domain has shut down');
    const config = record.config, ranMs = nowMs() - record.createdMs;
    endDomain(record, { kind: 'shutdown', reason });
    if (action === 'suspend') return;
    if (action === 'preserve') { await this.#closeDevices(record); this.#near.memory?.save(record); return; }
    if (action === 'rename-restart') { await this.#closeDevices(record); await this.#setAside(record); }
    else {
      if (action !== 'destroy') record.successor = record.config;
      await this.#destroy(record);
      // Whoever destroys it meanwhile wants none after it.
      if (!record.successor) return;
    }
    if (ranMs < RESTART_HOLD_MS) {
      log.warn({ name: config.name, ranMs }, 'the domain ended soon after its start: restarting it after a pause');
      await new Promise(resolve => setTimeout(resolve, RESTART_HOLD_MS));
    }
    if (this.#closing) return;
    try { await this.#create(config, false); } catch (error) {
      this.#onGone({ config, reason, ranMs, returns: false, error });
      throw error;
    }
  }

  /** rename-restart: the old domain stays under another name and UUID. */
  async #setAside(record: DomainRecord): Promise<void> {
    const stamp = new Date(this.#near.nowMs()).toISOString().replace(/[-:]/g, '').replace(/\d\d\.\d+Z$/, 'Z');
    await this.#rename(record, `${record.config.name}-${stamp}`);
    const old = vmPath(record.config.uuid);
    record.config = { ...record.config, uuid: randomUUID() };
    this.#near.memory?.save(record);
    const { store } = this.#near, fresh = vmPath(record.config.uuid);
    for (const [key, value] of [['name', record.config.name], ['uuid', record.config.uuid]] as const) await store.write(`${fresh}/${key}`, value);
    await store.write(`${domainPath(record.domid)}/vm`, fresh);
    await store.remove(old);
  }

  #isDom0(ref: DomainRef): boolean { return ref === 0 || ref === '0' || ref === DOM0_NAME; }

  #find(ref: DomainRef): DomainRecord {
    if (this.#isDom0(ref)) throw new ToolstackError('dom0-refused', 'Domain-0 is the host itself');
    const domid = typeof ref === 'number' || /^\d+$/.test(ref) ? Number(ref) : this.#names.get(ref);
    const record = domid === undefined ? undefined : this.#records.get(domid);
    if (!record) throw new ToolstackError('domain-not-found', `${ref} is an invalid domain identifier`);
    return record;
  }

  async view(record: DomainRecord): Promise<DomainView> {
    const info = this.#near.hypercalls.domainInfo(record.domid);
    const disks = await Promise.all(record.disks.map(disk => this.#diskView(record, disk)));
    const vifs = await Promise.all(record.vifs.map(vif => vifView(this.#near.store, record, vif)));
    const { name, uuid, weight, cap, maxVcpus, maxMemKib, memoryKib: memoryTargetKib } = record.config;
    const uptimeSec = Math.max(0, (this.#near.nowMs() - record.createdMs) / 1000);
    if (typeof info === 'number') return {
      domid: record.domid, name, uuid, memKib: 0, maxMemKib, vcpus: maxVcpus, vcpusOnline: 0, running: false, blocked: false, paused: false,
      shutdown: false, crashed: false, dying: true, cpuTimeSec: 0, uptimeSec, memoryTargetKib, weight, cap, disks, vifs,
    };
    return { ...stateOf(info), domid: record.domid, name, uuid, uptimeSec, memoryTargetKib, weight, cap, disks, vifs };
  }

  async #diskView(record: DomainRecord, { devid, config, disk }: DomainRecord['disks'][number]): Promise<DiskView> {
    const { store } = this.#near, front = vbdFrontendPath(record.domid, devid), backendPath = vbdBackendPath(record.domid, devid);
    const number = async (path: string): Promise<number> => { const text = await store.read(path); return text === undefined || text === '' ? -1 : Number(text); };
    return {
      devid, vdev: config.vdev, target: config.target, readOnly: config.readOnly, backendPath, counters: disk.info(),
      state: await number(`${front}/state`), eventChannel: await number(`${front}/event-channel`),
      ringRef: await number(`${front}/ring-ref`).then(async ref => ref >= 0 ? ref : number(`${front}/ring-ref0`)),
    };
  }

  /** Of the whole process. Asking the kernel costs as much as all the rest of a list, so it is not asked for each. */
  #usage(): Usage {
    const nowMs = performance.now();
    if (this.#lastUsage && nowMs - this.#lastUsage.atMs < USAGE_MS) return this.#lastUsage;
    const { user, system } = process.cpuUsage();
    return this.#lastUsage = { atMs: nowMs, memKib: Math.round(process.memoryUsage.rss() / 1024), cpuTimeSec: (user + system) / 1e6 };
  }

  async #dom0View(): Promise<DomainView> {
    const { hypercalls } = this.#near;
    const info = hypercalls.domainInfo(0 as Domid);
    const { memKib, cpuTimeSec } = this.#usage(), known = typeof info === 'number' ? undefined : info;
    const base = known
      ? { ...stateOf(known), memKib: known.memKib || memKib, maxMemKib: known.maxMemKib || memKib }
      : { paused: false, shutdown: false, crashed: false, dying: false, memKib, maxMemKib: memKib, vcpus: 1, vcpusOnline: 1, cpuTimeSec };
    return { ...base, running: true, blocked: false, domid: 0, name: DOM0_NAME, uuid: DOM0_UUID, uptimeSec: (this.#near.nowMs() - this.#startedMs) / 1000, memoryTargetKib: base.memKib, weight: 256, cap: 0, disks: [], vifs: [] };
  }
}

function stateOf(info: DomainInfo): Omit<DomainView, 'domid' | 'name' | 'uuid' | 'uptimeSec' | 'memoryTargetKib' | 'weight' | 'cap' | 'disks' | 'vifs'> {
  const shutdown = info.shutdown || info.crashed;
  return {
    running: info.running && !shutdown, blocked: info.blocked && !shutdown, paused: info.paused && !shutdown,
    shutdown: info.shutdown && !info.crashed, crashed: info.crashed || (info.shutdown && info.shutdownReason === SHUTDOWN_crash), dying: info.dying,
    ...(shutdown ? { shutdownReason: info.crashed ? SHUTDOWN_crash : info.shutdownReason } : {}),
    memKib: info.memKib, maxMemKib: info.maxMemKib, vcpus: info.vcpus, vcpusOnline: info.vcpusOnline, cpuTimeSec: Number(info.cpuTimeNs) / 1e9,
  };
}

/** The configured action for a shutdown reason; core dumps are not made. */
export function actionFor(config: DomainConfig, reason: number): 'destroy' | 'restart' | 'rename-restart' | 'preserve' | 'suspend' {
  if (reason === SHUTDOWN_suspend) return 'suspend';
  const wanted: EventAction = reason === SHUTDOWN_poweroff ? config.onPoweroff : reason === SHUTDOWN_reboot ? config.onReboot
    : reason === SHUTDOWN_crash ? config.onCrash : reason === SHUTDOWN_watchdog ? config.onWatchdog
      : reason === SHUTDOWN_soft_reset ? config.onSoftReset : 'destroy';
  switch (wanted) {
    case 'coredump-destroy': return 'destroy';
    case 'coredump-restart': case 'soft-reset': return 'restart';
    default: return wanted;
  }
}
