// One line on stderr that shows what is being done; silent where stderr is no terminal.
export class Progress {
  readonly #out: NodeJS.WriteStream;
  #shown = false;

  constructor(out: NodeJS.WriteStream = process.stderr) { this.#out = out; }

  show(text: string): void {
    if (!this.#out.isTTY) return;
    const width = (this.#out.columns || 80) - 1;
    const plain = text.replace(/[\x00-\x1f\x7f]/g, ' ');
    this.#out.write(`\r\x1b[K${plain.length > width ? `${plain.slice(0, width - 1)}…` : plain}`);
    this.#shown = true;
  }
  /** Takes the line away, so that other output starts on a clean one. */
  clear(): void {
    if (this.#shown) this.#out.write('\r\x1b[K');
    this.#shown = false;
  }
}
