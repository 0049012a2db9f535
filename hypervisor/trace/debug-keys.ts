// Debug keys (xl debug-keys): what the hypervisor knows, written to its console ring. One row per key.
import type { Hypervisor } from '../domain/hypervisor.ts';
import { D, DOMAIN_STATE, E, H, MAX_PORTS, MAX_SLOTS, V } from '../domain/state.ts';
import { entryWord, ENTRIES_PER_FRAME } from '../grant/table.ts';
import { EINVAL } from '../public/errno.ts';
import { appendConsole } from './console.ts';

type Key = { readonly key: string; readonly what: string; readonly run: (hv: Hypervisor, say: (line: string) => void) => void };
const slots = (hv: Hypervisor): number[] => Array.from({ length: MAX_SLOTS }, (_, s) => s).filter(s => hv.state.dget(s, D.state) !== DOMAIN_STATE.free);
const RUNSTATES = ['running', 'runnable', 'blocked', 'offline'], PORT_STATES = ['closed', 'unbound', 'interdomain', 'pirq', 'virq', 'ipi'];

const KEYS: readonly Key[] = [
  { key: 'h', what: 'show this message', run: (_hv, say) => { for (const k of KEYS) say(` key '${k.key}' => ${k.what}`); } },
  { key: 'q', what: 'dump domain (and guest debug) info', run: (hv, say) => {
    for (const s of slots(hv)) {
      const g = (f: number): number => hv.state.dget(s, f);
      say(`General information for domain ${g(D.domid)}: slot=${s} state=${g(D.state)} pause_count=${g(D.paused)} shutdown=${g(D.shutdown)}/${g(D.shutdownReason)} max_mem=${g(D.maxMemKib)}kB grant_frames=${g(D.grantFrames)}`);
      for (let v = 0; v < g(D.vcpus); v++) say(`    VCPU${v}: up=${hv.state.vget(s, v, V.up)} ${RUNSTATES[hv.state.vget(s, v, V.runstate)]} blocked=${hv.state.vget(s, v, V.blocked)} deadline=${hv.state.vlong(s, v, V.deadline)}`);
    }
  } },
  { key: 'r', what: 'dump run queues', run: (hv, say) => {
    say(`pCPUs ${hv.state.words[H.pcpus]}, free ${hv.state.words[H.freePcpus]}, waiting ${hv.state.words[H.waiting]}`);
    for (const s of slots(hv)) for (let v = 0; v < hv.state.dget(s, D.vcpus); v++) {
      say(`    d${hv.state.dget(s, D.domid)}v${v} credit=${hv.state.vget(s, v, V.credit)}us granted=${hv.state.vget(s, v, V.granted)} queued=${hv.state.vget(s, v, V.queued)} cpu=${hv.state.vlong(s, v, V.cpuTime) / 1_000_000n}ms`);
    }
  } },
  { key: 'e', what: 'dump evtchn info', run: (hv, say) => {
    for (const s of slots(hv)) for (let p = 1; p < MAX_PORTS; p++) {
      const at = hv.state.port(s, p), w = hv.state.words;
      if (w[at + E.state]) say(`    d${hv.state.dget(s, D.domid)} port ${p}: ${PORT_STATES[w[at + E.state]!]} vcpu=${w[at + E.vcpu]} remote=d${w[at + E.remoteDomid]}:${w[at + E.remotePort]} virq=${w[at + E.virq]}`);
    }
  } },
  { key: 'g', what: 'print grant table usage', run: (hv, say) => {
    for (const s of slots(hv)) {
      const m = s ? hv.memories.get(s, hv.state.dget(s, D.domid)) : undefined;
      let used = 0, busy = 0;
      for (let ref = 0; m && ref < hv.state.dget(s, D.grantFrames) * ENTRIES_PER_FRAME; ref++) {
        const flags = m.words[entryWord(hv, s, ref)]! & 0xffff;
        if (flags & 3) used++;
        if (flags & 0x18) busy++;
      }
      if (m) say(`    d${hv.state.dget(s, D.domid)}: ${hv.state.dget(s, D.grantFrames)} frames, ${used} entries, ${busy} in use`);
    }
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
