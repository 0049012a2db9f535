// Requests of one direction that lie one behind the other on the disk: together they go to it as one, which costs it what one
// of them does. Each is answered by itself.
import type { BlkRequest } from './request.ts';

export type Transfer = BlkRequest & { kind: 'transfer' };

/** Their answers are shown together, too. */
export const BATCH_COUNT = 8;
const BATCH_SECTORS = 2048;

export class Batch {
  readonly #entries: Uint8Array[] = [];
  readonly #requests: Transfer[] = [];
  count = 0;
  sectorCount = 0;
  segmentCount = 0;

  /** It goes on where the batch ends, and in its direction. */
  canTake(request: BlkRequest): boolean {
    if (this.count === 0 || request.kind !== 'transfer') return false;
    const first = this.#requests[0]!;
    return request.op === first.op && request.sector === first.sector + this.sectorCount && this.sectorCount + request.sectorCount <= BATCH_SECTORS;
  }
  /** @param entry as it came from the ring */
  add(entry: Uint8Array, request: Transfer): void {
    this.#entries[this.count] = entry;
    this.#requests[this.count++] = request;
    this.sectorCount += request.sectorCount;
    this.segmentCount += request.segments.length;
  }
  get isFull(): boolean { return this.count === BATCH_COUNT || this.sectorCount === BATCH_SECTORS; }
  entry(n: number): Uint8Array { return this.#entries[n]!; }
  request(n: number): Transfer { return this.#requests[n]!; }
  /** The arrays keep their length: setting that takes longer than all else here. */
  clear(): void { this.count = this.sectorCount = this.segmentCount = 0; }
}
