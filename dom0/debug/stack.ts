// What a back-trace is made of: each vCPU's program counter, and the words on its stack that may be return addresses.
// Linux's unwind tables are not read; a word counts when it points behind a call instruction near the running code.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import { DEBUG, DEBUG_DATA_BYTES, REGISTERS, type DebugAnswer, type DebugRequest } from '../../hypervisor/public/debug.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import { eachHeld } from './held.ts';

/** Addresses are hex without prefix. */
export interface StackView {
  readonly vcpu: number;
  /** Absent: the vCPU has not been brought up. */
  readonly rip?: string; readonly rsp?: string; readonly kernelMode?: boolean; readonly registers?: Readonly<Record<string, string>>;
  readonly calls?: readonly { readonly at: string; readonly address: string }[];
}

/** Linux's kernel stacks are this large, and aligned to it. */
const STACK_BYTES = 16384, MAX_CALLS = 256;
const KERNEL_TEXT = 0xffff_ffff_8000_0000n, NEAR = 1n << 31n;
const LONGEST_CALL_BYTES = 7;
const GPR = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];
const hex = (v: bigint): string => BigInt.asUintN(64, v).toString(16).padStart(16, '0');

/** CALL rel32, or CALL r/m64 in its possible lengths, ends where `before` ends. */
export function endsWithCall(before: Uint8Array): boolean {
  const n = before.length;
  if (n >= 5 && before[n - 5] === 0xe8) return true;
  for (const length of [2, 3, 4, 6, 7]) {
    if (n < length || before[n - length] !== 0xff) continue;
    const modrm = before[n - length + 1]!, mod = modrm >> 6, rm = modrm & 7;
    if ((modrm >> 3 & 7) !== 2) continue;
    const sib = mod !== 3 && rm === 4 ? 1 : 0, base = sib ? before[n - length + 2]! & 7 : rm;
    const displacement = mod === 1 ? 1 : mod === 2 || mod === 0 && base === 5 ? 4 : 0;
    if (2 + sib + displacement === length) return true;
  }
  return false;
}

/** @returns -errno when there is no such domain */
export const readStacks = (hypercalls: Dom0Hypercalls, dom: Domid): Promise<StackView[] | number> =>
  eachHeld(hypercalls, dom, vcpu => readStack(vcpu, request => hypercalls.debugRequest(dom, vcpu, request)));

async function readStack(vcpu: number, ask: (request: DebugRequest) => Promise<DebugAnswer>): Promise<StackView> {
  const { result, data } = await ask({ operation: DEBUG.readRegisters });
  if (result < 0) return { vcpu };
  const block = new DataView(data.buffer, data.byteOffset), at = (offset: number): bigint => block.getBigUint64(offset, true);
  const rip = at(REGISTERS.rip), rsp = at(REGISTERS.gpr + 8 * 4), kernelMode = data[REGISTERS.kernelMode] === 1;
  const read = async (address: bigint, length: number): Promise<Uint8Array> => (await ask({ operation: DEBUG.readMemory, address, length })).data;
  const registers = Object.fromEntries([...GPR.map((name, n) => [name, hex(at(REGISTERS.gpr + 8 * n))] as const), ['rflags', hex(at(REGISTERS.rflags))], ['cr2', hex(at(REGISTERS.cr2))], ['cr3', hex(at(REGISTERS.cr3))]]);
  const start = rsp & ~7n, end = (start | BigInt(STACK_BYTES - 1)) + 1n, calls: { at: string; address: string }[] = [];
  for (let from = start; from < end && calls.length < MAX_CALLS;) {
    const words = await read(from, Math.min(DEBUG_DATA_BYTES - Number(from & 0xfffn), Number(end - from)));
    const view = new DataView(words.buffer, words.byteOffset, words.byteLength);
    for (let i = 0; i + 8 <= words.length && calls.length < MAX_CALLS; i += 8) {
      const word = view.getBigUint64(i, true), distance = word > rip ? word - rip : rip - word;
      if (word < KERNEL_TEXT && distance >= NEAR || word < 4096n) continue;
      if (endsWithCall(await read(word - BigInt(LONGEST_CALL_BYTES), LONGEST_CALL_BYTES))) calls.push({ at: hex(from + BigInt(i)), address: hex(word) });
    }
    if (words.length === 0) break;
    from += BigInt(words.length);
  }
  return { vcpu, rip: hex(rip), rsp: hex(rsp), kernelMode, registers, calls };
}
