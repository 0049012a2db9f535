// The console page (io/console.h), Dom0's end. The guest may write all of it, so Dom0's own two indexes are kept here
// and only published there; the guest's two are read once and checked.
import { XENCONS_IN_SIZE, XENCONS_OUT_SIZE, xencons_interface as page } from '../../hypervisor/public/io/console.ts';

export class ConsoleRing {
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #words: Int32Array<SharedArrayBuffer>;
  /** Where the indexes made no sense: called once per case, with a sentence. */
  readonly #complain: (what: string) => void;
  #inProd: number;
  #outCons: number;

  /** @param ring the whole page, 4096 bytes; goes on where an earlier backend left off */
  constructor(ring: Uint8Array<SharedArrayBuffer>, complain: (what: string) => void) {
    this.#bytes = ring;
    this.#words = new Int32Array(ring.buffer, ring.byteOffset, 1024);
    this.#complain = complain;
    this.#inProd = this.#load(page.in_prod);
    this.#outCons = this.#load(page.out_cons);
  }

  /** All output there is, as a private copy; empty if there is none. */
  takeOutput(): Uint8Array {
    const prod = this.#load(page.out_prod), byteCount = (prod - this.#outCons) >>> 0;
    if (byteCount === 0) return new Uint8Array(0);
    const from = this.#outCons;
    this.#outCons = prod;
    if (byteCount > XENCONS_OUT_SIZE) {
      this.#complain(`out_prod is ${prod >>> 0}, ${byteCount} bytes beyond out_cons; the output is dropped`);
      this.#store(page.out_cons, prod);
      return new Uint8Array(0);
    }
    const data = new Uint8Array(byteCount), at = from & (XENCONS_OUT_SIZE - 1), first = Math.min(byteCount, XENCONS_OUT_SIZE - at);
    data.set(this.#bytes.subarray(page.out + at, page.out + at + first));
    data.set(this.#bytes.subarray(page.out, page.out + byteCount - first), first);
    this.#store(page.out_cons, prod);
    return data;
  }

  /** @returns bytes taken: as many as there is room for */
  giveInput(data: Uint8Array): number {
    const cons = this.#load(page.in_cons), used = (this.#inProd - cons) >>> 0;
    if (used > XENCONS_IN_SIZE) {
      this.#complain(`in_cons is ${cons >>> 0}, beyond in_prod ${this.#inProd >>> 0}; the input that waited there is dropped`);
      this.#inProd = cons;
    }
    const room = used > XENCONS_IN_SIZE ? XENCONS_IN_SIZE : XENCONS_IN_SIZE - used, byteCount = Math.min(room, data.length);
    const at = this.#inProd & (XENCONS_IN_SIZE - 1), first = Math.min(byteCount, XENCONS_IN_SIZE - at);
    this.#bytes.set(data.subarray(0, first), page.in + at);
    this.#bytes.set(data.subarray(first, byteCount), page.in);
    this.#inProd = (this.#inProd + byteCount) | 0;
    this.#store(page.in_prod, this.#inProd);
    return byteCount;
  }

  #load(offset: number): number { return Atomics.load(this.#words, offset >> 2); }
  #store(offset: number, value: number): void { Atomics.store(this.#words, offset >> 2, value); }
}
