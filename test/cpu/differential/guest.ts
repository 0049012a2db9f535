// Our side: one processor whose guest sees the harness's memory, running the same case slots.
import { compileInterpreter } from '../../../hypervisor/cpu/interpreter.ts';
import { jitModeOf } from '../../../hypervisor/cpu/jit/translator.ts';
import { layoutMemory } from '../../../hypervisor/cpu/layout.ts';
import { createProcessor, type SoftwareProcessor } from '../../../hypervisor/cpu/processor.ts';
import { EXIT } from '../../../hypervisor/cpu/processor-api.ts';
import { FLAG, S } from '../../../hypervisor/cpu/state.ts';
import { CASE_BYTES, CASE_WORDS, CODE, CODE_PAGES, CS32, CS64, DS, foldPage, FS_BASE, GS_BASE, REGION_BYTES, regionPattern, REGION_PAGES, REGIONS, WINDOW, WORD } from './layout.ts';

/** Trap numbers our side reports beside the architecture's. */
export const TRAP = { debug: 1, breakpoint: 3, privileged: 200, other: 300 } as const;
/** Linux's descriptors for user programs and its own; the rest of its table is not present. */
const GDT: readonly (bigint | undefined)[] = Array.from({ length: 16 }, (_, n) => ({ 1: 0x00cf9b000000ffffn, 2: 0x00af9b000000ffffn, 3: 0x00cf93000000ffffn, 4: 0x00cffb000000ffffn, 5: 0x00cff3000000ffffn, 6: 0x00affb000000ffffn, 15: 0x0040f50000000000n })[n] ?? 0n);
const P = 1n, RW = 2n, US = 4n, NX = 1n << 63n;

export class Guest {
  readonly cpu: SoftwareProcessor;
  private readonly words: Uint32Array;
  private readonly codeFrames: number[] = [];
  /** Physical pages of the regions: frames[region][page]. Scattered, so that crossing a page shows. */
  private readonly frames: number[][] = [[], []];
  private readonly pristine = REGIONS.map((_, r) => regionPattern(r));
  private readonly pristinePages: Buffer[][];
  private readonly pages: Buffer[][];
  private readonly unimplemented = new Map<string, number>();

  constructor() {
    const layout = layoutMemory(1, 256), pages = layout.totalBytes / 65536;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.cpu = createProcessor({
      memory, layout, vcpu: 0, slot: 0, module: compileInterpreter(0), jit: jitModeOf(process.env['XENOLITH_JIT'] ?? 'off'),
      host: { descriptor: selector => selector & 4 ? undefined : GDT[selector >> 3], foreign: () => 0, unimplemented: (_, bytes) => { this.unimplemented.set(bytes, (this.unimplemented.get(bytes) ?? 0) + 1); } },
    });
    this.words = new Uint32Array(memory.buffer as unknown as SharedArrayBuffer);
    let next = layout.first, high = layout.end - 1;
    const root = next++ * 4096;
    const map = (va: number, flags: bigint, frame: number): number => {
      let table = root;
      for (const shift of [39n, 30n, 21n]) {
        const at = table + Number(BigInt(va) >> shift & 511n) * 8;
        if (!(this.cpu.view.getBigUint64(at, true) & P)) this.cpu.view.setBigUint64(at, BigInt(next++ * 4096) | P | RW | US, true);
        table = Number(this.cpu.view.getBigUint64(at, true) & 0xfffff000n);
      }
      this.cpu.view.setBigUint64(table + (va >> 12 & 511) * 8, BigInt(frame * 4096) | flags, true);
      return frame * 4096;
    };
    for (let n = 0; n < CODE_PAGES; n++) this.codeFrames.push(map(CODE + n * 4096, P | US, n & 1 ? high-- : next++));
    REGIONS.forEach((start, r) => {
      for (let n = 0; n < REGION_PAGES; n++) this.frames[r]!.push(map(start + n * 4096, P | US | NX | (n ? RW : 0n), n & 1 ? high-- : next++));
    });
    const buffer = memory.buffer as unknown as SharedArrayBuffer;
    this.pages = this.frames.map(list => list.map(p => Buffer.from(buffer as unknown as ArrayBuffer, p, 4096)));
    this.pristinePages = this.pristine.map(image => Array.from({ length: REGION_PAGES }, (_, n) => Buffer.from(image.buffer as ArrayBuffer, n * 4096, 4096)));
    this.pages.forEach((list, r) => list.forEach((page, n) => page.set(this.pristinePages[r]![n]!)));
    this.cpu.setRoot(0, BigInt(root));
    this.cpu.setRoot(1, BigInt(root));
    this.placeSegments();
    this.setMode(false);
  }
  private placeSegments(): void {
    const { cpu } = this;
    for (const n of [0, 2, 3]) cpu.loadSegment(n, DS);
    cpu.selectors.set([DS, cpu.selectors[1]!, DS, DS, 0, 0]);
    cpu.fsBase = BigInt(FS_BASE);
    cpu.gsBase = BigInt(GS_BASE);
  }

  private setMode(compat: boolean): void {
    if (this.cpu.longMode === compat) this.cpu.longMode = !compat;
    this.cpu.selectors[1] = compat ? CS32 : CS64;
  }

  /** Lays a window's bytes over (or copies them out of) its region. The read-only page is left alone. */
  private window(r: number, at: number, slot: Uint8Array, from: number, write: boolean): void {
    for (let done = 0; done < WINDOW;) {
      const offset = at + done - REGIONS[r]!, page = offset >> 12, inPage = offset & 4095, n = Math.min(WINDOW - done, 4096 - inPage);
      const bytes = this.pages[r]![page]!;
      if (!write) { for (let k = 0; k < n; k++) slot[from + done + k] = bytes[inPage + k]!; }
      else if (page) { for (let k = 0; k < n; k++) bytes[inPage + k] = slot[from + done + k]!; }
      done += n;
    }
  }
  private restore(r: number, at: number): void {
    for (let done = 0; done < WINDOW;) {
      const offset = at + done - REGIONS[r]!, page = offset >> 12, inPage = offset & 4095, n = Math.min(WINDOW - done, 4096 - inPage);
      const to = this.pages[r]![page]!, image = this.pristine[r]!;
      for (let k = 0; k < n; k++) to[inPage + k] = image[offset + k]!;
      done += n;
    }
  }

  loadCode(code: Uint8Array): void {
    this.codeFrames.forEach((p, n) => {
      this.cpu.bytes.set(code.subarray(n * 4096, n * 4096 + 4096), p);
      this.cpu.invalidateCode(p >>> 12);
    });
  }

  /** Runs slot `index` of `input`, leaving the outcome in the same slot of `output`. */
  run(input: Uint32Array, output: Uint32Array, index: number): void {
    const { cpu, words } = this, base = index * CASE_WORDS, area = cpu.area >>> 2, fx = (cpu.area + S.fx) >>> 2, regs = (cpu.area + S.regs) >>> 2;
    this.setMode(input[base] === CS32);
    if (input[base + WORD.error]) this.placeSegments();
    for (let i = 0; i < 32; i++) words[regs + i] = input[base + WORD.gpr + i]!;
    this.moveFx(input, base + WORD.fx, words, fx, 1);
    const flags = input[base + WORD.rflags]!, step = (flags & FLAG.TF) !== 0;
    const zf = flags >>> 6 & 1, cf = flags & 1;
    words[area + S.flagResult / 4] = zf ^ 1;
    words[area + S.flagResult / 4 + 1] = 0;
    words[area + S.flagAux / 4] = flags >>> 7 & 1 | ((flags >>> 2 & 1) ^ zf) << 8 | (flags >>> 4 & 1) << 3;
    words[area + S.flagAux / 4 + 1] = cf << 31 | (cf ^ flags >>> 11 & 1) << 30;
    words[area + S.flagsOther / 4] = flags & (FLAG.DF | FLAG.IF);
    words[area + S.rip / 4] = input[base + WORD.rip]!;
    words[area + S.rip / 4 + 1] = input[base + WORD.rip + 1]!;
    const w0 = input[base + WORD.window]!, w1 = input[base + WORD.window + 2]!;
    const slotBytes = new Uint8Array(input.buffer, input.byteOffset + index * CASE_BYTES, CASE_BYTES);
    this.window(0, w0, slotBytes, WORD.data * 4, true);
    this.window(1, w1, slotBytes, WORD.data * 4 + WINDOW, true);

    const exit = step ? cpu.step() : cpu.run();

    let trap: number = TRAP.debug, error = 0, cr2 = false;
    if (exit === EXIT.exception) {
      trap = words[area + S.vector / 4]!;
      error = words[area + S.errorCode / 4]! === 0xffffffff ? 0 : words[area + S.errorCode / 4]!;
      cr2 = trap === 14;
    } else if (exit === EXIT.softwareInterrupt) trap = words[area + S.vector / 4]!;
    else if (exit === EXIT.privileged) { trap = TRAP.privileged; error = cpu.privileged.length; } else if (exit !== 0) trap = TRAP.other + exit;
    output[base] = trap;
    output[base + WORD.error] = error;
    output[base + WORD.cr2] = cr2 ? words[area + S.cr2 / 4]! : 0;
    output[base + WORD.cr2 + 1] = cr2 ? words[area + S.cr2 / 4 + 1]! : 0;
    output[base + WORD.rip] = words[area + S.rip / 4]!;
    output[base + WORD.rip + 1] = words[area + S.rip / 4 + 1]!;
    output[base + WORD.rflags] = this.flags();
    output[base + WORD.rflags + 1] = 0;
    for (let i = 0; i < 32; i++) output[base + WORD.gpr + i] = words[regs + i]!;
    this.moveFx(words, fx, output, base + WORD.fx, -1);
    const outBytes = new Uint8Array(output.buffer, output.byteOffset + index * CASE_BYTES, CASE_BYTES);
    this.window(0, w0, outBytes, WORD.data * 4, false);
    this.window(1, w1, outBytes, WORD.data * 4 + WINDOW, false);
    this.restore(0, w0);
    this.restore(1, w1);
    output[base + WORD.window] = this.strays();
    const [es, cs, ss, ds, fs, gs] = cpu.selectors;
    output[base + WORD.window + 1] = cs! | ss! << 16;
    output[base + WORD.window + 2] = es! | ds! << 16;
    output[base + WORD.window + 3] = fs! | gs! << 16;
    if (input[base + WORD.error]) this.placeSegments();
  }

  /** Between an FXSAVE image and the processor's state, which has the x87 registers in physical order. */
  private moveFx(from: Uint32Array, f: number, to: Uint32Array, t: number, direction: 1 | -1): void {
    const top = from[f]! >>> 27 & 7;
    for (let i = 0; i < 8; i++) to[t + i] = from[f + i]!;
    for (let i = 0; i < 8; i++) {
      const a = f + 8 + 4 * i, b = t + 8 + 4 * (i + direction * top & 7);
      to[b] = from[a]!; to[b + 1] = from[a + 1]!; to[b + 2] = from[a + 2]!; to[b + 3] = 0;
    }
    for (let i = 40; i < 104; i++) to[t + i] = from[f + i]!;
  }

  private flags(): number {
    const { words } = this, area = this.cpu.area >>> 2, lo = words[area + S.flagResult / 4]!, hi = words[area + S.flagResult / 4 + 1]!, auxLo = words[area + S.flagAux / 4]!, auxHi = words[area + S.flagAux / 4 + 1]!;
    let parity = (lo ^ auxLo >>> 8) & 255;
    parity ^= parity >> 4; parity ^= parity >> 2; parity ^= parity >> 1;
    const cf = auxHi >>> 31;
    return cf | (~parity & 1) << 2 | (auxLo >>> 3 & 1) << 4 | (lo === 0 && hi === 0 ? 64 : 0) | ((hi >>> 31 ^ auxLo) & 1) << 7 | (cf ^ auxHi >>> 30 & 1) << 11 | words[area + S.flagsOther / 4]! | 2;
  }

  /** Hash of what changed outside the windows (0: nothing); undoes it. */
  private strays(): number {
    let hash = 0;
    for (let r = 0; r < 2; r++) for (let n = 1; n < REGION_PAGES; n++) {
      const page = this.pages[r]![n]!, image = this.pristinePages[r]![n]!;
      if (page.equals(image)) continue;
      hash = foldPage(hash, r * REGION_BYTES + n * 4096, new Uint32Array(page.buffer, page.byteOffset, 1024));
      page.set(image);
    }
    return hash >>> 0;
  }
}
