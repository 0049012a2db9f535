// The program's memory and the balloon. The program's part are the frames from 0 up to those that the kernel needs
// itself; memory.grow moves its end up. Frames beyond that end are spare, and are what the balloon can give back.
import type { ProgramMemory, ProgramVcpu } from '../../hypervisor/public/program.ts';
import type { Hypercalls } from './hypercalls.ts';
import { PAGE_BYTES } from './heap.ts';

const WASM_PAGE = 65536, FRAMES_PER_PAGE = WASM_PAGE / PAGE_BYTES, MIB_PAGES = 16;

export class Memory implements ProgramMemory {
  readonly #vcpu: ProgramVcpu; readonly #hypercalls: Hypercalls;
  #pages = 0;
  #maxPages = 0;
  /** Frames of the program's part; those from `#present` up to it have been given back. */
  #frames: number;
  #present: number;

  constructor(vcpu: ProgramVcpu, hypercalls: Hypercalls, frameCount: number) {
    this.#vcpu = vcpu;
    this.#hypercalls = hypercalls;
    this.#frames = this.#present = frameCount;
  }
  begin(minPages: number, maxPages: number): void {
    const room = this.#room();
    if (minPages > room) throw new Error(`its program wants ${minPages / MIB_PAGES} MiB of memory, the domain has ${room / MIB_PAGES} MiB for it: raise "memory"`);
    this.#pages = minPages;
    this.#maxPages = maxPages;
  }
  pages(): number { return this.#pages; }
  grow(by: number): number {
    const before = this.#pages;
    if (before + by > Math.min(this.#maxPages, this.#room())) return -1;
    this.#pages = before + by;
    return before;
  }
  /** The module's image lay in the program's part: its frames are the program's now, and empty. */
  release(fromByte: number, toByte: number): void {
    this.#vcpu.bytes.fill(0, fromByte, toByte);
    this.#frames = this.#present = Math.floor(toByte / PAGE_BYTES);
  }
  #room(): number { return Math.floor(this.#present / FRAMES_PER_PAGE); }

  /** Gives back spare frames until `absent` of the domain's are, or takes them again; what is in use stays. */
  balloon(absent: number): void {
    const wanted = Math.max(this.#frames - Math.max(0, absent), this.#pages * FRAMES_PER_PAGE);
    while (this.#present > wanted && this.#hypercalls.giveUpFrame(this.#vcpu.mfnOf(this.#present - 1))) this.#present--;
    // Frames come back in the order they went, last first, and a frame's place is its number.
    while (this.#present < wanted && this.#hypercalls.populateFrame(this.#present) === this.#vcpu.mfnOf(this.#present)) this.#present++;
  }
}
