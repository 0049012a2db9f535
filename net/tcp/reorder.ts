// Segments that came before those in front of them.
// Invariant: at most MAX_SEGMENTS, in order of sequence, which may overlap.
const MAX_SEGMENTS = 128;

interface Early { readonly sequence: number; readonly bytes: Uint8Array; readonly fin: boolean }

export class Reorder {
  #segments: Early[] = [];
  byteCount = 0;

  /** Keeps the bytes themselves. Drops them if there are too many; the sender repeats them. */
  add(sequence: number, bytes: Uint8Array, fin: boolean): void {
    if (this.#segments.length >= MAX_SEGMENTS) return;
    let at = this.#segments.length;
    while (at > 0 && ((this.#segments[at - 1]!.sequence - sequence) | 0) > 0) at--;
    const before = this.#segments[at - 1];
    if (before && before.sequence === sequence && before.bytes.length >= bytes.length) return;
    this.#segments.splice(at, 0, { sequence, bytes, fin });
    this.byteCount += bytes.length;
  }

  /** The next one that reaches to or over `sequence`, and where its new bytes start. */
  take(sequence: number): { readonly bytes: Uint8Array; readonly from: number; readonly fin: boolean } | undefined {
    for (let first = this.#segments[0]; first; first = this.#segments[0]) {
      const from = (sequence - first.sequence) | 0;
      if (from < 0) return undefined;
      this.#segments.shift();
      this.byteCount -= first.bytes.length;
      if (from < first.bytes.length || (from === first.bytes.length && first.fin)) return { bytes: first.bytes, from, fin: first.fin };
    }
    return undefined;
  }

  clear(): void { this.#segments = []; this.byteCount = 0; }
}
