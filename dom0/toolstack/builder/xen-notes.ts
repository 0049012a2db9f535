// What a kernel says of itself to a domain builder: XEN_ELFNOTE_* notes, or the older __xen_guest string.
// Constants from public/elfnote.h and public/features.h (MIT).
import { BuilderError } from './builder-error.ts';
import { cString, type Elf, type ElfNote } from './elf.ts';

const XEN_ELFNOTE_ENTRY = 1;
const XEN_ELFNOTE_HYPERCALL_PAGE = 2;
const XEN_ELFNOTE_VIRT_BASE = 3;
const XEN_ELFNOTE_PADDR_OFFSET = 4;
const XEN_ELFNOTE_XEN_VERSION = 5;
const XEN_ELFNOTE_GUEST_OS = 6;
const XEN_ELFNOTE_GUEST_VERSION = 7;
const XEN_ELFNOTE_LOADER = 8;
const XEN_ELFNOTE_FEATURES = 10;
const XEN_ELFNOTE_HV_START_LOW = 12;
const XEN_ELFNOTE_SUSPEND_CANCEL = 14;
const XEN_ELFNOTE_INIT_P2M = 15;
const XEN_ELFNOTE_MOD_START_PFN = 16;
const XEN_ELFNOTE_SUPPORTED_FEATURES = 17;
const XEN_ELFNOTE_PHYS32_ENTRY = 18;

/** Feature names by XENFEAT_* bit, as FEATURES strings spell them. */
const FEATURE_NAMES: Record<string, number> = {
  writable_page_tables: 0, writable_descriptor_tables: 1, auto_translated_physmap: 2,
  supervisor_mode_kernel: 3, pae_pgdir_above_4gb: 4, hvm_callback_vector: 8, dom0: 11,
};

/**
 * Features a kernel may insist on. writable_page_tables is among them although no PV guest is ever offered it:
 * Linux has always listed it as required, and no builder has ever minded.
 */
const ACCEPTED_REQUIRED = 1 << 0 | 1 << 4;

/** The kernel's wishes; addresses are virtual unless said otherwise, null where the kernel is silent. */
export interface XenParams {
  readonly guestOs: string; readonly guestVersion: string; readonly xenVersion: string; readonly loader: string;
  readonly virtBase: bigint; readonly virtEntry: bigint;
  readonly hypercallPage: bigint | null; readonly initP2m: bigint | null;
  readonly hvStartLow: bigint | null; readonly phys32Entry: number | null;
  /** physical address + this = virtual address. */
  readonly virtOffset: bigint;
  /** First and one-past-last address of the loaded image. */
  readonly virtKstart: bigint; readonly virtKend: bigint;
  readonly featuresSupported: number; readonly featuresRequired: number;
  /** The initrd is given by pfn and need not be mapped. */
  readonly modStartPfn: boolean; readonly suspendCancel: boolean;
}

/** Collected before defaults are known. */
interface Raw {
  guestOs: string; guestVersion: string; xenVersion: string; loader: string;
  virtBase: bigint | null; entry: bigint | null; paddrOffset: bigint | null;
  hypercallPage: bigint | null; initP2m: bigint | null; hvStartLow: bigint | null; phys32Entry: number | null;
  supported: number; required: number; modStartPfn: boolean; suspendCancel: boolean;
}

const MASK64 = 0xffff_ffff_ffff_ffffn;

export function xenParams(elf: Elf): XenParams {
  const raw: Raw = {
    guestOs: '', guestVersion: '', xenVersion: '', loader: '', virtBase: null, entry: null, paddrOffset: null,
    hypercallPage: null, initP2m: null, hvStartLow: null, phys32Entry: null,
    supported: 0, required: 0, modStartPfn: false, suspendCancel: false,
  };
  const notes = elf.notes.filter((n) => n.name === 'Xen');
  if (notes.length > 0) for (const n of notes) applyNote(raw, n);
  else if (elf.xenGuest !== null) applyGuestSection(raw, elf.xenGuest);
  else throw new BuilderError('kernel-not-xen', 'has no Xen notes, so it was built without Xen PV support (CONFIG_XEN_PV in Linux); use a kernel that has it, as Debian\'s do');
  checkVersion(raw);
  checkFeatures(raw);
  return addresses(raw, elf, notes.length === 0);
}

function number(desc: Uint8Array): bigint {
  const v = new DataView(desc.buffer, desc.byteOffset, desc.byteLength);
  switch (desc.length) {
    case 1: return BigInt(v.getUint8(0));
    case 2: return BigInt(v.getUint16(0, true));
    case 4: return BigInt(v.getUint32(0, true));
    case 8: return v.getBigUint64(0, true);
    default: return 0n;
  }
}

function applyNote(raw: Raw, note: ElfNote): void {
  const d = note.desc;
  switch (note.type) {
    case XEN_ELFNOTE_ENTRY: raw.entry = number(d); break;
    case XEN_ELFNOTE_HYPERCALL_PAGE: raw.hypercallPage = number(d); break;
    case XEN_ELFNOTE_VIRT_BASE: raw.virtBase = number(d); break;
    case XEN_ELFNOTE_PADDR_OFFSET: raw.paddrOffset = number(d); break;
    case XEN_ELFNOTE_XEN_VERSION: raw.xenVersion = cString(d); break;
    case XEN_ELFNOTE_GUEST_OS: raw.guestOs = cString(d); break;
    case XEN_ELFNOTE_GUEST_VERSION: raw.guestVersion = cString(d); break;
    case XEN_ELFNOTE_LOADER: raw.loader = cString(d); break;
    case XEN_ELFNOTE_FEATURES: addFeatures(raw, cString(d)); break;
    case XEN_ELFNOTE_HV_START_LOW: raw.hvStartLow = number(d); break;
    case XEN_ELFNOTE_SUSPEND_CANCEL: raw.suspendCancel = number(d) !== 0n; break;
    case XEN_ELFNOTE_INIT_P2M: raw.initP2m = number(d); break;
    case XEN_ELFNOTE_MOD_START_PFN: raw.modStartPfn = number(d) !== 0n; break;
    case XEN_ELFNOTE_SUPPORTED_FEATURES: raw.supported |= Number(number(d) & 0xffff_ffffn); break;
    case XEN_ELFNOTE_PHYS32_ENTRY: raw.phys32Entry = Number(number(d) & 0xffff_ffffn); break;
  }
}

/** "KEY=value,KEY=value": addresses in C notation, HYPERCALL_PAGE as a page number from VIRT_BASE. */
function applyGuestSection(raw: Raw, text: string): void {
  let hypercallPfn: bigint | null = null;
  for (const item of text.split(',')) {
    const eq = item.indexOf('=');
    const key = eq < 0 ? item : item.slice(0, eq), value = eq < 0 ? '' : item.slice(eq + 1);
    switch (key) {
      case 'LOADER': raw.loader = value; break;
      case 'GUEST_OS': raw.guestOs = value; break;
      case 'GUEST_VER': raw.guestVersion = value; break;
      case 'XEN_VER': raw.xenVersion = value; break;
      case 'VIRT_BASE': raw.virtBase = cNumber(key, value); break;
      case 'VIRT_ENTRY': raw.entry = cNumber(key, value); break;
      case 'ELF_PADDR_OFFSET': raw.paddrOffset = cNumber(key, value); break;
      case 'HYPERCALL_PAGE': hypercallPfn = cNumber(key, value); break;
      case 'FEATURES': addFeatures(raw, value); break;
    }
  }
  if (hypercallPfn !== null) raw.hypercallPage = (raw.virtBase ?? 0n) + (hypercallPfn << 12n) & MASK64;
}

function cNumber(key: string, text: string): bigint {
  const t = text.trim();
  if (/^0[xX][0-9a-fA-F]{1,16}$/.test(t) || /^[1-9][0-9]{0,19}$/.test(t)) return BigInt(t) & MASK64;
  if (/^0[0-7]{0,21}$/.test(t)) return BigInt(`0o${t}`) & MASK64;
  throw new BuilderError('kernel-corrupt', `has a __xen_guest section with ${key}=${text.slice(0, 40)}, which is not a number`);
}

/** "name|name|!name": with `!` the kernel cannot do without. */
function addFeatures(raw: Raw, text: string): void {
  for (const item of text.split('|').filter((s) => s !== '')) {
    const required = item.startsWith('!');
    const bit = FEATURE_NAMES[required ? item.slice(1) : item];
    if (bit === undefined) {
      if (required) throw new BuilderError('kernel-features', `requires the Xen feature "${item.slice(1, 60)}", which is not known here`);
      continue;
    }
    raw.supported |= 1 << bit;
    if (required) raw.required |= 1 << bit;
  }
}

function checkVersion(raw: Raw): void {
  if (!raw.loader.startsWith('generic') && !raw.guestOs.startsWith('linux')) {
    throw new BuilderError('kernel-loader', `asks for the loader "${raw.loader}" (guest "${raw.guestOs}"); only kernels for the "generic" loader can be built`);
  }
  if (!raw.xenVersion.startsWith('xen-3.0')) {
    throw new BuilderError('kernel-loader', `is built for the interface "${raw.xenVersion}"; "xen-3.0" is needed`);
  }
}

function checkFeatures(raw: Raw): void {
  const missing = Object.entries(FEATURE_NAMES).filter(([, bit]) => raw.required & 1 << bit & ~ACCEPTED_REQUIRED).map(([name]) => name);
  if (missing.length > 0) throw new BuilderError('kernel-features', `requires ${missing.join(' and ')}, which a paravirtual DomU does not get here`);
}

function addresses(raw: Raw, elf: Elf, legacy: boolean): XenParams {
  if (raw.paddrOffset !== null && raw.virtBase === null) throw new BuilderError('kernel-addresses', 'gives PADDR_OFFSET but no VIRT_BASE');
  const virtBase = raw.virtBase ?? 0n;
  // Kernels of the __xen_guest age put virtual addresses into the physical ones.
  const paddrOffset = raw.paddrOffset ?? (legacy ? virtBase : 0n);
  const virtOffset = virtBase - paddrOffset & MASK64;
  let low = MASK64, high = 0n;
  for (const l of elf.loads) {
    if (l.paddr < low) low = l.paddr;
    if (l.paddr + l.memSize > high) high = l.paddr + l.memSize;
  }
  if (high > MASK64 || high - low > 0x1_0000_0000n) throw new BuilderError('kernel-addresses', 'spreads over more than 4 GiB of addresses');
  const virtKstart = low + virtOffset & MASK64, virtKend = high + virtOffset & MASK64;
  const virtEntry = raw.entry ?? elf.entry;
  const hex = (n: bigint): string => `0x${n.toString(16)}`;
  if (virtKstart < virtBase || virtKend <= virtKstart) throw new BuilderError('kernel-addresses', `has impossible addresses: it starts at ${hex(virtKstart)}, ends at ${hex(virtKend)}, with VIRT_BASE ${hex(virtBase)}`);
  if (virtBase & 0xfffn || virtKstart & 0xfffn) throw new BuilderError('kernel-addresses', `does not start on a page boundary (${hex(virtKstart)})`);
  if (virtEntry < virtKstart || virtEntry >= virtKend) throw new BuilderError('kernel-addresses', `has its entry point ${hex(virtEntry)} outside of itself (${hex(virtKstart)} to ${hex(virtKend)})`);
  if (raw.hypercallPage !== null && (raw.hypercallPage & 0xfffn || raw.hypercallPage < virtKstart || raw.hypercallPage >= virtKend)) {
    throw new BuilderError('kernel-addresses', `has its hypercall page at ${hex(raw.hypercallPage)}, outside of itself or not on a page boundary`);
  }
  // Where the note cannot be honoured the list goes into the initial mapping, as without it.
  const initP2m = raw.initP2m !== null && raw.initP2m < virtBase && (raw.initP2m & 0xfffn) === 0n ? raw.initP2m : null;
  return {
    guestOs: raw.guestOs, guestVersion: raw.guestVersion, xenVersion: raw.xenVersion, loader: raw.loader,
    virtBase, virtEntry, hypercallPage: raw.hypercallPage, initP2m, hvStartLow: raw.hvStartLow, phys32Entry: raw.phys32Entry,
    virtOffset, virtKstart, virtKend, featuresSupported: raw.supported >>> 0, featuresRequired: raw.required >>> 0,
    modStartPfn: raw.modStartPfn, suspendCancel: raw.suspendCancel,
  };
}
