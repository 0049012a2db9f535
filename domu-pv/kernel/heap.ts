// The kernel's own frames: rings, buffers for devices, arguments of hypercalls. Given out singly, by pfn.
import type { ProgramVcpu } from '../../hypervisor/public/program.ts';

export const PAGE_BYTES = 4096;

export class OutOfFrames extends Error {}

export class Heap {
  readonly #vcpu: ProgramVcpu;
  readonly #free: number[];

  constructor(vcpu: ProgramVcpu, firstPfn: number, count: number) {
    this.#vcpu = vcpu;
    this.#free = Array.from({ length: count }, (_, i) => firstPfn + count - 1 - i);
  }
  get freeCount(): number { return this.#free.length; }
  /** A frame, zeroed. @throws OutOfFrames */
  allocate(): number {
    const pfn = this.#free.pop();
    if (pfn === undefined) throw new OutOfFrames('the kernel has no frames left: give the domain more memory');
    this.page(pfn).fill(0);
    return pfn;
  }
  release(pfn: number): void { this.#free.push(pfn); }
  page(pfn: number): Uint8Array<SharedArrayBuffer> { return this.#vcpu.bytes.subarray(pfn * PAGE_BYTES, (pfn + 1) * PAGE_BYTES); }
}
