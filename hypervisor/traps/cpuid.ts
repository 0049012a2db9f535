// The CPUID policy: a virtual processor of the x86-64-v2 level with BMI, LZCNT, SHA and PCLMULQDQ, as Xen shows one to a PV guest
// (what a PV guest cannot use is hidden: large pages, global pages, VME, XSAVE without OSXSAVE, AVX). It speculates nothing, and
// says so, which spares the guest its mitigations.

export interface CpuidResult { readonly eax: number; readonly ebx: number; readonly ecx: number; readonly edx: number }

const bits = (...n: number[]): number => n.reduce((sum, bit) => sum | (1 << bit), 0) >>> 0;
const r = (eax: number, ebx: number, ecx: number, edx: number): CpuidResult => ({ eax: eax >>> 0, ebx: ebx >>> 0, ecx: ecx >>> 0, edx: edx >>> 0 });
const EMPTY = r(0, 0, 0, 0);

/** Four characters as a little-endian register. */
const text = (s: string): number => [...s.padEnd(4, '\0')].reduce((sum, c, i) => sum + c.charCodeAt(0) * 256 ** i, 0);
const textRow = (s: string): CpuidResult => r(text(s.slice(0, 4)), text(s.slice(4, 8)), text(s.slice(8, 12)), text(s.slice(12, 16)));

/** SSE3, PCLMUL, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT, HYPERVISOR. */
const FEATURES_1C = bits(0, 1, 9, 13, 19, 20, 23, 31);
/** FPU DE TSC MSR PAE CX8 APIC SEP CMOV PAT CLFLUSH MMX FXSR SSE SSE2 HTT. */
const FEATURES_1D = bits(0, 2, 4, 5, 6, 8, 9, 11, 15, 16, 19, 23, 24, 25, 26, 28);
/** BMI1, BMI2, ERMS (string moves are one bulk copy here), SHA. */
const FEATURES_7B0 = bits(3, 8, 9, 29);
/** IBRS/IBPB, STIBP, ARCH_CAPABILITIES. */
const FEATURES_7D0 = bits(26, 27, 29);
/** BHI_CTRL: guests then write an MSR once, where they would clear a branch history in each system call. */
const FEATURES_7D2 = bits(4);
/** LAHF, LZCNT. */
const FEATURES_E1C = bits(0, 5);
/** SYSCALL NX RDTSCP LM. */
const FEATURES_E1D = bits(11, 20, 27, 29);
/** Family 6, model 1a, stepping 5: the first with all of x86-64-v2. */
const SIGNATURE = 0x0001_06a5;
const MAX_BASIC = 0x7, MAX_EXTENDED = 0x8000_0008, MAX_XEN = 0x4000_0005;
/** Linear 48 bits, physical 48: a machine address is (slot << 32) | offset. */
const ADDRESS_BITS = 0x3030;
/** Bits of the largest machine address (leaf 0x40000005). */
const MACHINE_ADDRESS_BITS = 47;
const BRAND = 'Xenolith virtual x86-64-v2 processor'.padEnd(48, '\0');

export interface CpuidSubject {
  readonly vcpuId: number;
  /** Frequency of the guest's time-stamp counter. */
  readonly tscKhz: number;
}

const CACHES: readonly CpuidResult[] = [
  r(0x0400_0121, 0x01c0_003f, 0x3f, 1), r(0x0400_0122, 0x01c0_003f, 0x3f, 1), r(0x0400_0143, 0x03c0_003f, 0xfff, 1), r(0x0400_4163, 0x03c0_003f, 0x3fff, 6),
];

function basicLeaf(leaf: number, subleaf: number, subject: CpuidSubject): CpuidResult {
  switch (leaf) {
    case 0: return r(MAX_BASIC, text('Genu'), text('ntel'), text('ineI'));
    case 1: return r(SIGNATURE, ((subject.vcpuId * 2) << 24) | 0x0002_0800, FEATURES_1C, FEATURES_1D);
    case 4: return CACHES[subleaf] ?? EMPTY;
    case 7: return [r(2, FEATURES_7B0, 0, FEATURES_7D0), EMPTY, r(0, 0, 0, FEATURES_7D2)][subleaf] ?? EMPTY;
    default: return EMPTY;
  }
}

function extendedLeaf(leaf: number): CpuidResult {
  switch (leaf) {
    case 0x8000_0000: return r(MAX_EXTENDED, 0, 0, 0);
    case 0x8000_0001: return r(0, 0, FEATURES_E1C, FEATURES_E1D);
    case 0x8000_0002: case 0x8000_0003: case 0x8000_0004: return textRow(BRAND.slice((leaf & 0xf) * 16 - 32));
    case 0x8000_0006: return r(0, 0, 0x0200_8140, 0);
    case 0x8000_0008: return r(ADDRESS_BITS, 0, 0, 0);
    default: return EMPTY;
  }
}

const XEN_VERSION = (4 << 16) | 17;
/** XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD. */
const XEN_FEATURES_1 = 1;
/** Every RDTSC comes to the hypervisor, which answers system time. */
const XEN_CPUID_TSC_EMULATED = 1;

function xenLeaf(leaf: number, subleaf: number, subject: CpuidSubject): CpuidResult {
  switch (leaf) {
    case 0x4000_0000: return r(MAX_XEN, text('XenV'), text('MMXe'), text('nVMM'));
    case 0x4000_0001: return r(XEN_VERSION, 0, 0, 0);
    case 0x4000_0002: return r(1, 0x4000_0000, XEN_FEATURES_1, 0);
    case 0x4000_0003:
      if (subleaf === 0) return r(XEN_CPUID_TSC_EMULATED, 0, subject.tscKhz, 0);
      // TSC to nanoseconds of a 1 GHz counter: (tsc << 1) * 2^31 >> 32.
      if (subleaf === 1) return r(0, 0, 0x8000_0000, 1);
      return subleaf === 2 ? r(subject.tscKhz, 0, 0, 0) : EMPTY;
    case 0x4000_0005: return subleaf === 0 ? r(0, MACHINE_ADDRESS_BITS, 0, 0) : EMPTY;
    default: return EMPTY;
  }
}

/** What CPUID answers a guest, in kernel and user mode alike. Leaves outside the policy are zero. */
export function cpuid(leaf: number, subleaf: number, subject: CpuidSubject): CpuidResult {
  if (leaf >= 0x4000_0000 && leaf < 0x4001_0000) return xenLeaf(leaf, subleaf, subject);
  return leaf >= 0x8000_0000 ? extendedLeaf(leaf) : basicLeaf(leaf, subleaf, subject);
}

/**
 * MSR_ARCH_CAPABILITIES: RDCL_NO, IBRS_ALL, SKIP_L1DFL, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO,
 * PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO.
 */
export const ARCH_CAPABILITIES = [0, 1, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62].reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
