// Memory of this process that code may be written to and run from, by way of node:ffi. Where the platform has no such
// thing, or does not let a process have it, there is none, and whoever asks does without.

/** What of node:ffi is used; it is experimental, and not in every build. */
interface Ffi {
  dlopen(path: null, definitions: Record<string, { readonly arguments: readonly string[]; readonly return: string }>): { readonly functions: Record<string, (...a: (bigint | number)[]) => bigint> };
  getRawPointer(buffer: ArrayBufferLike): bigint;
  toArrayBuffer(pointer: bigint, length: number, copy: false): ArrayBuffer;
}
const PROTECT_READ_WRITE_EXECUTE = 7;
/** MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE (mmap(2)). */
const MAP = 0x02 | 0x20 | 0x4000;
/** Whether the kernel lets programs set GS's base themselves (getauxval(3); Linux, asm/hwcap2.h). */
const AT_HWCAP2 = 26n, HWCAP2_FSGSBASE = 2n;

export interface ExecutableMemory {
  readonly bytes: Uint8Array;
  /** Of its first byte. */
  readonly address: number;
  /** What calls the code at an offset, as a C function that is given nothing of use. @param node offset of zeros, three words of 8 bytes */
  callable(offset: number, node: number): () => void;
}

/** For one vCPU's native code: bytes, of which those never touched cost nothing. */
export const CODE_BYTES = 128 * 2 ** 20;

function ffi(): Ffi | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  return process.getBuiltinModule('node:ffi' as 'node:fs') as unknown as Ffi | undefined;
}
export function addressOf(buffer: ArrayBufferLike): bigint { return ffi()!.getRawPointer(buffer); }

/** Its address, for any thread of this process to open; undefined where there cannot be any. */
export function mapCode(length = CODE_BYTES): number | undefined {
  try {
    const { mmap, getauxval } = ffi()?.dlopen(null, {
      mmap: { arguments: ['u64', 'u64', 'i32', 'i32', 'i32', 'i64'], return: 'i64' }, getauxval: { arguments: ['u64'], return: 'u64' },
    }).functions ?? {};
    if (!mmap || !getauxval || !(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)) return undefined;
    const address = mmap(0n, BigInt(length), PROTECT_READ_WRITE_EXECUTE, MAP, -1, 0n);
    // A negative one is an error number.
    return address > 0n ? Number(address) : undefined;
  } catch { return undefined; /* this process is not let (Node's permission model) */ }
}
/** After the last use on any thread. */
export function unmapCode(address: number, length = CODE_BYTES): void {
  ffi()?.dlopen(null, { munmap: { arguments: ['u64', 'u64'], return: 'i32' } }).functions['munmap']!(BigInt(address), BigInt(length));
}
export function openCode(address: number, length = CODE_BYTES): ExecutableMemory {
  // twalk(3) calls a function for each node of a tree: for a tree of one, once.
  const f = ffi()!, { twalk } = f.dlopen(null, { twalk: { arguments: ['pointer', 'pointer'], return: 'void' } }).functions;
  return {
    bytes: new Uint8Array(f.toArrayBuffer(BigInt(address), length, false)), address,
    callable: (offset, node) => { const code = BigInt(address + offset), tree = BigInt(address + node); return () => { twalk!(tree, code); }; },
  };
}
