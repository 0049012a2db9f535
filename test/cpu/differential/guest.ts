// Our side: one processor whose guest sees the harness's memory, running the same case slots.
import { compileInterpreter } from '../../../hypervisor/cpu/interpreter.ts';
import { JIT_MODES } from '../../../hypervisor/cpu/jit/mode.ts';
import { attentionOffset, layoutMemory } from '../../../hypervisor/cpu/layout.ts';
import { createProcessor, type SoftwareProcessor } from '../../../hypervisor/cpu/processor.ts';
import { EXIT } from '../../../hypervisor/cpu/processor-api.ts';
import { FLAG, S } from '../../../hypervisor/cpu/state.ts';
import { CODE, CODE_PAGES, CS32, CS64, DS, foldPage, FS_BASE, GS_BASE, REGION_BYTES, regionPattern, REGION_PAGES, REGIONS, WORD } from './layout.ts';
import { pagesFor, Stage } from './stage.ts';
import { BEGUN, watch } from './watch.ts';

/** Trap numbers our side reports beside the architecture's. */
export const TRAP = { debug: 1, breakpoint: 3, privileged: 200, other: 300 } as const;
/** Linux's descriptors for user programs and its own; the rest of its table is not present. */
const GDT: readonly (bigint | undefined)[] = Array.from({ length: 16 }, (_, n) => ({ 1: 0x00cf9b000000ffffn, 2: 0x00af9b000000ffffn, 3: 0x00cf93000000ffffn, 4: 0x00cffb000000ffffn, 5: 0x00cff3000000ffffn, 6: 0x00affb000000ffffn, 15: 0x0040f50000000000n })[n] ?? 0n);
/** Processor time after which a case that the watch has seen twice does not end. */
const ENDLESS_US = 500_000;
const P = 1n, RW = 2n, US = 4n, NX = 1n << 63n;

export class Guest {
  readonly cpu: SoftwareProcessor;
  readonly stage: Stage;
  private readonly attention: Int32Array;
  private readonly begun: Int32Array;
  private readonly words: Uint32Array;
  private readonly codeFrames: number[] = [];
  /** Physical pages of the regions: frames[region][page]. Scattered, so that crossing a page shows. */
  private readonly frames: number[][] = [[], []];
  private readonly pristine = REGIONS.map((_, r) => regionPattern(r));
  private readonly pristinePages: Buffer[][];
  private readonly pages: Buffer[][];
  private readonly unimplemented = new Map<string, number>();

  constructor() {
    const layout = layoutMemory(1, 256), pages = pagesFor(layout);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.cpu = createProcessor({
      memory, layout, vcpu: 0, slot: 0, module: compileInterpreter(0), jit: JIT_MODES.find(mode => mode === process.env['XENOLITH_JIT']) ?? 'off',
      host: { unchanging: { cs: 0x33, ss: 0x2b }, descriptor: selector => selector & 4 ? undefined : GDT[selector >> 3], foreign: () => 0, unimplemented: (_, bytes) => { this.unimplemented.set(bytes, (this.unimplemented.get(bytes) ?? 0) + 1); } },
    });
    this.words = new Uint32Array(memory.buffer as unknown as SharedArrayBuffer);
    this.stage = new Stage(memory, layout, 0);
    this.attention = new Int32Array(memory.buffer as unknown as SharedArrayBuffer, attentionOffset(0), 1);
    this.begun = watch(this.attention);
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
    this.stage.placeRegions(this.frames);
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

  loadCode(code: Uint8Array): void {
    this.codeFrames.forEach((p, n) => {
      this.cpu.bytes.set(code.subarray(n * 4096, n * 4096 + 4096), p);
      this.cpu.invalidateCode(p >>> 12);
    });
  }

  /** Runs the case at input[base], leaving the outcome at output[base]; both lie on the stage. */
  run(input: Uint32Array, output: Uint32Array, base: number): void {
    const { cpu, words, stage } = this, area = cpu.area >>> 2, from = input.byteOffset + 4 * base, to = output.byteOffset + 4 * base;
    this.setMode(input[base] === CS32);
    if (input[base + WORD.error]) this.placeSegments();
    stage.wasm.enter(from);
    this.attention[0] = 0;
    this.begun[BEGUN]!++;

    let exit = (input[base + WORD.rflags]! & FLAG.TF) !== 0 ? cpu.step() : cpu.run();
    for (let since = -1; exit === EXIT.attention; exit = cpu.run()) {
      // The watch may have meant the case before, or have waited while this thread could not run.
      if (this.attention[0] === this.begun[BEGUN]) {
        const used = process.threadCpuUsage().user;
        if (since < 0) since = used; else if (used - since > ENDLESS_US) break;
      }
      this.attention[0] = 0;
    }

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
    output[base + WORD.window] = stage.wasm.leave(from, to) ? this.strays() : 0;
    if (input[base + WORD.error]) this.placeSegments();
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
