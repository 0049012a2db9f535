// One domain's console: its ring on one side; readers, scrollback and a log file on the other. Output is taken as soon
// as it is there: a guest whose ring is full does nothing but wait for it.
import { randomUUID } from 'node:crypto';
import { ConsoleLog, type ConsoleLogOptions } from './console-log.ts';
import { ConsoleRing } from './console-ring.ts';
import type { ConsoleSource } from './console-source.ts';
import { Scrollback } from './scrollback.ts';

export interface DomainConsoleOptions {
  /** For log lines: `d5`. */
  readonly name?: string;
  readonly scrollbackBytes?: number;
  readonly logFile?: Omit<ConsoleLogOptions, 'complain'>;
  /** A line for xl dmesg. */
  readonly log?: (line: string) => void;
}

export interface ConsoleReader {
  detach(): void;
  /** Bytes of the console's whole output that this reader has been given; attach() takes it to resume. */
  readonly position: number;
}

interface Reader { position: number; onData(chunk: Uint8Array): void; onEnd: (() => void) | undefined }

const DEFAULT_SCROLLBACK_BYTES = 128 * 1024;
/** Input that the guest has not taken: beyond this, write() says to wait. */
const INPUT_HIGH_WATER_BYTES = 64 * 1024;
/** Input beyond this is refused: nobody waits for a guest that never reads. */
const INPUT_LIMIT_BYTES = 1024 * 1024;
/** A hostile guest may not fill the log. */
const MAX_COMPLAINTS = 10;

export class DomainConsole implements ConsoleSource {
  readonly id = randomUUID();
  readonly #ring: ConsoleRing;
  readonly #notify: () => void;
  readonly #options: DomainConsoleOptions;
  readonly #scrollback: Scrollback;
  readonly #logFile: ConsoleLog | undefined;
  readonly #readers = new Set<Reader>();
  #input: Uint8Array[] = [];
  #inputBytes = 0;
  #waiting: (() => void)[] = [];
  #complaints = 0;
  #closed = false;

  /**
   * @param ring the console page, 4096 bytes
   * @param notify sends the event to the guest
   */
  constructor(ring: Uint8Array<SharedArrayBuffer>, notify: () => void, options: DomainConsoleOptions = {}) {
    this.#notify = notify;
    this.#options = options;
    this.#ring = new ConsoleRing(ring, what => this.#complain(what));
    this.#scrollback = new Scrollback(options.scrollbackBytes ?? DEFAULT_SCROLLBACK_BYTES);
    if (options.logFile) this.#logFile = new ConsoleLog({ ...options.logFile, complain: what => this.#complain(what) });
  }

  get closed(): boolean { return this.#closed; }
  /** Bytes that the guest has written so far. */
  get position(): number { return this.#scrollback.end; }
  /** Position of the oldest byte kept. */
  get start(): number { return this.#scrollback.start; }
  read(from: number, limitBytes: number): Uint8Array { return this.#scrollback.read(from, limitBytes); }

  /** At every upcall of the console's event channel: takes output, gives input. */
  onEvent(): void {
    if (this.#closed) return;
    const output = this.#ring.takeOutput(), inputGiven = this.#giveInput();
    // The guest is told before the readers are: it may be waiting for room.
    if (output.length > 0 || inputGiven > 0) this.#notify();
    if (output.length > 0) this.#publish(output);
  }

  /**
   * Gives scrollback at once, then output as it comes. A chunk belongs to its receiver.
   * @param fromPosition where an earlier reader stopped; 0, all that is kept, by default
   * @param onEnd the console is closed
   */
  attach(onData: (chunk: Uint8Array) => void, fromPosition = 0, onEnd?: () => void): ConsoleReader {
    const reader: Reader = { position: this.#scrollback.end, onData, onEnd };
    const missed = this.#scrollback.read(fromPosition);
    if (!this.#closed) this.#readers.add(reader);
    if (missed.length > 0) this.#tell(reader, missed);
    if (this.#closed) onEnd?.();
    return { detach: () => { this.#readers.delete(reader); }, get position() { return reader.position; } };
  }

  /**
   * Input for the guest, kept until it takes it.
   * @returns false: the guest is slow, wait for drained() before writing more; far beyond that input is dropped
   */
  write(data: Uint8Array | string): boolean {
    if (this.#closed) return false;
    const bytes = typeof data === 'string' ? Buffer.from(data) : data.slice();
    if (this.#inputBytes + bytes.length > INPUT_LIMIT_BYTES) { this.#complain(`${bytes.length} bytes of input are dropped: the guest does not read its console`); return false; }
    if (bytes.length > 0) { this.#input.push(bytes); this.#inputBytes += bytes.length; }
    if (this.#giveInput() > 0) this.#notify();
    return this.#inputBytes < INPUT_HIGH_WATER_BYTES;
  }

  /** Resolves when write() would return true, or the console is closed. */
  drained(): Promise<void> {
    if (this.#closed || this.#inputBytes < INPUT_HIGH_WATER_BYTES) return Promise.resolve();
    return new Promise(resolve => this.#waiting.push(resolve));
  }

  /** A copy of what is kept of the output. */
  scrollback(): Uint8Array { return this.#scrollback.read(); }

  /** Takes the last output, says `final` to readers and log, and ends them. The ring is not touched after. */
  close(final: Uint8Array | string = ''): void {
    if (this.#closed) return;
    this.onEvent();
    const last = Buffer.from(final);
    if (last.length > 0) this.#publish(last);
    this.#closed = true;
    this.#input = [];
    this.#inputBytes = 0;
    this.#release();
    this.#logFile?.close();
    const readers = [...this.#readers];
    this.#readers.clear();
    for (const reader of readers) reader.onEnd?.();
  }

  #publish(output: Uint8Array): void {
    this.#scrollback.append(output);
    this.#logFile?.write(output);
    for (const reader of [...this.#readers]) this.#tell(reader, output.slice());
  }

  /** A reader that fails is let go; the others and the guest do not suffer. */
  #tell(reader: Reader, chunk: Uint8Array): void {
    reader.position = this.#scrollback.end;
    try { reader.onData(chunk); } catch (error) {
      this.#readers.delete(reader);
      this.#complain(`a reader is detached: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #giveInput(): number {
    let given = 0;
    while (this.#input.length > 0) {
      const head = this.#input[0]!, taken = this.#ring.giveInput(head);
      given += taken;
      this.#inputBytes -= taken;
      if (taken < head.length) { this.#input[0] = head.subarray(taken); break; }
      this.#input.shift();
    }
    if (this.#inputBytes < INPUT_HIGH_WATER_BYTES) this.#release();
    return given;
  }

  #release(): void { for (const resolve of this.#waiting.splice(0)) resolve(); }

  #complain(what: string): void {
    if (this.#complaints++ < MAX_COMPLAINTS) this.#options.log?.(`console of ${this.#options.name ?? 'a domain'}: ${what}`);
  }
}
