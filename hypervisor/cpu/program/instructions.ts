// One function body, or one constant expression, instruction by instruction, from a module to its rewritten form:
//
//   every access to memory     its constant offset grows by `base`: address 0 of the program is guest frame 0. An
//                              address cannot be below it, and one past the end of the memory traps.
//   every loop                 begins with a look at the vCPU's attention word, below `base`, out of reach
//   memory.size, memory.grow   ask the vCPU's thread
//   memory.copy, fill, init    go through helpers that add `base` and refuse to wrap around
//   every function index       moves up by the imports that were added
//   a call                     may be what the function does (inline.ts)
import { attentionOffset } from '../layout.ts';
import { ModuleError, type Reader, type Writer } from './bytes.ts';

export interface Rewriting {
  /** Where address 0 of the program lies in the domain's memory. */
  readonly base: number;
  /** Types that the module has; those behind them are not for it to name. */
  readonly types: number;
  /** Function imports that the module has; indexes above move up by `added`. */
  readonly imported: number; readonly added: number;
  /** Function indexes, as rewritten. */
  readonly attention: number; readonly size: number; readonly grow: number;
  /** The first behind the module's own, and the next. */
  readonly copy: number; readonly fill: number;
  /** The helper for memory.init of one data segment. */
  init(segment: number): number;
  /** Told that the program changes tables. */
  tableChanges(): void;
}

const LAST_ADDRESS = 0xffff_ffff;
export function movedFunction(w: Rewriting, index: number): number {
  if (index + w.added >= w.copy) throw new ModuleError(`function ${index} is not there`);
  return index < w.imported ? index : index + w.added;
}

/**
 * The look at the attention word: nothing is on the stack before or after. A plain load: engines move no loads of memory
 * across a call, and there is one on the rare way. Made 64 bits wide, as V8 would compare 32 in memory and load them once
 * more beside, for the load may trap.
 * @param hints gets where its rare branch is
 */
export function writeAttentionCheck(out: Writer, w: Rewriting, hints: number[]): void {
  out.bytes([0x41, 0, 0x28, 2]);
  out.u32(attentionOffset(0));
  out.bytes([0xad, 0x50, 0x45]);
  hints.push(out.length);
  out.bytes([0x04, 0x40, 0x10]);
  out.u32(w.attention);
  out.byte(0x0b);
}

export function writeIndirectCall(out: Writer, type: number, table: number): void { out.byte(0x11); out.u32(type); out.u32(table); }

function heapType(r: Reader): void {
  const code = r.byte();
  r.at--;
  // Concrete types belong to garbage collection; what is left are the one-byte abstract ones.
  if (code < 0x40 || code & 0x80) throw new ModuleError('typed function references are not supported');
  r.byte();
}
/** A value type; @throws ModuleError for those of proposals that are not supported */
export function valueType(r: Reader): void {
  const code = r.byte();
  if (code === 0x63 || code === 0x64) { heapType(r); return; }
  if (code < 0x68 || code > 0x7f) throw new ModuleError(`value type 0x${code.toString(16)} is not supported`);
}
/** An index of a type, or of nothing. */
export function typeIndex(r: Reader, types: number): number {
  const index = r.u32();
  if (index >= types) throw new ModuleError(`type ${index} is not there`);
  return index;
}
function blockType(r: Reader, w: Rewriting): void {
  const code = r.byte();
  r.at--;
  if (code === 0x40) { r.byte(); return; }
  if (code >= 0x68 && code < 0x80 || code === 0x63 || code === 0x64) { valueType(r); return; }
  const index = r.s32();
  if (index < 0 || index >= w.types) throw new ModuleError(`type ${index} is not there`);
}
/** An instruction names the memory: there is one. */
function memoryIndex(r: Reader): void { if (r.u32() !== 0) throw new ModuleError('several memories are not supported'); }

/** A memory operand. */
function memoryOperand(r: Reader, out: Writer, w: Rewriting): void {
  const align = r.u32();
  if (align & 0x40) throw new ModuleError('several memories are not supported');
  const offset = r.u32();
  out.u32(align);
  // One so large that it cannot be moved is beyond the domain's last frame wherever it is used: it traps, or at the
  // very end of 4 GiB reads the domain's own last byte.
  out.u32(Math.min(offset + w.base, LAST_ADDRESS));
}

/** The function that instructions are written into, where they are not a constant expression. */
export interface Target {
  /** Gets where in the code rare branches are. */
  readonly hints: number[];
  /** Whether what is written is part of another function, where leaving it is a branch to its end. */
  readonly inlined: boolean;
  /** Where a local is. */
  local(index: number): number;
  /** Writes what stands for a call; @returns whether there is something, and whether it calls functions */
  call(index: number, inLoop: boolean, out: Writer): Written | undefined;
  indirectCall(type: number, table: number, inLoop: boolean, out: Writer): Written | undefined;
}
/** What is in code that was written. */
export interface Written {
  readonly calls: boolean;
  /** Has to do with the function that it is in: it catches exceptions, or calls in the function's place. */
  readonly bound: boolean;
}

export function rewriteExpression(r: Reader, out: Writer, w: Rewriting, target?: Target): Written {
  const loops: number[] = [];
  let depth = 1, calls = false, bound = false;
  const copied = (opcode: number, operands: () => void): void => { const from = r.at; out.byte(opcode); operands(); out.copy(r, from); };
  const called = (opcode: number): void => { out.byte(opcode); out.u32(movedFunction(w, r.u32())); };
  const inPlace = (written: Written | undefined): boolean => { if (written?.calls) calls = true; return written !== undefined; };
  while (depth > 0) {
    const op = r.byte();
    if (op >= 0x45 && op <= 0xc4) { out.byte(op); continue; }
    if (op >= 0x28 && op <= 0x3e) { out.byte(op); memoryOperand(r, out, w); continue; }
    if (op >= 0x20 && op <= 0x22) { out.byte(op); const local = r.u32(); out.u32(target ? target.local(local) : local); continue; }
    switch (op) {
      case 0x23: case 0x24: case 0x25: copied(op, () => r.skipNumber()); break;
      case 0x26: w.tableChanges(); copied(op, () => r.skipNumber()); break;
      case 0x00: case 0x01: case 0x1a: case 0x1b: case 0x05: case 0x0a: case 0xd1: case 0xd4: out.byte(op); break;
      case 0x0f: if (target?.inlined) { out.byte(0x0c); out.u32(depth - 1); } else out.byte(op); break;
      case 0x02: case 0x04: depth++; copied(op, () => blockType(r, w)); break;
      case 0x03: loops.push(++depth); copied(op, () => blockType(r, w)); writeAttentionCheck(out, w, target?.hints ?? []); break;
      case 0x06: bound = true; depth++; copied(op, () => blockType(r, w)); break;
      case 0x1f: bound = true; depth++; copied(op, () => tryTable(r, w)); break;
      case 0x0b: if (loops.at(-1) === depth) loops.pop(); depth--; out.byte(op); break;
      // delegate ends its try.
      case 0x18: depth--; copied(op, () => r.skipNumber()); break;
      case 0x19: out.byte(op); break;
      case 0x07: case 0x08: case 0x09: case 0x0c: case 0x0d: case 0xd5: case 0xd6: copied(op, () => r.skipNumber()); break;
      case 0x0e: copied(op, () => { for (let n = r.u32(); n >= 0; n--) r.skipNumber(); }); break;
      case 0x10: {
        const index = r.u32();
        if (inPlace(target?.call(index, loops.length > 0, out))) break;
        calls = true;
        out.byte(op);
        out.u32(movedFunction(w, index));
        break;
      }
      case 0x11: {
        const type = typeIndex(r, w.types), table = r.u32();
        if (inPlace(target?.indirectCall(type, table, loops.length > 0, out))) break;
        calls = true;
        writeIndirectCall(out, type, table);
        break;
      }
      case 0x12: calls = bound = true; called(op); break;
      case 0xd2: called(op); break;
      case 0x13: calls = bound = true; copied(op, () => { typeIndex(r, w.types); r.skipNumber(); }); break;
      case 0x14: calls = true; copied(op, () => typeIndex(r, w.types)); break;
      case 0x15: calls = bound = true; copied(op, () => typeIndex(r, w.types)); break;
      case 0x1c: copied(op, () => { for (let n = r.u32(); n > 0; n--) valueType(r); }); break;
      case 0x3f: memoryIndex(r); out.byte(0x10); out.u32(w.size); break;
      case 0x40: memoryIndex(r); out.byte(0x10); out.u32(w.grow); break;
      case 0x41: case 0x42: copied(op, () => r.skipNumber()); break;
      case 0x43: copied(op, () => r.skip(4)); break;
      case 0x44: copied(op, () => r.skip(8)); break;
      case 0xd0: copied(op, () => heapType(r)); break;
      case 0xfc: miscellaneous(r, out, w); break;
      case 0xfd: vector(r, out, w); break;
      case 0xfe: atomic(r, out, w); break;
      default: throw new ModuleError(`instruction 0x${op.toString(16)} is not supported`);
    }
  }
  return { calls, bound };
}

function tryTable(r: Reader, w: Rewriting): void {
  blockType(r, w);
  for (let n = r.u32(); n > 0; n--) { if (r.byte() < 2) r.skipNumber(); r.skipNumber(); }
}

function miscellaneous(r: Reader, out: Writer, w: Rewriting): void {
  const from = r.at, op = r.u32();
  const call = (index: number): void => { out.byte(0x10); out.u32(index); };
  if (op === 8) { const segment = r.u32(); memoryIndex(r); call(w.init(segment)); return; }
  if (op === 10) { memoryIndex(r); memoryIndex(r); call(w.copy); return; }
  if (op === 11) { memoryIndex(r); call(w.fill); return; }
  if (op > 17) throw new ModuleError(`instruction 0xfc ${op} is not supported`);
  if (op === 12 || op === 14 || op === 15 || op === 17) w.tableChanges();
  if (op > 8) r.skipNumber();
  if (op === 12 || op === 14) r.skipNumber();
  out.byte(0xfc);
  out.copy(r, from);
}

function vector(r: Reader, out: Writer, w: Rewriting): void {
  const from = r.at, op = r.u32(), lane = op >= 84 && op <= 91;
  out.byte(0xfd);
  if (op <= 11 || lane || op === 92 || op === 93) {
    out.copy(r, from);
    memoryOperand(r, out, w);
    if (lane) out.byte(r.byte());
    return;
  }
  if (op === 12 || op === 13) r.skip(16); else if (op >= 21 && op <= 34) r.skip(1);
  out.copy(r, from);
}

function atomic(r: Reader, out: Writer, w: Rewriting): void {
  const from = r.at, op = r.u32();
  // A thread that waits in its own memory would not see its vCPU's attention word; and there is nobody to wake it.
  if (op === 1 || op === 2) throw new ModuleError('waiting on memory is not supported: a program has one thread');
  out.byte(0xfe);
  if (op === 3) { r.skip(1); out.copy(r, from); return; }
  out.copy(r, from);
  memoryOperand(r, out, w);
}
