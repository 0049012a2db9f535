// What a guest says on its console, kept in a file; the file before it is kept too.
import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export interface ConsoleLogOptions {
  readonly path: string;
  /** At this size the file becomes `<path>.1` and a new one is begun. */
  readonly maxBytes?: number;
  /** Older files kept: `<path>.1` ... */
  readonly keep?: number;
  /** A sentence when the file cannot be written; said once. */
  readonly complain: (what: string) => void;
}

const DEFAULT_MAX_BYTES = 4 * 1024 * 1024;

export class ConsoleLog {
  readonly #o: ConsoleLogOptions;
  #fd: number | undefined;
  #size = 0;

  constructor(options: ConsoleLogOptions) {
    this.#o = options;
    this.#try(() => { mkdirSync(dirname(options.path), { recursive: true, mode: 0o700 }); this.#open(); });
  }

  /** Never throws: a full disk must not stop a guest. */
  write(data: Uint8Array): void {
    if (this.#fd === undefined) return;
    this.#try(() => {
      if (this.#size > 0 && this.#size + data.length > (this.#o.maxBytes ?? DEFAULT_MAX_BYTES)) this.#rotate();
      for (let at = 0; at < data.length;) at += writeSync(this.#fd!, data, at);
      this.#size += data.length;
    });
  }

  close(): void {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) closeSync(fd);
  }

  #open(): void {
    this.#fd = openSync(this.#o.path, 'a', 0o600);
    this.#size = fstatSync(this.#fd).size;
  }

  #rotate(): void {
    const { path, keep = 1 } = this.#o;
    this.close();
    for (let n = keep; n > 0; n--) {
      try { renameSync(n === 1 ? path : `${path}.${n - 1}`, `${path}.${n}`); } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    this.#open();
  }

  #try(run: () => void): void {
    try { run(); } catch (error) {
      this.close();
      this.#o.complain(`the console log ${this.#o.path} is given up: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
