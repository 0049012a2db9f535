// ELF64 little-endian x86-64 executables: headers, program headers, notes. All of it is checked against the file.
import { BuilderError } from './builder-error.ts';

const EM_386 = 3, EM_X86_64 = 62;
const ET_EXEC = 2, ET_DYN = 3;
const PT_LOAD = 1, PT_NOTE = 4;
const SHT_NOTE = 7, SHT_NOBITS = 8;
const MACHINES: Record<number, string> = { 2: 'SPARC', 8: 'MIPS', 20: 'PowerPC', 21: '64-bit PowerPC', 22: 'S/390', 40: '32-bit ARM', 50: 'IA-64', 183: 'ARM64', 243: 'RISC-V', 258: 'LoongArch' };
const MAX_NOTES = 4096;

export interface LoadSegment {
  /** Bytes in the file; the rest up to memSize is zero. */
  readonly data: Uint8Array;
  readonly paddr: bigint; readonly vaddr: bigint; readonly memSize: bigint;
}

export interface ElfNote { readonly name: string; readonly type: number; readonly desc: Uint8Array }

export interface Elf {
  readonly entry: bigint;
  readonly loads: readonly LoadSegment[];
  /** Of all PT_NOTE segments or, if those hold none of Xen's, of all SHT_NOTE sections. */
  readonly notes: readonly ElfNote[];
  /** Text of the legacy __xen_guest section, or null. */
  readonly xenGuest: string | null;
}

export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

const outside = (what: string): BuilderError => new BuilderError('kernel-corrupt', `is a damaged ELF file: its ${what} lies outside the file; fetch or copy it again`);

/** A range of the file, as 64-bit numbers from its own headers. */
function slice(bytes: Uint8Array, offset: bigint, size: bigint, what: string): Uint8Array {
  const length = BigInt(bytes.length);
  if (offset > length || size > length - offset) throw outside(what);
  return bytes.subarray(Number(offset), Number(offset + size));
}

interface Section { readonly name: string; readonly type: number; readonly data: Uint8Array }

export function parseElf(bytes: Uint8Array): Elf {
  checkIdentity(bytes);
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const loads: LoadSegment[] = [], noteAreas: Uint8Array[] = [];
  const phoff = v.getBigUint64(32, true), phentsize = v.getUint16(54, true), phnum = v.getUint16(56, true);
  if (phnum > 0 && phentsize < 56) throw outside('program header table');
  slice(bytes, phoff, BigInt(phnum * phentsize), 'program header table');
  for (let i = 0; i < phnum; i++) {
    const at = Number(phoff) + i * phentsize;
    const type = v.getUint32(at, true);
    if (type !== PT_LOAD && type !== PT_NOTE) continue;
    const fileSize = v.getBigUint64(at + 32, true), memSize = v.getBigUint64(at + 40, true);
    const data = slice(bytes, v.getBigUint64(at + 8, true), fileSize, `segment ${i}`);
    if (type === PT_NOTE) { noteAreas.push(data); continue; }
    if (fileSize > memSize) throw new BuilderError('kernel-corrupt', `is a damaged ELF file: segment ${i} is larger in the file than in memory`);
    if (memSize > 0n) loads.push({ data, vaddr: v.getBigUint64(at + 16, true), paddr: v.getBigUint64(at + 24, true), memSize });
  }
  if (loads.length === 0) throw new BuilderError('kernel-corrupt', 'is an ELF file without anything to load');

  let notes = noteAreas.flatMap(readNotes);
  let xenGuest: string | null = null;
  if (!notes.some((n) => n.name === 'Xen')) {
    const sections = readSections(bytes, v);
    notes = sections.filter((s) => s.type === SHT_NOTE).flatMap((s) => readNotes(s.data));
    const legacy = sections.find((s) => s.name === '__xen_guest');
    if (legacy) xenGuest = cString(legacy.data);
  }
  return { entry: v.getBigUint64(24, true), loads, notes, xenGuest };
}

function checkIdentity(bytes: Uint8Array): void {
  if (bytes.length < 64) throw new BuilderError('kernel-truncated', 'is an ELF file that ends inside its header; the file is truncated');
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const elfClass = bytes[4], machine = v.getUint16(18, bytes[5] !== 2), type = v.getUint16(16, bytes[5] !== 2);
  if (elfClass === 1 && machine === EM_386) {
    throw new BuilderError('kernel-32bit', 'is a 32-bit (PAE) kernel; only 64-bit x86 paravirtual kernels can run here, so use the amd64 build of it');
  }
  if (machine !== EM_X86_64) throw new BuilderError('kernel-machine', `is built for ${MACHINES[machine] ?? `machine type ${machine}`}; an x86-64 kernel is needed`);
  if (elfClass !== 2) throw new BuilderError('kernel-32bit', 'is an x32 (32-bit pointers) ELF file; a 64-bit x86 kernel is needed');
  if (bytes[5] !== 1) throw new BuilderError('kernel-machine', 'is a big-endian ELF file; an x86-64 kernel is needed');
  if (type !== ET_EXEC && type !== ET_DYN) throw new BuilderError('kernel-not-recognised', 'is an ELF file but not an executable (an object file or core dump?)');
}

function readSections(bytes: Uint8Array, v: DataView): Section[] {
  const shoff = v.getBigUint64(40, true), shentsize = v.getUint16(58, true), shnum = v.getUint16(60, true), shstrndx = v.getUint16(62, true);
  if (shoff === 0n || shnum === 0 || shentsize < 64) return [];
  slice(bytes, shoff, BigInt(shnum * shentsize), 'section header table');
  const header = (i: number): number => Number(shoff) + i * shentsize;
  const contents = (at: number): Uint8Array =>
    v.getUint32(at + 4, true) === SHT_NOBITS ? new Uint8Array() : slice(bytes, v.getBigUint64(at + 24, true), v.getBigUint64(at + 32, true), 'section');
  const names = shstrndx < shnum ? contents(header(shstrndx)) : new Uint8Array();
  return Array.from({ length: shnum }, (_, i) => {
    const at = header(i);
    const nameAt = v.getUint32(at, true);
    const type = v.getUint32(at + 4, true), name = cString(names.subarray(nameAt));
    const wanted = type === SHT_NOTE || name === '__xen_guest';
    return { name, type, data: wanted ? contents(at) : new Uint8Array() };
  });
}

/** Notes of one area: name size, description size, type, then both padded to four bytes. */
function readNotes(area: Uint8Array): ElfNote[] {
  const v = new DataView(area.buffer, area.byteOffset, area.byteLength);
  const notes: ElfNote[] = [];
  const padded = (n: number): number => Math.ceil(n / 4) * 4;
  for (let at = 0; area.length - at >= 12;) {
    const nameSize = v.getUint32(at, true), descSize = v.getUint32(at + 4, true), type = v.getUint32(at + 8, true);
    const nameAt = at + 12, descAt = nameAt + padded(nameSize);
    if (nameAt + nameSize > area.length || descAt + descSize > area.length) throw outside('note');
    if (notes.length >= MAX_NOTES) throw new BuilderError('kernel-corrupt', `is a damaged ELF file: more than ${MAX_NOTES} notes`);
    notes.push({ name: cString(area.subarray(nameAt, nameAt + nameSize)), type, desc: area.subarray(descAt, descAt + descSize) });
    at = descAt + padded(descSize);
  }
  return notes;
}

/** Bytes up to the first NUL (or all of them) as Latin-1 text. */
export function cString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1');
}
