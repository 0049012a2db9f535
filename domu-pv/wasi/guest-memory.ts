// The program's memory as system calls use it: every pointer is checked, every structure read once.
import type { ProgramVcpu } from '../../hypervisor/public/program.ts';
import { FsError } from '../fs/node.ts';
import { ERRNO } from './errno.ts';

const decoder = new TextDecoder(), encoder = new TextEncoder(), STRING_MAX = 65536, VECTORS_MAX = 1024;

export class GuestMemory {
  readonly #vcpu: ProgramVcpu;
  constructor(vcpu: ProgramVcpu) { this.#vcpu = vcpu; }

  /** The bytes themselves. @throws FsError(FAULT) */
  at(pointer: number, byteCount: number): Uint8Array<SharedArrayBuffer> {
    const from = pointer >>> 0, length = byteCount >>> 0;
    if (from + length > this.#vcpu.bytes.length) throw new FsError(ERRNO.FAULT);
    return this.#vcpu.bytes.subarray(from, from + length);
  }
  view(pointer: number, byteCount: number): DataView<SharedArrayBuffer> {
    const part = this.at(pointer, byteCount);
    return new DataView(part.buffer, part.byteOffset, part.length);
  }
  u32(pointer: number, value: number): void { this.view(pointer, 4).setUint32(0, value, true); }
  u64(pointer: number, value: bigint): void { this.view(pointer, 8).setBigUint64(0, BigInt.asUintN(64, value), true); }
  string(pointer: number, byteCount: number): string {
    if (byteCount >>> 0 > STRING_MAX) throw new FsError(ERRNO.NAMETOOLONG);
    return decoder.decode(this.at(pointer, byteCount).slice());
  }
  /** struct { pointer, length } vectors, as views. */
  vectors(pointer: number, count: number): Uint8Array<SharedArrayBuffer>[] {
    if (count >>> 0 > VECTORS_MAX) throw new FsError(ERRNO.INVAL);
    const list = this.view(pointer, (count >>> 0) * 8);
    return Array.from({ length: count >>> 0 }, (_, i) => this.at(list.getUint32(8 * i, true), list.getUint32(8 * i + 4, true)));
  }
  /** What comes of a stream in one read, over the vectors in order. */
  scatter(parts: readonly Uint8Array[], data: Uint8Array): void {
    let at = 0;
    for (const part of parts) { const piece = data.subarray(at, at + part.length); part.set(piece); at += piece.length; }
  }
  /** Strings as argv and environ want them. */
  strings(list: readonly string[], pointers: number, buffer: number): void {
    let at = buffer >>> 0;
    list.forEach((text, i) => {
      const data = encoder.encode(`${text}\0`);
      this.u32(pointers + 4 * i, at);
      this.at(at, data.length).set(data);
      at += data.length;
    });
  }
}
/** Bytes that one call on a stream moves at most. */
const TRANSFER_MAX = 1 << 20;
export const roomOf = (parts: readonly Uint8Array[]): number => Math.min(TRANSFER_MAX, parts.reduce((sum, part) => sum + part.length, 0));
export const byteLengthOf = (list: readonly string[]): number => list.reduce((sum, text) => sum + encoder.encode(text).length + 1, 0);
