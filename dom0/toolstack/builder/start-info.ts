// struct start_info, the page a PV kernel finds in rsi. Offsets from public/xen.h (MIT), 64-bit form.
import type { EvtchnPort, Mfn } from '../../../hypervisor/public/types.ts';
import { BuilderError } from './builder-error.ts';

const OFFSET = {
  magic: 0, nr_pages: 32, shared_info: 40, flags: 48, store_mfn: 56, store_evtchn: 64, console_mfn: 72, console_evtchn: 80,
  pt_base: 88, nr_pt_frames: 96, mfn_list: 104, mod_start: 112, mod_len: 120, cmd_line: 128, first_p2m_pfn: 1152, nr_p2m_frames: 1160,
} as const;
export const MAX_GUEST_CMDLINE = 1024;
const MAGIC = 'xen-3.0-x86_64';

export const SIF_MULTIBOOT_MOD = 1 << 2;
export const SIF_MOD_START_PFN = 1 << 3;

export interface StartInfo {
  readonly nrPages: number;
  readonly sharedInfoMfn: Mfn;
  readonly flags: number;
  readonly storeMfn: Mfn; readonly storePort: EvtchnPort;
  readonly consoleMfn: Mfn; readonly consolePort: EvtchnPort;
  /** Virtual address and number of the initial mapping's page tables. */
  readonly ptBase: bigint; readonly nrPtFrames: number;
  readonly mfnList: bigint;
  /** Virtual address, or pfn with SIF_MOD_START_PFN; length in bytes. */
  readonly modStart: bigint; readonly modLen: number;
  readonly cmdline: string;
  /** Zero unless the p2m list has a mapping of its own. */
  readonly firstP2mPfn: number; readonly nrP2mFrames: number;
}

/** The command line as the guest gets it. @throws BuilderError if it is too long */
export function encodeCmdline(cmdline: string): Uint8Array {
  const bytes = Buffer.from(cmdline, 'utf8');
  if (bytes.length >= MAX_GUEST_CMDLINE) {
    throw new BuilderError('cmdline-too-long', `The kernel command line is ${bytes.length} bytes long; a Xen guest can be given ${MAX_GUEST_CMDLINE - 1}. Shorten "cmdline", "root" or "extra".`);
  }
  if (bytes.includes(0)) throw new BuilderError('cmdline-too-long', 'The kernel command line contains a NUL byte.');
  return bytes;
}

/** Fills `page`, 4096 zero bytes. */
export function writeStartInfo(page: Uint8Array, info: StartInfo): void {
  const v = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const u64 = (at: number, value: bigint | number): void => v.setBigUint64(at, BigInt(value), true);
  page.set(Buffer.from(MAGIC, 'latin1'), OFFSET.magic);
  u64(OFFSET.nr_pages, info.nrPages);
  u64(OFFSET.shared_info, BigInt(info.sharedInfoMfn) << 12n);
  v.setUint32(OFFSET.flags, info.flags, true);
  u64(OFFSET.store_mfn, info.storeMfn);
  v.setUint32(OFFSET.store_evtchn, info.storePort, true);
  u64(OFFSET.console_mfn, info.consoleMfn);
  v.setUint32(OFFSET.console_evtchn, info.consolePort, true);
  u64(OFFSET.pt_base, info.ptBase);
  u64(OFFSET.nr_pt_frames, info.nrPtFrames);
  u64(OFFSET.mfn_list, info.mfnList);
  u64(OFFSET.mod_start, info.modStart);
  u64(OFFSET.mod_len, info.modLen);
  page.set(encodeCmdline(info.cmdline), OFFSET.cmd_line);
  u64(OFFSET.first_p2m_pfn, info.firstP2mPfn);
  u64(OFFSET.nr_p2m_frames, info.nrP2mFrames);
}
