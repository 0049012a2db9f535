// /metrics in Prometheus's text format: every number is read when it is asked for.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { PerfCounters } from '../../hypervisor/public/perf.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import type { DomainView, HostView } from '../toolstack/action.ts';

type Labels = Readonly<Record<string, string | number>>;
const KIB = 1024;
const STATES = ['running', 'blocked', 'paused', 'shutdown', 'crashed', 'dying'] as const;
/** RUNSTATE_* by number. */
const RUNSTATES = ['running', 'runnable', 'blocked', 'offline'];

/** Families in the order they were first named; samples of one stand together, as the format asks. */
class Families {
  readonly #families = new Map<string, { readonly type: string; readonly help: string; readonly lines: string[] }>();
  add(name: string, type: 'gauge' | 'counter', help: string, value: number, labels: Labels = {}): void { this.#family(name, type, help).push(`${name}${labelsText(labels)} ${value}`); }
  histogram(name: string, help: string, { bucketsSec, counts, sumSec }: { readonly bucketsSec: readonly number[]; readonly counts: readonly number[]; readonly sumSec: number }): void {
    const lines = this.#family(name, 'histogram', help);
    let total = 0;
    counts.forEach((count, i) => { total += count; lines.push(`${name}_bucket${labelsText({ le: bucketsSec[i] ?? '+Inf' })} ${total}`); });
    lines.push(`${name}_sum ${sumSec}`, `${name}_count ${total}`);
  }
  text(): string { return [...this.#families].map(([name, { type, help, lines }]) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('\n')}\n`).join(''); }
  #family(name: string, type: string, help: string): string[] {
    let family = this.#families.get(name);
    if (!family) this.#families.set(name, family = { type, help, lines: [] });
    return family.lines;
  }
}

function labelsText(labels: Labels): string {
  const all = Object.entries(labels).map(([name, value]) => `${name}="${String(value).replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`);
  return all.length > 0 ? `{${all.join(',')}}` : '';
}

/** @param hypercalls absent: without what only the hypervisor knows */
export function metricsText(domains: readonly DomainView[], host: HostView, hypercalls?: Dom0Hypercalls): string {
  const out = new Families();
  out.add('xenolith_host_cpus', 'gauge', 'pCPUs.', host.cpus);
  out.add('xenolith_host_memory_bytes', 'gauge', 'Memory for domains.', host.totalMemKib * KIB);
  out.add('xenolith_host_memory_free_bytes', 'gauge', 'Memory that no domain has.', host.freeMemKib * KIB);
  out.add('xenolith_host_uptime_seconds', 'gauge', 'Time since the host started.', host.uptimeSec);
  if (hypercalls) {
    const { freePcpus, waiting } = hypercalls.schedulerInfo();
    out.add('xenolith_sched_free_pcpus', 'gauge', 'pCPUs that nobody uses.', freePcpus);
    out.add('xenolith_sched_waiting_vcpus', 'gauge', 'vCPUs that wait for a pCPU.', waiting);
    out.histogram('xenolith_dom0_event_latency_seconds', 'How long events for Dom0 waited to be seen.', hypercalls.eventLatency());
  }
  for (const domain of domains) {
    addDomain(out, domain);
    if (hypercalls && domain.domid !== 0) addVcpus(out, domain, hypercalls);
  }
  return out.text();
}

function addDomain(out: Families, domain: DomainView): void {
  const { domid, name } = domain, labels = { domid, name };
  out.add('xenolith_domain_cpu_seconds_total', 'counter', 'Time on pCPUs.', domain.cpuTimeSec, labels);
  out.add('xenolith_domain_memory_bytes', 'gauge', 'Memory of the domain.', domain.memKib * KIB, labels);
  out.add('xenolith_domain_vcpus', 'gauge', 'vCPUs that are up.', domain.vcpusOnline, labels);
  for (const state of STATES) out.add('xenolith_domain_state', 'gauge', '1 for the states that the domain is in.', Number(domain[state]), { ...labels, state });
  for (const disk of domain.disks) for (const [counter, value] of Object.entries(disk.counters)) out.add('xenolith_domain_disk', 'gauge', 'What the disk backend counts, by counter.', value, { ...labels, vdev: disk.vdev, counter });
  for (const vif of domain.vifs) for (const [counter, value] of Object.entries(vif.counters)) out.add('xenolith_domain_net', 'gauge', 'What the network backend counts, by counter.', value, { ...labels, devid: vif.devid, counter });
}

function addVcpus(out: Families, { domid, name }: DomainView, hypercalls: Dom0Hypercalls): void {
  const vcpus = hypercalls.vcpuInfo(domid as Domid), counters = hypercalls.perfCounters(domid as Domid), labels = { domid, name };
  if (typeof vcpus !== 'number') for (const { vcpu, runstateNs } of vcpus) {
    runstateNs.forEach((ns, state) => out.add('xenolith_vcpu_runstate_seconds_total', 'counter', 'Time in each runstate.', Number(ns) / 1e9, { ...labels, vcpu, state: RUNSTATES[state] ?? state }));
  }
  if (typeof counters === 'number') return;
  for (const [kind, help] of [['hypercalls', 'Hypercalls by name.'], ['exits', 'Exits of the processor by reason.']] as const) {
    for (const [what, count] of sums(counters, kind)) out.add(`xenolith_domain_${kind}_total`, 'counter', help, count, { ...labels, [kind === 'exits' ? 'reason' : 'hypercall']: what });
  }
}

/** Of all vCPUs. */
function sums(counters: readonly PerfCounters[], kind: 'exits' | 'hypercalls'): Map<string, number> {
  const all = new Map<string, number>();
  for (const vcpu of counters) for (const [name, { count }] of Object.entries(vcpu[kind])) all.set(name, (all.get(name) ?? 0) + count);
  return all;
}
