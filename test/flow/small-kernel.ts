// Kernels of a few instructions, for whole-path tests that download nothing.
import { makeElf } from '../../dom0/toolstack/builder/make-elf.ts';

const VIRT_BASE = 0xffffffff80000000n, LOAD_AT = 0x1000000n;
const NOTE = { entry: 1, virtBase: 3, paddrOffset: 4, xenVersion: 5, guestOs: 6, loader: 8, pae: 9 } as const;

// rsi = start_info; the console page is the second after it. "OK" goes into the ring, then EVTCHNOP_send.
export const SAY_OK = [
  0x48, 0x8d, 0x9e, 0x00, 0x20, 0x00, 0x00, //               lea rbx, [rsi + 0x2000]
  0xc7, 0x83, 0x00, 0x04, 0x00, 0x00, 0x4f, 0x4b, 0x0d, 0x0a, // mov dword [rbx + 0x400], "OK\r\n"
  0xc7, 0x83, 0x0c, 0x0c, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, // mov dword [rbx + 0xc0c], 4
  0x48, 0x83, 0xc6, 0x50, //                                 add rsi, 80 (&console.evtchn)
  0xbf, 0x04, 0x00, 0x00, 0x00, 0xb8, 0x20, 0x00, 0x00, 0x00, 0x0f, 0x05, // event_channel_op(send)
];
export const BLOCK = [0x31, 0xf6, 0xbf, 0x01, 0x00, 0x00, 0x00, 0xb8, 0x1d, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xeb, 0xf0]; // for (;;) sched_op(block)
export const shutdown = (reason: number): number[] => [0x6a, reason, 0x48, 0x89, 0xe6, 0xbf, 0x02, 0x00, 0x00, 0x00, 0xb8, 0x1d, 0x00, 0x00, 0x00, 0x0f, 0x05];

/** An ELF file with Xen notes around this code. */
export const smallKernel = (code: number[], memSize = 4096): Buffer => makeElf({
  entry: VIRT_BASE + LOAD_AT, loads: [{ vaddr: VIRT_BASE + LOAD_AT, paddr: LOAD_AT, data: Uint8Array.from(code), memSize }],
  notes: [[NOTE.guestOs, 'linux'], [NOTE.xenVersion, 'xen-3.0'], [NOTE.virtBase, VIRT_BASE], [NOTE.paddrOffset, 0n], [NOTE.entry, VIRT_BASE + LOAD_AT], [NOTE.loader, 'generic'], [NOTE.pae, 'yes']],
});
