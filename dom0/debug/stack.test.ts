import { expect, test } from 'vitest';
import { endsWithCall } from './stack.ts';

const before = (...bytes: number[]): Uint8Array => Uint8Array.from([...new Array<number>(7).fill(0x90), ...bytes].slice(-7));

test('calls, in the forms compilers use', () => {
  expect(endsWithCall(before(0xe8, 1, 2, 3, 4))).toBe(true); //             call rel32
  expect(endsWithCall(before(0xff, 0xd0))).toBe(true); //                   call rax
  expect(endsWithCall(before(0x41, 0xff, 0xd4))).toBe(true); //             call r12
  expect(endsWithCall(before(0xff, 0x50, 0x18))).toBe(true); //             call [rax+0x18]
  expect(endsWithCall(before(0xff, 0x54, 0x24, 0x08))).toBe(true); //       call [rsp+8]
  expect(endsWithCall(before(0xff, 0x15, 1, 2, 3, 4))).toBe(true); //       call [rip+disp32]
  expect(endsWithCall(before(0xff, 0x14, 0xc5, 1, 2, 3, 4))).toBe(true); // call [rax*8+disp32]
  expect(endsWithCall(before(0xff, 0x94, 0xc3, 1, 2, 3, 4))).toBe(true); // call [rbx+rax*8+disp32]
});
test('other instructions are not', () => {
  expect(endsWithCall(before(0x90, 0x90, 0x90, 0x90, 0x90))).toBe(false);
  expect(endsWithCall(before(0xff, 0xe0))).toBe(false); // jmp rax
  expect(endsWithCall(before(0xff, 0xc0))).toBe(false); // inc eax
  expect(endsWithCall(new Uint8Array(0))).toBe(false);
});
