// The console page (public/io/console.h) and, on top, what a terminal does: lines, echo, the end of input.
import { XENCONS_IN_SIZE, XENCONS_OUT_SIZE, xencons_interface as ring } from '../../hypervisor/public/io/console.ts';
import type { Events } from './events.ts';

const CR = 13, LF = 10, BACKSPACE = 8, DELETE = 127, CTRL_C = 3, CTRL_D = 4, CTRL_U = 21, TAB = 9, SPACE = 32;
/** As in a terminal's input queue: what is typed and not read, an end of input being one. The last place is for the end of a line. */
const INPUT_MAX = 4096;
const BELL = '\x07';
/** Shown as a letter behind ^: a key like an arrow must not move the terminal's cursor. */
const isControl = (b: number): boolean => b < SPACE && b !== TAB;

export class Console {
  readonly #page: Uint8Array<SharedArrayBuffer>; readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #events: Events; readonly #port: number;
  #line: number[] = [];
  /** Lines that are complete, each to be read on its own; an empty one is the end of input. */
  readonly #ready: Uint8Array[] = [];
  #readyBytes = 0;
  /** What ctrl-C does besides emptying the line. */
  onInterrupt: () => void = () => {};

  constructor(page: Uint8Array<SharedArrayBuffer>, events: Events, port: number) {
    this.#page = page;
    this.#words = new Int32Array(page.buffer, page.byteOffset, page.length / 4);
    this.#events = events;
    this.#port = port;
    events.bind(port, () => this.#takeInput());
    this.#takeInput();
  }

  /** All of it; waits where the ring is full. Newlines go out as terminals want them. */
  write(data: Uint8Array): void {
    const out = new Uint8Array(data.length * 2);
    let length = 0;
    for (const b of data) { if (b === LF) out[length++] = CR; out[length++] = b; }
    this.#send(out.subarray(0, length));
  }
  print(text: string): void { this.write(new TextEncoder().encode(text)); }

  #send(data: Uint8Array): void {
    for (let at = 0; at < data.length;) {
      const prod = this.#load(ring.out_prod), free = XENCONS_OUT_SIZE - (prod - this.#load(ring.out_cons) >>> 0);
      if (free <= 0 || free > XENCONS_OUT_SIZE) { this.#events.waitFor(() => this.#roomOut() > 0); continue; }
      const count = Math.min(free, data.length - at);
      for (let i = 0; i < count; i++) this.#page[ring.out + (prod + i & XENCONS_OUT_SIZE - 1)] = data[at + i]!;
      this.#store(ring.out_prod, prod + count);
      at += count;
      this.#events.notify(this.#port);
    }
  }
  #roomOut(): number { return XENCONS_OUT_SIZE - (this.#load(ring.out_prod) - this.#load(ring.out_cons) >>> 0); }

  get hasInput(): boolean { return this.#ready.length > 0; }
  /** Waits for a line; an empty one is the end of input (ctrl-D at its beginning). Longer ones come in pieces. */
  readLine(maxBytes: number): Uint8Array {
    this.#events.waitFor(() => this.#ready.length > 0);
    const line = this.#ready.shift()!;
    if (line.length > maxBytes) this.#ready.unshift(line.subarray(maxBytes));
    this.#readyBytes -= Math.max(1, Math.min(line.length, maxBytes));
    return line.subarray(0, maxBytes);
  }
  /** Sleeps until there is a line, or the deadline. */
  waitInput(deadlineNs: bigint | undefined): boolean { return this.#events.waitFor(() => this.#ready.length > 0, deadlineNs); }

  /** In the upcall: the backend only wrote what we have not taken; a ring that makes no sense is emptied. */
  #takeInput(): void {
    const prod = this.#load(ring.in_prod), cons = this.#load(ring.in_cons), count = prod - cons >>> 0;
    if (count === 0) return;
    const bytes = count > XENCONS_IN_SIZE ? [] : Array.from({ length: count }, (_, i) => this.#page[ring.in + (cons + i & XENCONS_IN_SIZE - 1)]!);
    this.#store(ring.in_cons, prod);
    this.#events.later(() => { this.#events.notify(this.#port); for (const b of bytes) this.#key(b); });
  }
  #key(b: number): void {
    switch (b) {
      case CR: case LF: if (this.#room > 0) { this.#line.push(LF); this.print('\n'); this.#endLine(); } else this.print(BELL); return;
      case BACKSPACE: case DELETE: this.#erase(); return;
      case CTRL_U: while (this.#line.length > 0) this.#erase(); return;
      case CTRL_C: this.#line = []; this.print('^C\n'); this.onInterrupt(); return;
      case CTRL_D: if (this.#room > 0 || this.#line.length > 0) this.#endLine(); else this.print(BELL); return;
      default: if (this.#room <= 1) this.print(BELL); else { this.#line.push(b); if (isControl(b)) this.print(`^${String.fromCharCode(b + 0x40)}`); else this.write(Uint8Array.of(b)); }
    }
  }
  /** The last character goes, with all its bytes. */
  #erase(): void {
    let b = this.#line.pop();
    if (b === undefined) return;
    while (b !== undefined && (b & 0xc0) === 0x80) b = this.#line.pop();
    this.print(b !== undefined && isControl(b) ? '\b \b\b \b' : '\b \b');
  }
  get #room(): number { return INPUT_MAX - this.#readyBytes - this.#line.length; }
  #endLine(): void {
    this.#ready.push(Uint8Array.from(this.#line));
    this.#readyBytes += Math.max(1, this.#line.length);
    this.#line = [];
  }

  /** The page itself, and the event alone: for a guest that does not mean well. */
  raw(): { readonly page: Uint8Array<SharedArrayBuffer>; readonly words: Int32Array<SharedArrayBuffer> } { return { page: this.#page, words: this.#words }; }
  ring(): void { this.#events.notify(this.#port); }

  #load(offset: number): number { return Atomics.load(this.#words, offset / 4); }
  #store(offset: number, value: number): void { Atomics.store(this.#words, offset / 4, value | 0); }
}
