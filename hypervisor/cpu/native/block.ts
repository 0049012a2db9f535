// Native code for one block of the decode cache: its instructions one by one. A block's code has two entries: with live flags, and
// with saved ones (writer.ts). It ends by jumping to the next block's; where it is left for anything else, flags are saved.
import { type Decoded, decode, forms, newDecoded, SPECIAL_COUNT } from '../decode.ts';
import { ACCESS, type View } from '../processor-api.ts';
import { PAGE_BYTES } from '../layout.ts';
import { SLOT } from '../state.ts';
import { type Addresses, BRANCH } from './addresses.ts';
import { type Assembler, Label, RAX } from './assembler.ts';
import type { Ways } from './entry.ts';
import { InstructionWriter } from './instruction-writer.ts';
import type { HostFeature } from './instructions.ts';
import { GUEST_RSP, HOST, T1 } from './registers.ts';
import type { Announce, Find } from './writer.ts';

export interface NativeBlock { /** Offsets in the code memory: entries with live and saved flags. */ readonly live: number; readonly saved: number; readonly bytes: number; readonly instructions: number }

/** Room for a block's code, in bytes: more than the longest one takes. */
const BLOCK_ROOM = 64 * 1024, SMALL_ROOM = 256;
/** Of the code memory, what is for code that is often run. */
const HOT_SHARE = 0.6;
/** Registers pushed or popped with one look at the TLB. */
const STACK_MAX = 8;
/** What a jump takes that is put over an entry: so far apart are any two. */
const DIVERSION = 5;
/** In place of what brings flags back: 7 bytes, and those of a diversion. */
const NOPS = [0x0f, 0x1f, 0x80, 0, 0, 0, 0, 0x0f, 0x1f, 0x44, 0, 0];

export class BlockTranslator extends InstructionWriter {
  private readonly ahead: Decoded = newDecoded();
  /** The instruction that it could not take last. */
  refused = '';
  /** How often which was. */
  readonly left = new Map<string, number>();
  /** Where the next block's code goes: what is run and, apart, what seldom is. */
  private hot: number; private seldom: number;
  private readonly begin: number; private readonly border: number;

  constructor(a: Assembler, at: Addresses, ways: Ways, features: ReadonlySet<HostFeature>) {
    super(a, at, ways, features);
    this.begin = this.hot = a.at;
    this.border = this.seldom = a.at + Math.floor((a.end - a.at) * HOT_SHARE);
  }

  forget(): void { this.hot = this.begin; this.seldom = this.border; }
  /** Room for one block more, and for something small. */
  get hasRoom(): boolean { return this.hot + BLOCK_ROOM <= this.border && this.seldom + BLOCK_ROOM <= this.a.end; }
  get hasSomeRoom(): boolean { return this.seldom + SMALL_ROOM <= this.a.end; }
  get bytes(): number { return this.hot - this.begin + this.seldom - this.border; }
  /** What is used: from where on, and how much, of each part. */
  get used(): readonly { readonly from: number; readonly bytes: number }[] { return [{ from: this.begin, bytes: this.hot - this.begin }, { from: this.border, bytes: this.seldom - this.border }]; }
  /** Writes something small. */
  apart<T>(write: () => T): T { this.a.at = this.seldom; const result = write(); this.seldom = this.a.at; return result; }

  /**
   * Code for the instructions that `code` has from `from` to `to`, the first of them at an offset in its page; undefined when there is none
   * for that one. With `second` it is one instruction across the page's border, whose rest lies in that frame.
   */
  translate(code: Uint8Array, from: number, to: number, offset: number, second: number, view: View, find: Find, announce: Announce): NativeBlock | undefined {
    const { a, d } = this, start = a.at = this.hot, limit = second ? code.length : from + PAGE_BYTES - offset;
    this.view = view; this.find = find; this.announce = announce;
    this.cold = [];
    this.live = true; this.saved = false;
    // With saved flags a block is entered here: they come back.
    this.restore();
    this.saved = false;
    const live = a.at;
    let at = from, instructions = 0, ended = false, savedEntry = start;
    this.here = offset;
    if (second) savedEntry = this.nextPageIs(second);
    while (at < to && !ended) {
      this.here = at - from + offset;
      if (!decode(code, at, limit, this.here, false, d) || d.handler < SPECIAL_COUNT) break;
      const form = forms[d.handler - SPECIAL_COUNT]!, stack = this.severalOnStack(code, at, to, limit);
      if (stack) {
        if (instructions === 0 && this.savedAt >= 0) savedEntry = this.savedAt;
        instructions += stack.instructions;
        at += stack.length;
        ended = stack.ended;
        continue;
      }
      const done = this.instruction(code, at, form);
      if (done === 'refused') { this.refused = form.operands.some(o => o.kind === 'mmx') ? 'mmx' : form.mnemonic; this.left.set(form.mnemonic, (this.left.get(form.mnemonic) ?? 0) + 1); break; }
      ended = done === 'ended';
      // The first thing it does is to save flags that are saved already.
      if (instructions === 0 && this.savedAt >= 0) savedEntry = this.savedAt;
      // Or it makes them without asking for what they were.
      if (instructions === 0 && this.killed && !second) { a.over(start, NOPS); savedEntry = live - DIVERSION; }
      instructions++;
      at += d.length;
    }
    if (instructions === 0) return undefined;
    const behind = at - from + offset;
    if (!ended) { if (at >= to) this.goTo(behind, this.here); else this.interpret(behind); }
    const before = this.bytes;
    this.hot = a.at;
    a.at = this.seldom;
    for (let n = 0; n < this.cold.length; n++) this.cold[n]!();
    this.seldom = a.at;
    return { live, saved: savedEntry, bytes: this.bytes - before, instructions };
  }

  /** Several registers pushed or popped in a row, with a return behind: one look at the TLB for all. The first is decoded. */
  private severalOnStack(code: Uint8Array, first: number, to: number, limit: number): { readonly instructions: number; readonly length: number; readonly ended: boolean } | undefined {
    const { a, d } = this, m = d.mnemonic;
    if (m !== 'push' && m !== 'pop') return undefined;
    const next = this.ahead, registers: number[] = [], lengths: number[] = [];
    const fits = (n: Decoded): boolean => { const form = forms[n.handler - SPECIAL_COUNT]!; return form.bits === 64 && form.operands[0]!.kind === 'gpr' && n.a !== SLOT.gpr(4); };
    let at = first, now = d, returns = false, released = 0;
    for (;;) {
      if (now.handler >= SPECIAL_COUNT && now.mnemonic === m && fits(now) && registers.length < STACK_MAX) { registers.push(now.a >> 3); lengths.push(now.length); at += now.length; }
      else if (m === 'pop' && registers.length && (now.mnemonic === 'ret' || now.mnemonic === 'ret_imm') && forms[now.handler - SPECIAL_COUNT]!.bits === 64) { returns = true; released = now.mnemonic === 'ret' ? 0 : now.imm; break; }
      else break;
      if (at >= to || !decode(code, at, limit, 0, false, next)) break;
      now = next;
    }
    const count = registers.length, { here } = this, bytes = 8 * (count + (returns ? 1 : 0)), behind = new Label(), places: number[] = [];
    if (bytes < 16) return undefined;
    this.savedAt = -1;
    if (this.live && !this.saved) { this.save(); this.savedAt = a.at; }
    lengths.reduce((place, length) => { places.push(place); return place + length; }, here);
    // Not all in one page, or not in the TLB: one by one, and then on behind.
    const singly = (): void => {
      registers.forEach((n, i) => { this.here = places[i]!; if (m === 'push') this.pushOne(n); else this.popOne(n); });
      if (returns) { this.here = here + at - first; this.popReturn(released); }
      a.jmp(behind);
    };
    if (m === 'push') {
      this.lookUp(ACCESS.write, bytes, () => a.lea(RAX, GUEST_RSP, -bytes), false, singly);
      registers.forEach((n, i) => { const from = this.inRegister(SLOT.gpr(n), T1); a.guest(0x89, from, RAX, true, 0, false, 8 * (count - 1 - i)); });
      this.release(-bytes);
      a.bind(behind);
      return { instructions: count, length: at - first, ended: false };
    }
    this.lookUp(ACCESS.read, bytes, this.stackTop, false, singly);
    registers.forEach((n, i) => { const host = HOST[n]!, to = host < 0 ? T1 : host; a.guest(0x8b, to, RAX, true, 0, false, 8 * i); if (host < 0) this.store(n, T1); });
    if (returns) a.guest(0x8b, RAX, RAX, true, 0, false, 8 * count);
    this.release(bytes + released);
    a.bind(behind);
    if (!returns) return { instructions: count, length: at - first, ended: false };
    // Where it is the return that has to be done again.
    this.here = here + at - first;
    this.jump(BRANCH.ret, released);
    return { instructions: count + 1, length: at - first + now.length, ended: true };
  }
}
