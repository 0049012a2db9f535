import { expect, test } from 'vitest';
import { REGISTERS, REGISTERS_BYTES } from '../../hypervisor/public/debug.ts';
import { allRegisters, oneRegister, setAllRegisters, setRegister, TARGET_XML } from './gdb-registers.ts';

const NAMES = [...TARGET_XML.matchAll(/<reg name="(\w+)" bitsize="(\d+)"/g)].map(([, name, bits]) => ({ name: name!, bits: Number(bits) }));
const numberOf = (name: string): number => NAMES.findIndex(r => r.name === name);
const random = (): Uint8Array => Uint8Array.from({ length: REGISTERS_BYTES }, (_, i) => i * 37 + 11 & 0xff);

test('the description and the values agree in order and width', () => {
  const block = random();
  expect(allRegisters(block)).toHaveLength(NAMES.reduce((total, r) => total + r.bits / 4, 0));
  expect(NAMES.map((_, n) => oneRegister(block, n)).join('')).toBe(allRegisters(block));
  NAMES.forEach((r, n) => expect(oneRegister(block, n), r.name).toHaveLength(r.bits / 4));
  expect(oneRegister(block, NAMES.length)).toBeUndefined();
});
test('gdb has the order of its own i386:x86-64 core', () => {
  expect(NAMES.slice(0, 8).map(r => r.name)).toEqual(['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp']);
  const block = new Uint8Array(REGISTERS_BYTES);
  for (let n = 0; n < 16; n++) block[REGISTERS.gpr + 8 * n] = n;
  expect(['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r15'].map(name => parseInt(oneRegister(block, numberOf(name))!.slice(0, 2), 16))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 15]);
});
test('writing all back changes nothing; writing one changes it alone', () => {
  const block = random(), copy = block.slice();
  // The tag word says more than its image keeps, and only 8 registers have one.
  setAllRegisters(copy, Buffer.from(allRegisters(block), 'hex'));
  expect(Buffer.from(copy).equals(Buffer.from(block))).toBe(true);
  expect(setRegister(copy, numberOf('fs_base'), new Uint8Array(8).fill(0xee))).toBe(true);
  expect([...copy.subarray(REGISTERS.fsBase, REGISTERS.fsBase + 8)]).toEqual(new Array(8).fill(0xee));
  copy.set(block.subarray(REGISTERS.fsBase, REGISTERS.fsBase + 8), REGISTERS.fsBase);
  expect(Buffer.from(copy).equals(Buffer.from(block))).toBe(true);
});
test('control registers and selectors are shown, not taken', () => {
  const block = random(), copy = block.slice();
  for (const name of ['cs', 'cr2', 'cr3', 'guest_kernel']) expect(setRegister(copy, numberOf(name), new Uint8Array(8))).toBe(true);
  expect([...copy]).toEqual([...block]);
});
test('the tag word: empty, valid, zero and special by physical register', () => {
  const block = new Uint8Array(REGISTERS_BYTES), view = new DataView(block.buffer), tag = (): string => oneRegister(block, numberOf('ftag'))!;
  expect(tag()).toBe('ffff0000');
  view.setUint16(REGISTERS.fx + 2, 6 << 11, true); // top 6: ST0 is physical 6
  block[REGISTERS.fx + 4] = 0xc0;
  view.setUint16(REGISTERS.fx + 32 + 8, 0x3fff, true);
  view.setBigUint64(REGISTERS.fx + 32, 1n << 63n, true); // ST0 = 1.0, ST1 = 0
  expect(tag()).toBe('ff4f0000');
});
