// The page a PV guest starts with (public/xen.h, struct start_info): who it talks to, and what was loaded with it.
import { start_info } from '../../hypervisor/public/layouts.ts';
import { program_info, type ProgramVcpu } from '../../hypervisor/public/program.ts';

const { fields } = start_info, SIF_MOD_START_PFN = 8, PAGE_SHIFT = 12, PAGE_BYTES = 4096, CMDLINE_BYTES = 1024;

export interface StartInfo {
  readonly pageCount: number;
  readonly sharedInfoMfn: number;
  readonly storeMfn: number; readonly storePort: number;
  readonly consoleMfn: number; readonly consolePort: number;
  readonly cmdline: string;
  /** Guest addresses and lengths in bytes. */
  readonly initrd: { readonly at: number; readonly byteCount: number };
  readonly image: { readonly at: number; readonly byteCount: number };
  /** Frames for the kernel's own use. */
  readonly heapPfn: number; readonly heapFrames: number;
}

export function readStartInfo(vcpu: ProgramVcpu): StartInfo {
  const v = new DataView(vcpu.bytes.buffer, vcpu.bytes.byteOffset + vcpu.startInfo, PAGE_BYTES);
  const u32 = (at: number): number => v.getUint32(at, true), u64 = (at: number): number => Number(v.getBigUint64(at, true));
  const text = new Uint8Array(CMDLINE_BYTES);
  text.set(vcpu.bytes.subarray(vcpu.startInfo + fields.cmd_line, vcpu.startInfo + fields.cmd_line + CMDLINE_BYTES));
  const byPfn = (u32(fields.flags) & SIF_MOD_START_PFN) !== 0;
  return {
    pageCount: u64(fields.nr_pages), sharedInfoMfn: u64(fields.shared_info) / PAGE_BYTES,
    storeMfn: u64(fields.store_mfn), storePort: u32(fields.store_evtchn),
    consoleMfn: u64(fields['console.domU.mfn']), consolePort: u32(fields['console.domU.evtchn']),
    cmdline: new TextDecoder().decode(text.subarray(0, text.indexOf(0))),
    initrd: { at: byPfn ? u64(fields.mod_start) * 2 ** PAGE_SHIFT : u64(fields.mod_start), byteCount: u64(fields.mod_len) },
    image: { at: u32(program_info.image), byteCount: u32(program_info.imageBytes) },
    heapPfn: u32(program_info.heapPfn), heapFrames: u32(program_info.heapFrames),
  };
}
