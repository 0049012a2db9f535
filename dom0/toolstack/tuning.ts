// What is changed in a domain that runs: memory target, scheduler parameters, interrupts.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { DomainRecord } from './domain-record.ts';
import { checked, ToolstackError } from './errors.ts';
import type { Store } from './ports.ts';
import { domainPath } from './store-tree.ts';

export interface TuningNeighbours { readonly store: Store; readonly hypercalls: Pick<Dom0Hypercalls, 'domainSetMaxMem' | 'domainSetScheduler' | 'domainSendNmi'> }

export const TRIGGERS = ['nmi', 'reset', 'init', 'power', 'sleep', 's3resume'] as const;
export type Trigger = (typeof TRIGGERS)[number];

/** A guest with less cannot go on. */
const LEAST_KIB = 16 * 1024;
/** LIBXL_MAXMEM_CONSTANT: the guest may have this much more than its target. */
const SLACK_KIB = 1024;
const MAX_WEIGHT = 65535;

/** Tells the guest's balloon driver where to go, and keeps it from having more. @throws ToolstackError */
export async function setMemoryTarget({ store, hypercalls }: TuningNeighbours, record: DomainRecord, kib: number): Promise<void> {
  const { domid, config } = record;
  if (kib > config.maxMemKib) throw new ToolstackError('bad-memory', `memory_dynamic_max must be less than or equal to memory_static_max: domain ${domid} has at most ${config.maxMemKib} KiB`);
  if (kib < LEAST_KIB) throw new ToolstackError('bad-memory', `a memory target of ${kib} KiB is too small: at least ${LEAST_KIB} KiB are needed`);
  checked(hypercalls.domainSetMaxMem(domid, Math.min(kib + SLACK_KIB, config.maxMemKib)), 'setting the most memory');
  await store.write(`${domainPath(domid)}/memory/target`, String(kib));
  record.config = { ...record.config, memoryKib: kib };
}

/** @throws ToolstackError */
export function setScheduler({ hypercalls }: TuningNeighbours, record: DomainRecord, change: { readonly weight?: number | undefined; readonly cap?: number | undefined }): void {
  const { weight = record.config.weight, cap = record.config.cap } = change, most = record.config.maxVcpus * 100;
  if (weight < 1 || weight > MAX_WEIGHT) throw new ToolstackError('bad-scheduling', `Cpu weight out of range, valid values are within range from 1 to ${MAX_WEIGHT}`);
  if (cap < 0 || cap > most) throw new ToolstackError('bad-scheduling', `Cpu cap out of range, valid range is from 0 to ${most} for specified number of vcpus`);
  checked(hypercalls.domainSetScheduler(record.domid, weight, cap), 'setting scheduler parameters');
  record.config = { ...record.config, weight, cap };
}

/** @throws ToolstackError 'not-supported' for what only machines with firmware have */
export function sendTrigger({ hypercalls }: TuningNeighbours, record: DomainRecord, trigger: Trigger, vcpu: number): void {
  if (trigger !== 'nmi') throw new ToolstackError('not-supported', `trigger ${trigger} is for HVM guests; a PV guest can be sent nmi`);
  if (hypercalls.domainSendNmi(record.domid, vcpu) < 0) throw new ToolstackError('device-not-found', `domain ${record.domid} has no vCPU ${vcpu} that is up`);
}
