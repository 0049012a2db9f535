// Locked instructions that WebAssembly has no atomic operation for: operands that are not aligned to their size, and
// sixteen bytes. As on processors that lock their bus, the vCPU does them while no other vCPU of the domain runs guest
// code: no load or store of any kind is between its own.
//
//   inGuest  1 while a vCPU runs guest code           [that vCPU]
//   lock     0, or 1 + the vCPU that does such a one   [whoever takes it]
//
// A vCPU says that it is in guest code and then looks at the lock; who takes the lock looks at the others afterwards:
// one of the two sees the other. Whoever waits for the lock counts as being outside. Only guest code is kept out, and
// that is left at the next block once the word for attention is set; so waiting ends.
import { areaOf, S } from './state.ts';

/** Looks at a word before the thread sleeps on it, and how long it sleeps at most. */
const SPINS = 200, SLEEP_MS = 1;

export class BusLock {
  private readonly words: Int32Array;
  private readonly own: number;
  private readonly me: number;
  private readonly lock = (areaOf(0) + S.busLock) / 4;
  private readonly others: readonly { readonly inGuest: number; readonly attention: number }[];
  taken = 0;

  constructor(buffer: SharedArrayBuffer, vcpu: number, vcpus: number) {
    this.words = new Int32Array(buffer);
    this.own = (areaOf(vcpu) + S.inGuest) / 4;
    this.me = vcpu + 1;
    this.others = Array.from({ length: vcpus }, (_, n) => n).filter(n => n !== vcpu).map(n => ({ inGuest: (areaOf(n) + S.inGuest) / 4, attention: (areaOf(n) + S.selfAttention) / 4 }));
  }

  /** Before guest code. */
  enter(): void {
    for (;;) {
      Atomics.store(this.words, this.own, 1);
      const holder = Atomics.load(this.words, this.lock);
      if (holder === 0) return;
      this.outside();
      this.wait(this.lock, holder);
    }
  }
  /** After it, however it ended. */
  leave(): void {
    if (Atomics.load(this.words, this.lock) === this.me) this.free();
    this.outside();
  }
  /** In an instruction of this vCPU: returns when nobody else is in guest code. */
  take(): void {
    this.taken++;
    this.outside();
    for (let holder: number; (holder = Atomics.compareExchange(this.words, this.lock, 0, this.me)) !== 0; ) this.wait(this.lock, holder);
    for (const { inGuest, attention } of this.others) {
      if (!Atomics.load(this.words, inGuest)) continue;
      Atomics.or(this.words, attention, 4);
      while (Atomics.load(this.words, inGuest)) this.wait(inGuest, 1);
    }
  }
  release(): void {
    this.free();
    this.enter();
  }

  private free(): void {
    Atomics.store(this.words, this.lock, 0);
    Atomics.notify(this.words, this.lock);
  }
  private outside(): void {
    Atomics.store(this.words, this.own, 0);
    Atomics.notify(this.words, this.own);
  }
  /** Until the word changes, or a while has passed. */
  private wait(word: number, value: number): void {
    for (let n = 0; n < SPINS; n++) if (Atomics.load(this.words, word) !== value) return;
    Atomics.wait(this.words, word, value, SLEEP_MS);
  }
}
