// Debug keys (xl debug-keys): what the hypervisor knows, written to its console ring. One row per key.
import { type Hypervisor, kick } from '../domain/hypervisor.ts';
import { D, DOMAIN_STATE, DUMP, E, H, HYPERCALL_NUMBERS, MAX_PORTS, MAX_SLOTS, V } from '../domain/state.ts';
import { sendVirq } from '../event/channels.ts';
import { entryWord, ENTRIES_PER_FRAME, grantUses, spaceOfMemory } from '../grant/table.ts';
import { allocatedFrames, maxFrames } from '../mm/frames.ts';
import { EINVAL } from '../public/errno.ts';
import { GTF_type_mask } from '../public/grant_table.ts';
import { vcpu_info } from '../public/layouts.ts';
import * as xen from '../public/xen.ts';
import { appendConsole } from './console.ts';
import { readTrace, setTrace, traced } from './trace.ts';

type Say = (line: string) => void;
interface Key { readonly key: string; readonly what: string; readonly run: (hv: Hypervisor, say: Say) => void }
const slots = (hv: Hypervisor): number[] => Array.from({ length: MAX_SLOTS }, (_, s) => s).filter(s => hv.state.dget(s, D.state) !== DOMAIN_STATE.free);
const eachVcpu = (hv: Hypervisor, slot: number, visit: (vcpu: number) => void): void => { for (let v = 0; v < hv.state.dget(slot, D.vcpus); v++) visit(v); };
const RUNSTATES = ['running', 'runnable', 'blocked', 'offline'], PORT_STATES = ['closed', 'unbound', 'interdomain', 'pirq', 'virq', 'ipi'];
/** Trace records that go to the console ring at most: it holds some thousand lines. */
const TRACE_LINES = 1000;
const HYPERCALL_NAMES = new Map(Object.entries(xen).filter(([name]) => name.startsWith('__HYPERVISOR_')).map(([name, n]) => [Number(n), name.slice('__HYPERVISOR_'.length)]));
export const hypercallName = (n: number): string => HYPERCALL_NAMES.get(n) ?? `hypercall ${n}`;
const hex = (n: number, digits: number): string => (n >>> 0).toString(16).padStart(digits, '0');

/** Each vCPU's thread knows its own state and writes it when it looks up. */
function askVcpu(hv: Hypervisor, slot: number, vcpu: number, what: number): void {
  Atomics.or(hv.state.words, hv.state.vcpu(slot, vcpu) + V.dump, what);
  kick(hv, slot, vcpu);
}

function dumpDomain(hv: Hypervisor, s: number, say: Say): void {
  const g = (f: number): number => hv.state.dget(s, f), m = s ? hv.memories.get(s, g(D.domid)) : undefined;
  const u = [0, 1, 2, 3].map(i => hex(g(D.uuid + i), 8)).join('');
  say(`General information for domain ${g(D.domid)}:`);
  say(`    slot=${s} dying=${g(D.state) === DOMAIN_STATE.dying ? 1 : 0} pause_count=${g(D.paused)} shutdown=${g(D.shutdown) === 0 ? 0 : 1} shutdown_code=${g(D.shutdown) - 1}`);
  if (m) say(`    nr_pages=${allocatedFrames(spaceOfMemory(m))} max_pages=${maxFrames(spaceOfMemory(m))} grant_frames=${g(D.grantFrames)}`);
  say(`    handle=${u.slice(0, 8)}-${u.slice(8, 12)}-${u.slice(12, 16)}-${u.slice(16, 20)}-${u.slice(20)} vm_assist=${hex(g(D.vmAssist), 8)}`);
  say(`VCPU information and callbacks for domain ${g(D.domid)}:`);
  eachVcpu(hv, s, v => {
    const w = (f: number): number => hv.state.vget(s, v, f), info = w(V.info), f = vcpu_info.fields;
    const byte = (at: number): string => m && info ? hex(m.bytes[info + at]!, 2) : '--';
    say(`    VCPU${v}: ${RUNSTATES[w(V.runstate)]} [has=${w(V.granted) ? 'T' : 'F'}] poll=${w(V.blocked) === 2 ? 1 : 0} upcall_pend=${byte(f.evtchn_upcall_pending)} upcall_mask=${byte(f.evtchn_upcall_mask)} up=${w(V.up)} deadline=${hv.state.vlong(s, v, V.deadline)}`);
  });
}

const KEYS: readonly Key[] = [
  { key: 'T', what: 'trace hypercalls and events of all domains; the second time, stop and dump', run: (hv, say) => {
    const on = !slots(hv).some(s => traced(hv.state, s));
    setTrace(hv.state, -1, on);
    if (!on) for (const line of readTrace(hv.state, hypercallName).slice(-TRACE_LINES)) say(line);
  } },
  { key: 'c', what: 'print processor counters of every vCPU', run: hv => { for (const s of slots(hv)) if (s) eachVcpu(hv, s, v => askVcpu(hv, s, v, DUMP.counters)); } },
  { key: 'd', what: 'dump registers', run: hv => {
    for (const s of slots(hv)) if (s) eachVcpu(hv, s, v => askVcpu(hv, s, v, DUMP.registers));
  } },
  { key: 'e', what: 'dump evtchn info', run: (hv, say) => {
    for (const s of slots(hv)) for (let p = 1; p < MAX_PORTS; p++) {
      const at = hv.state.port(s, p), w = hv.state.words;
      if (w[at + E.state]) say(`    d${hv.state.dget(s, D.domid)} port ${p}: ${PORT_STATES[w[at + E.state]!]} vcpu=${w[at + E.vcpu]} remote=d${w[at + E.remoteDomid]}:${w[at + E.remotePort]} virq=${w[at + E.virq]}`);
    }
  } },
  { key: 'g', what: 'print grant table usage', run: (hv, say) => {
    for (const s of slots(hv)) {
      const m = s ? hv.memories.get(s, hv.state.dget(s, D.domid)) : undefined, count = hv.state.dget(s, D.grantFrames) * ENTRIES_PER_FRAME;
      if (!m) continue;
      let granted = 0, reading = 0, writing = 0;
      for (let ref = 0; ref < count; ref++) {
        if (m.words[entryWord(hv, s, ref)]! & GTF_type_mask) granted++;
        const uses = grantUses(hv, s, ref);
        reading += uses.reading;
        writing += uses.writing;
      }
      say(`grant-table for remote d${m.domid} (v1): ${count / ENTRIES_PER_FRAME} frames, ${granted} of ${count} entries granted, in use ${reading} times for reading, ${writing} for writing`);
    }
  } },
  // Only Dom0's thread can ask main for that, and does so itself (boot/dom0.ts).
  { key: 'C', what: 'end Dom0\'s thread, which is started again', run: () => {} },
  { key: 'h', what: 'show this message', run: (_hv, say) => { for (const k of KEYS) say(` key '${k.key}' (ascii '${k.key.charCodeAt(0).toString(16)}') => ${k.what}`); } },
  { key: 'p', what: 'print performance counters', run: (hv, say) => {
    for (const s of slots(hv)) {
      const counts = Array.from({ length: HYPERCALL_NUMBERS }, (_, n) => [n, hv.state.words[hv.state.hypercalls(s, n)]! >>> 0] as const).filter(([, c]) => c > 0);
      if (s) say(`d${hv.state.dget(s, D.domid)} hypercalls: ${counts.sort((a, b) => b[1] - a[1]).map(([n, c]) => `${hypercallName(n)}=${c}`).join(' ')}`);
    }
  } },
  { key: 'P', what: 'reset performance counters', run: hv => { for (const s of slots(hv)) hv.state.words.fill(0, hv.state.hypercalls(s, 0), hv.state.hypercalls(s, HYPERCALL_NUMBERS)); } },
  { key: 'q', what: 'dump domain (and guest debug) info', run: (hv, say) => {
    for (const s of slots(hv)) dumpDomain(hv, s, say);
    // The guests' own debug output, as the real key asks for it.
    for (const s of slots(hv)) eachVcpu(hv, s, v => {
      say(`Notifying guest ${hv.state.dget(s, D.domid)}:${v} (virq ${xen.VIRQ_DEBUG}, port ${hv.state.vget(s, v, V.virq + xen.VIRQ_DEBUG)})`);
      sendVirq(hv, s, v, xen.VIRQ_DEBUG);
    });
  } },
  { key: 'r', what: 'dump run queues', run: (hv, say) => {
    say(`pCPUs ${hv.state.words[H.pcpus]}, free ${hv.state.words[H.freePcpus]}, waiting ${hv.state.words[H.waiting]}`);
    for (const s of slots(hv)) eachVcpu(hv, s, v => {
      say(`    d${hv.state.dget(s, D.domid)}v${v} weight=${hv.state.dget(s, D.weight)} credit=${hv.state.vget(s, v, V.credit)}us granted=${hv.state.vget(s, v, V.granted)} queued=${hv.state.vget(s, v, V.queued)} cpu=${hv.state.vlong(s, v, V.cpuTime) / 1_000_000n}ms`);
    });
  } },
];
/** 0, or -EINVAL for a key nobody handles. */
export function debugKey(hv: Hypervisor, key: string): number {
  const row = KEYS.find(k => k.key === key);
  if (!row) return -EINVAL;
  appendConsole(hv.state, `'${key}' pressed -> ${row.what}`);
  row.run(hv, line => appendConsole(hv.state, line));
  return 0;
}
