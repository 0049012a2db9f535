import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeElf } from '../../dom0/toolstack/builder/make-elf.ts';
import { formatStack } from './backtrace.ts';
import { parseElfSymbols, parseSymbolMap, readSymbols } from './symbols.ts';

const MAP = 'ffffffff81000000 T _stext\nffffffff81000000 T startup_xen\nffffffff81000100 t local\nffffffff81000180 D a_variable\nffffffff81000200 W weak\nffffffffc0000000 t in_module\t[xen_blkfront]\n';

test('System.map and kallsyms: the symbol at or before', () => {
  const symbols = parseSymbolMap(MAP);
  expect(symbols.size).toBe(5);
  expect(symbols.nameOf(0xffffffff81000000n)).toBe('_stext+0x0');
  expect(symbols.nameOf(0xffffffff81000042n)).toBe('_stext+0x42');
  expect(symbols.nameOf(0xffffffff810001ffn)).toBe('local+0xff');
  expect(symbols.nameOf(0xffffffffc0000010n)).toBe('in_module+0x10 [xen_blkfront]');
  expect(symbols.nameOf(0xffffffff80ffffffn)).toBeUndefined();
  expect(symbols.nameOf(0xffffffffd0000000n)).toBeUndefined();
});
test('files that will not do say why', () => {
  expect(() => parseSymbolMap('ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n')).toThrow('it holds no symbols of code');
  expect(() => parseSymbolMap('0000000000000000 T _stext\n0000000000000000 t x\n')).toThrow('all its addresses are zero');
  expect(() => readSymbols('/nonexistent/System.map')).toThrow('symbols from /nonexistent/System.map: there is no such file');
  const dir = mkdtempSync(join(tmpdir(), 'symbols-')), path = join(dir, 'vmlinux');
  try {
    writeFileSync(path, makeElf({ loads: [{ vaddr: 0x1000n, paddr: 0x1000n, data: new Uint8Array(16) }] }));
    expect(() => readSymbols(path)).toThrow('it has no symbol table');
  } finally { rmSync(dir, { recursive: true }); }
});

/** An ELF file with nothing but a symbol table. */
function elfWith(symbols: readonly (readonly [name: string, value: bigint, type: number])[]): Buffer {
  const names = Buffer.from(`\0${symbols.map(([name]) => name).join('\0')}\0`), table = Buffer.alloc(24 * symbols.length), head = Buffer.alloc(64), sections = Buffer.alloc(3 * 64);
  let nameAt = 1;
  symbols.forEach(([name, value, type], i) => {
    table.writeUInt32LE(nameAt, 24 * i);
    table[24 * i + 4] = 0x10 | type;
    table.writeUInt16LE(1, 24 * i + 6);
    table.writeBigUInt64LE(value, 24 * i + 8);
    nameAt += name.length + 1;
  });
  const section = (i: number, type: number, offset: number, size: number, link: number): void => {
    sections.writeUInt32LE(type, 64 * i + 4);
    sections.writeBigUInt64LE(BigInt(offset), 64 * i + 24);
    sections.writeBigUInt64LE(BigInt(size), 64 * i + 32);
    sections.writeUInt32LE(link, 64 * i + 40);
  };
  section(1, 2, 64, table.length, 2);
  section(2, 3, 64 + table.length, names.length, 0);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  head.writeBigUInt64LE(BigInt(64 + table.length + names.length), 40);
  head.writeUInt16LE(64, 58);
  head.writeUInt16LE(3, 60);
  return Buffer.concat([head, table, names, sections]);
}
test('the symbol table of a vmlinux; cut short anywhere it is refused, not read past', () => {
  const file = elfWith([['main', 0x1000n, 2], ['data', 0x1010n, 1], ['after', 0x1020n, 0]]), symbols = parseElfSymbols(file);
  expect([symbols.size, symbols.nameOf(0x1015n), symbols.nameOf(0x1021n)]).toEqual([2, 'main+0x15', 'after+0x1']);
  // The last 24 bytes are fields of a section header that nobody reads.
  for (let length = 4; length < file.length - 24; length++) expect(() => parseElfSymbols(file.subarray(0, length)), String(length)).toThrow();
});
test('a back-trace in text', () => {
  const view = { vcpu: 0, rip: 'ffffffff81000042', rsp: 'ffffffff82003f00', kernelMode: true, registers: {}, calls: [{ at: 'ffffffff82003f08', address: 'ffffffff81000105' }, { at: 'ffffffff82003f10', address: 'ffffffffd0000000' }] };
  expect(formatStack(view, parseSymbolMap(MAP), false)).toBe('vCPU 0: guest kernel, rsp ffffffff82003f00\n  <ffffffff81000042> _stext+0x42\n  ? <ffffffff81000105> local+0x5\n  ? <ffffffffd0000000>\n');
  expect(formatStack({ vcpu: 3 }, undefined, false)).toBe('vCPU 3: not brought up\n');
});
