// The domain builder: from a parsed kernel to a domain that can be unpaused (public/xen.h, start of day).
import { writeHypercallPage } from '../../../hypervisor/public/hypercall-page.ts';
import type { Dom0Hypercalls } from '../../../hypervisor/public/dom0-hypercalls.ts';
import { domid, grantRef, mfnIndex, type Domid, type EvtchnPort, type Mfn } from '../../../hypervisor/public/types.ts';
import { BuilderError } from './builder-error.ts';
import { GuestFrames } from './guest-frames.ts';
import type { KernelImage } from './kernel-image.ts';
import { PAGE_BYTES, planLayout, type Layout } from './layout.ts';
import { packModules, type BootModule } from './module-list.ts';
import { rootTablePfn, writePageTables } from './page-tables.ts';
import { openRamdisk, type Ramdisk } from './ramdisk.ts';
import { encodeCmdline, SIF_MOD_START_PFN, SIF_MULTIBOOT_MOD, writeStartInfo } from './start-info.ts';

/** Reserved grant references of a new domain (public/grant_table.h). */
const GNTTAB_RESERVED_CONSOLE = 0, GNTTAB_RESERVED_XENSTORE = 1;
const PAGES_PER_MIB = 0x100000 / PAGE_BYTES;
const XEN_LEGACY_MAX_VCPUS = 32, VCPU_INFO_BYTES = 64, EVTCHN_UPCALL_MASK = 1;
export const MAX_MEMORY_MIB = 4096;

/** What is known before the domain is made. */
export interface PlanOptions {
  readonly memoryMib: number;
  /** Bytes, or the path of a file. One gzip member is unpacked. */
  readonly ramdisk?: Uint8Array | string;
  /** Instead of a ramdisk: several modules, as a multiboot module package. */
  readonly modules?: readonly BootModule[];
  readonly cmdline: string;
}

/** What comes with the domain. */
export interface BuildPorts {
  /** The new domain's ports, made with evtchnAllocUnbound. */
  readonly storePort: EvtchnPort;
  readonly consolePort: EvtchnPort;
  /** Who maps the xenstore and the console ring (default: domain 0). */
  readonly storeDomid?: Domid;
  readonly consoleDomid?: Domid;
}

export type BuildOptions = PlanOptions & BuildPorts;

export interface BuildResult {
  readonly storeMfn: Mfn; readonly consoleMfn: Mfn; readonly sharedInfoMfn: Mfn;
  readonly startInfoMfn: Mfn;
  readonly totalPages: number;
  readonly layout: Layout;
}

/** Everything that can be checked without a domain. */
export interface DomainPlan {
  readonly image: KernelImage;
  readonly options: PlanOptions;
  readonly layout: Layout;
  readonly ramdisk: Ramdisk | null;
}

/**
 * Checks sizes and works out where everything goes. Call it before making the domain.
 * @throws BuilderError: nothing has been made
 */
export async function planDomain(image: KernelImage, options: PlanOptions): Promise<DomainPlan> {
  const { memoryMib } = options;
  if (!Number.isFinite(memoryMib) || memoryMib <= 0) throw new BuilderError('memory-size', `A domain cannot have ${memoryMib} MiB of memory; give "memory" in MiB, 64 or more for a Linux kernel.`);
  if (memoryMib > MAX_MEMORY_MIB) throw new BuilderError('memory-size', `A domain cannot have ${memoryMib} MiB of memory; ${MAX_MEMORY_MIB} MiB is the most, less what the hypervisor needs for it.`);
  encodeCmdline(options.cmdline);
  const totalPages = Math.floor(memoryMib * PAGES_PER_MIB);
  const source = options.modules !== undefined && options.modules.length > 0 ? packModules(options.modules) : options.ramdisk;
  const ramdisk = source === undefined ? null : await openRamdisk(source, totalPages * PAGE_BYTES);
  return { image, options, ramdisk, layout: planLayout(image.params, totalPages, ramdisk?.bytes ?? null) };
}

/** Plans and builds in one go; the domain is left as it is when this throws (the caller destroys it). */
export async function buildDomain(hv: Dom0Hypercalls, dom: Domid, image: KernelImage, options: BuildOptions): Promise<BuildResult> {
  return await buildPlanned(hv, dom, await planDomain(image, options), options);
}

/** Populates `dom`, loads everything, writes start_info and page tables and sets vCPU 0. */
export async function buildPlanned(hv: Dom0Hypercalls, dom: Domid, plan: DomainPlan, ports: BuildPorts): Promise<BuildResult> {
  const { layout, image, options } = plan;
  const { params } = image;
  const info = succeeded(hv.domainInfo(dom), 'read its state');
  const mfns = succeeded(hv.populate(dom, layout.totalPages), `give it ${options.memoryMib} MiB of memory`);
  if (mfns.length !== layout.totalPages) throw new BuilderError('hypervisor', `The hypervisor gave ${mfns.length} frames instead of ${layout.totalPages}.`);
  const memory = succeeded(hv.foreign(dom), 'map its memory');
  const frames = new GuestFrames(memory.bytes, mfns);

  loadKernel(frames, image);
  if (plan.ramdisk !== null && layout.ramdisk !== null) await plan.ramdisk.load(frames, layout.ramdisk.pfn * PAGE_BYTES);
  writeP2m(frames, layout);
  writePageTables(layout, frames);
  if (params.hypercallPage !== null) writeHypercallPage(frames.page(Number((params.hypercallPage - params.virtBase) >> 12n)));
  maskUpcalls(memory.bytes, info.sharedInfoMfn);

  const storeMfn = frames.mfn(layout.xenstorePfn), consoleMfn = frames.mfn(layout.consolePfn);
  const virtual = (pfn: number): bigint => params.virtBase + BigInt(pfn) * 4096n;
  writeStartInfo(frames.page(layout.startInfoPfn), {
    nrPages: layout.totalPages, sharedInfoMfn: info.sharedInfoMfn, flags: startFlags(plan),
    storeMfn, storePort: ports.storePort, consoleMfn, consolePort: ports.consolePort,
    ptBase: virtual(layout.pageTables.pfn), nrPtFrames: layout.pageTables.pages, mfnList: layout.p2mVirt,
    ...moduleRange(plan, virtual), cmdline: options.cmdline,
    firstP2mPfn: layout.p2mApart ? layout.p2m.pfn : 0, nrP2mFrames: layout.p2mApart ? layout.p2m.pages : 0,
  });

  succeeded(hv.setM2p(dom, mfns, 0), 'enter its frames into the M2P');
  succeeded(hv.gnttabSeed(dom, grantRef(GNTTAB_RESERVED_CONSOLE), consoleMfn, ports.consoleDomid ?? domid(0)), 'grant its console page');
  succeeded(hv.gnttabSeed(dom, grantRef(GNTTAB_RESERVED_XENSTORE), storeMfn, ports.storeDomid ?? domid(0)), 'grant its xenstore page');
  succeeded(hv.setContext(dom, {
    rip: params.virtEntry, rsp: virtual(layout.bootStackPfn + 1), rsi: virtual(layout.startInfoPfn),
    cr3Mfn: frames.mfn(rootTablePfn(layout)),
  }), 'start on its page tables');
  return { storeMfn, consoleMfn, sharedInfoMfn: info.sharedInfoMfn, startInfoMfn: frames.mfn(layout.startInfoPfn), totalPages: layout.totalPages, layout };
}

function succeeded<T>(result: T | number, what: string): T;
function succeeded(result: number, what: string): number;
function succeeded<T>(result: T | number, what: string): T | number {
  if (typeof result === 'number' && result < 0) throw new BuilderError('hypervisor', `The hypervisor refused to build the domain: it could not ${what} (error ${result}).`);
  return result;
}

/** Frames are zero when populated, so only what the file holds is written. */
function loadKernel(frames: GuestFrames, image: KernelImage): void {
  const { virtOffset, virtBase } = image.params;
  for (const l of image.loads) frames.write(Number(BigInt.asUintN(64, l.paddr + virtOffset - virtBase)), l.data);
}

function writeP2m(frames: GuestFrames, layout: Layout): void {
  const list = new BigUint64Array(layout.totalPages);
  for (let pfn = 0; pfn < layout.totalPages; pfn++) list[pfn] = BigInt(frames.mfn(pfn));
  frames.write(layout.p2m.pfn * PAGE_BYTES, new Uint8Array(list.buffer));
}

/** A domain starts with upcalls masked on every vCPU. */
function maskUpcalls(memory: Uint8Array, sharedInfo: Mfn): void {
  const at = mfnIndex(sharedInfo) * PAGE_BYTES;
  for (let vcpu = 0; vcpu < XEN_LEGACY_MAX_VCPUS; vcpu++) memory[at + vcpu * VCPU_INFO_BYTES + EVTCHN_UPCALL_MASK] = 1;
}

function startFlags(plan: DomainPlan): number {
  const byPfn = plan.layout.ramdisk !== null && plan.image.params.modStartPfn ? SIF_MOD_START_PFN : 0;
  return byPfn | ((plan.options.modules?.length ?? 0) > 0 ? SIF_MULTIBOOT_MOD : 0);
}

/** mod_start and mod_len; the length is in whole pages, as libxl's builder gives it. */
function moduleRange(plan: DomainPlan, virtual: (pfn: number) => bigint): { modStart: bigint; modLen: number } {
  const { ramdisk } = plan.layout;
  if (ramdisk === null) return { modStart: 0n, modLen: 0 };
  return { modStart: plan.image.params.modStartPfn ? BigInt(ramdisk.pfn) : virtual(ramdisk.pfn), modLen: ramdisk.pages * PAGE_BYTES };
}
