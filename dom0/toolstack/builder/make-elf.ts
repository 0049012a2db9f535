// Small ELF kernels for tests.

export interface ElfSpec {
  readonly loads: readonly { readonly vaddr: bigint; readonly paddr: bigint; readonly data: Uint8Array; readonly memSize?: number }[];
  readonly entry?: bigint;
  /** Xen notes: type to value (a number becomes 8 bytes, a string is NUL-terminated). */
  readonly notes?: readonly (readonly [number, bigint | string])[];
  /** Text of a __xen_guest section. */
  readonly xenGuest?: string;
  readonly machine?: number; readonly elfClass?: number;
}

function note(type: number, value: bigint | string): Buffer {
  let desc: Buffer;
  if (typeof value === 'string') desc = Buffer.from(`${value}\0`);
  else { desc = Buffer.alloc(8); desc.writeBigUInt64LE(BigInt.asUintN(64, value)); }
  const head = Buffer.alloc(12);
  head.writeUInt32LE(4, 0); head.writeUInt32LE(desc.length, 4); head.writeUInt32LE(type, 8);
  return Buffer.concat([head, Buffer.from('Xen\0'), desc, Buffer.alloc((4 - desc.length % 4) % 4)]);
}

export function makeElf(spec: ElfSpec): Buffer {
  const notes = Buffer.concat((spec.notes ?? []).map(([t, v]) => note(t, v)));
  const segments = [...spec.loads.map((l) => ({ type: 1, ...l })), ...(notes.length > 0 ? [{ type: 4, vaddr: 0n, paddr: 0n, data: notes }] : [])];
  const header = Buffer.alloc(64 + segments.length * 56), parts: Buffer[] = [header];
  let at = header.length;
  const append = (data: Uint8Array): number => { const here = at; parts.push(Buffer.from(data)); at += data.length; return here; };
  header.set([0x7f, 0x45, 0x4c, 0x46, spec.elfClass ?? 2, 1, 1]);
  header.writeUInt16LE(2, 16); header.writeUInt16LE(spec.machine ?? 62, 18); header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt.asUintN(64, spec.entry ?? spec.loads[0]?.vaddr ?? 0n), 24);
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(56, 54); header.writeUInt16LE(segments.length, 56);
  segments.forEach((s, i) => {
    const h = 64 + i * 56;
    header.writeUInt32LE(s.type, h);
    header.writeBigUInt64LE(BigInt(append(s.data)), h + 8);
    header.writeBigUInt64LE(BigInt.asUintN(64, s.vaddr), h + 16);
    header.writeBigUInt64LE(s.paddr, h + 24);
    header.writeBigUInt64LE(BigInt(s.data.length), h + 32);
    header.writeBigUInt64LE(BigInt(('memSize' in s ? s.memSize : undefined) ?? s.data.length), h + 40);
  });
  if (spec.xenGuest !== undefined) {
    const names = Buffer.from('\0.shstrtab\0__xen_guest\0');
    const text = Buffer.from(`${spec.xenGuest}\0`);
    const namesAt = append(names), textAt = append(text);
    const sections = Buffer.alloc(3 * 64);
    const section = (i: number, name: number, type: number, offset: number, size: number): void => {
      sections.writeUInt32LE(name, i * 64); sections.writeUInt32LE(type, i * 64 + 4);
      sections.writeBigUInt64LE(BigInt(offset), i * 64 + 24); sections.writeBigUInt64LE(BigInt(size), i * 64 + 32);
    };
    section(1, 1, 3, namesAt, names.length);
    section(2, 11, 1, textAt, text.length);
    header.writeBigUInt64LE(BigInt(append(sections)), 40);
    header.writeUInt16LE(64, 58); header.writeUInt16LE(3, 60); header.writeUInt16LE(1, 62);
  }
  return Buffer.concat(parts);
}

/** A bzImage with this payload; `trailer` adds the unpacked size behind it, as Linux does for all but gzip. */
export function makeBzImage(payload: Uint8Array, unpackedBytes: number, trailer: boolean): Buffer {
  const setup = Buffer.alloc(2 * 512);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(unpackedBytes);
  const body = trailer ? Buffer.concat([payload, size]) : Buffer.from(payload);
  setup[0x1f1] = 1;
  setup.write('HdrS', 0x202, 'latin1');
  setup.writeUInt16LE(0x020f, 0x206);
  setup.writeUInt32LE(16, 0x248);
  setup.writeUInt32LE(body.length, 0x24c);
  return Buffer.concat([setup, Buffer.alloc(16), body]);
}
