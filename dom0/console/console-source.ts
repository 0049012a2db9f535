/** A console as its viewers need it: output by position in the whole of it, and a place to type. */
export interface ConsoleSource {
  /** Another one for each console, and for each life of Dom0: positions of one mean nothing to another. */
  readonly id: string;
  /** Of the oldest byte kept, and behind the last one. */
  readonly start: number;
  readonly position: number;
  /** A copy of what is kept from `from` on. */
  read(from: number, limitBytes: number): Uint8Array;
  attach(onData: (chunk: Uint8Array) => void, fromPosition?: number, onEnd?: () => void): { detach(): void };
  /** @returns false: wait for drained() before writing more */
  write(data: Uint8Array): boolean;
  drained(): Promise<void>;
}
