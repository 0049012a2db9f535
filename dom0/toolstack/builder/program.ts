// A domain whose kernel is a WebAssembly module. Its guest frames, from pfn 0:
//
//   the program's memory ...   module   initrd   the guest kernel's heap   xenstore ring   console ring   start_info
//
// The module lies where the program's memory will be: the guest kernel takes it away once it is compiled.
import { open, readFile } from 'node:fs/promises';
import type { Dom0Hypercalls } from '../../../hypervisor/public/dom0-hypercalls.ts';
import { program_info } from '../../../hypervisor/public/program.ts';
import { domid, evtchnPort, grantRef, type Domid, type Mfn } from '../../../hypervisor/public/types.ts';
import type { DomainConfig } from '../config/schema.ts';
import type { BuildPorts } from './build-domain.ts';
import { BuilderError } from './builder-error.ts';
import { GuestFrames } from './guest-frames.ts';
import { PAGE_BYTES } from './layout.ts';
import { openRamdisk, type Ramdisk } from './ramdisk.ts';
import { encodeCmdline, SIF_MOD_START_PFN, writeStartInfo } from './start-info.ts';

const GNTTAB_RESERVED_CONSOLE = 0, GNTTAB_RESERVED_XENSTORE = 1;
const MAGIC = [0, 0x61, 0x73, 0x6d];
/** Of the domain's frames, for the guest kernel's rings and buffers: a sixteenth, but no more than 8 MiB. */
const HEAP_SHARE = 16, HEAP_FRAMES_MIN = 16, HEAP_FRAMES_MAX = 2048;
/** Start_info and the two rings. */
const OWN_FRAMES = 3;

export interface ProgramPlan {
  readonly module: Uint8Array; readonly ramdisk: Ramdisk | null; readonly cmdline: string; readonly frameCount: number;
  readonly modulePfn: number; readonly ramdiskPfn: number; readonly heapPfn: number; readonly heapFrames: number;
}

export async function isProgram(path: string): Promise<boolean> {
  const file = await open(path, 'r').catch(() => undefined);
  if (!file) return false;
  try {
    const head = new Uint8Array(MAGIC.length);
    await file.read(head, 0, head.length, 0);
    return MAGIC.every((b, i) => head[i] === b);
  } finally { await file.close(); }
}

/** @throws BuilderError: nothing has been made */
export async function planProgram(config: DomainConfig): Promise<ProgramPlan> {
  if (config.maxVcpus !== 1) throw new BuilderError('kernel-features', `The kernel ${config.kernel} is a WebAssembly module: it runs on one vCPU, not ${config.maxVcpus}.`);
  encodeCmdline(config.cmdline);
  const frameCount = Math.floor(config.memoryKib * 1024 / PAGE_BYTES);
  const module = await readFile(config.kernel);
  const ramdisk = config.ramdisk === undefined ? null : await openRamdisk(config.ramdisk, frameCount * PAGE_BYTES);
  const heapFrames = Math.min(HEAP_FRAMES_MAX, Math.max(HEAP_FRAMES_MIN, Math.floor(frameCount / HEAP_SHARE)));
  const heapPfn = frameCount - OWN_FRAMES - heapFrames;
  const ramdiskPfn = heapPfn - Math.ceil((ramdisk?.bytes ?? 0) / PAGE_BYTES), modulePfn = ramdiskPfn - Math.ceil(module.length / PAGE_BYTES);
  if (modulePfn < 0) throw new BuilderError('memory-too-small', `The module ${config.kernel} and its initrd do not fit ${config.memoryKib / 1024} MiB of memory; raise "memory".`);
  return { module, ramdisk, cmdline: config.cmdline, frameCount, modulePfn, ramdiskPfn, heapPfn, heapFrames };
}

export async function buildProgram(hv: Dom0Hypercalls, dom: Domid, plan: ProgramPlan, ports: BuildPorts): Promise<{ storeMfn: Mfn; consoleMfn: Mfn }> {
  const info = hv.domainInfo(dom), mfns = hv.populate(dom, plan.frameCount), memory = hv.foreign(dom);
  if (typeof info === 'number' || typeof mfns === 'number' || typeof memory === 'number') throw refused(typeof mfns === 'number' ? mfns : -1, `give it ${plan.frameCount * PAGE_BYTES / 0x100000} MiB of memory`);
  const frames = new GuestFrames(memory.bytes, mfns), startInfoPfn = plan.frameCount - 1;
  frames.write(plan.modulePfn * PAGE_BYTES, plan.module);
  await plan.ramdisk?.load(frames, plan.ramdiskPfn * PAGE_BYTES);
  const consoleMfn = frames.mfn(startInfoPfn - 1), storeMfn = frames.mfn(startInfoPfn - 2), page = frames.page(startInfoPfn);
  writeStartInfo(page, {
    nrPages: plan.frameCount, sharedInfoMfn: info.sharedInfoMfn, flags: plan.ramdisk ? SIF_MOD_START_PFN : 0,
    storeMfn, storePort: evtchnPort(ports.storePort), consoleMfn, consolePort: evtchnPort(ports.consolePort),
    ptBase: 0n, nrPtFrames: 0, mfnList: 0n, modStart: plan.ramdisk ? BigInt(plan.ramdiskPfn) : 0n, modLen: plan.ramdisk?.bytes ?? 0,
    cmdline: plan.cmdline, firstP2mPfn: 0, nrP2mFrames: 0,
  });
  const words = new DataView(page.buffer, page.byteOffset, PAGE_BYTES);
  words.setUint32(program_info.image, plan.modulePfn * PAGE_BYTES, true);
  words.setUint32(program_info.imageBytes, plan.module.length, true);
  words.setUint32(program_info.heapPfn, plan.heapPfn, true);
  words.setUint32(program_info.heapFrames, plan.heapFrames, true);
  done(hv.setM2p(dom, mfns, 0), 'enter its frames into the M2P');
  done(hv.gnttabSeed(dom, grantRef(GNTTAB_RESERVED_CONSOLE), consoleMfn, ports.consoleDomid ?? domid(0)), 'grant its console page');
  done(hv.gnttabSeed(dom, grantRef(GNTTAB_RESERVED_XENSTORE), storeMfn, ports.storeDomid ?? domid(0)), 'grant its xenstore page');
  done(hv.setContext(dom, { program: startInfoPfn }), 'start its program');
  return { storeMfn, consoleMfn };
}

const refused = (error: number, what: string): BuilderError => new BuilderError('hypervisor', `The hypervisor refused to build the domain: it could not ${what} (error ${error}).`);
function done(result: number, what: string): void { if (result < 0) throw refused(result, what); }
