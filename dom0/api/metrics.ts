// /metrics in Prometheus's text format: every number is read when it is asked for.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { PerfCounters } from '../../hypervisor/public/perf.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import type { DomainView, HostView } from '../toolstack/action.ts';
import { addDisks, addVifs } from './device-metrics.ts';
import { Families } from './families.ts';

const KIB = 1024;
const STATES = ['running', 'blocked', 'paused', 'shutdown', 'crashed', 'dying'] as const;
/** RUNSTATE_* by number. */
const RUNSTATES = ['running', 'runnable', 'blocked', 'offline'];

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
  out.add('xenolith_domain_memory_limit_bytes', 'gauge', 'Most memory the domain may have.', domain.maxMemKib * KIB, labels);
  out.add('xenolith_domain_uptime_seconds', 'gauge', 'Time since it was made.', domain.uptimeSec, labels);
  addDisks(out, domain);
  addVifs(out, domain);
}

function addVcpus(out: Families, { domid, name }: DomainView, hypercalls: Dom0Hypercalls): void {
  const vcpus = hypercalls.vcpuInfo(domid as Domid), counters = hypercalls.perfCounters(domid as Domid), labels = { domid, name };
  if (typeof vcpus !== 'number') for (const { vcpu, runstateNs } of vcpus) {
    runstateNs.forEach((ns, state) => out.add('xenolith_vcpu_runstate_seconds_total', 'counter', 'Time in each runstate.', Number(ns) / 1e9, { ...labels, vcpu, state: RUNSTATES[state] ?? state }));
  }
  if (typeof vcpus !== 'number') for (const { vcpu, cpuTimeNs } of vcpus) out.add('xenolith_vcpu_cpu_seconds_total', 'counter', 'Time of each vCPU on pCPUs.', Number(cpuTimeNs) / 1e9, { ...labels, vcpu });
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
