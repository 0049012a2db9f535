// Stores into pages that hold code: what they drop, what they leave, and that code is run as written whatever was kept.
import { describe, expect, test, vi } from 'vitest';
import { R } from './record.ts';
import { isDropped } from './decode.ts';
import type { JitMode } from './jit/mode.ts';
import { CODE } from './layout.ts';
import { ACCESS, EXIT } from './processor-api.ts';
import type { SoftwareProcessor } from './processor.ts';
import { S } from './state.ts';
import { CODE_VA, DATA_VA, machine } from './test-machine.ts';

const le32 = (n: number): number[] => [n & 255, n >> 8 & 255, n >> 16 & 255, n >>> 24];
const MODES = ['off', 'on', 'force'] as const;
const INT3 = 0xcc, RET = 0xc3;
/** mov eax, n; int3: of five bytes and one. */
const gives = (n: number): number[] => [0xb8, ...le32(n), INT3];
/** mov byte [rdi], imm8; int3 */
const STORE_BYTE = [0xc6, 0x07, 0x5a, INT3];
/** Where the code that stores stands, in a page of its own. */
const STORER = CODE_VA + 0x10000n;
/** What is looked at for a store, so often for each block of the page. */
const STORES_PER_BLOCK = 8;

function setUp(code: number[], storer: number[], jit: JitMode = 'off', at = 0) {
  const m = machine([], { jit }), { cpu } = m, behind = m.map(CODE_VA + 4096n), storerAt = m.map(STORER);
  const place = (bytes: number[], offset: number): void => bytes.forEach((b, n) => { const p = offset + n; cpu.bytes[p < 4096 ? m.codeAt + p : behind + p - 4096] = b; });
  place(code, at);
  cpu.bytes.set(storer, storerAt);
  const run = (va: bigint): number => { cpu.rip = va; expect(cpu.run()).toBe(EXIT.softwareInterrupt); return Number(cpu.gpr[0]! & 0xffffffffn); };
  /** Runs the storer with rdi at a place in the page of code. */
  const store = (offset: number): void => { cpu.gpr[7] = CODE_VA + BigInt(offset); run(STORER); };
  const blockAt = (offset: number): number => cpu.blocks.known(offset < 4096 ? m.codeAt + offset : behind + offset - 4096, false);
  const { counters, since } = counting(cpu);
  return { ...m, behind, place, run, runAt: (offset: number) => run(CODE_VA + BigInt(offset)), store, blockAt, counters, since };
}
function counting(cpu: SoftwareProcessor) {
  const counters = (name: string): number => cpu.counters()[name] ?? 0;
  /** By how much counters grow meanwhile. */
  const since = (names: readonly string[], what: () => void): number[] => { const before = names.map(counters); what(); return names.map((n, i) => counters(n) - before[i]!); };
  return { counters, since };
}

describe('a store into a page with code', () => {
  test.each(MODES)('drops the block that it writes into and no other (translations: %s)', jit => {
    const m = setUp([...gives(1), ...Array(26).fill(0x90), ...gives(2)], STORE_BYTE, jit);
    // Until all three are as large as they get.
    for (let n = 0; n < 1000; n++) { m.runAt(0); m.runAt(32); m.store(4096); }
    const [first, second] = [m.blockAt(0), m.blockAt(32)], live = m.counters('jit_live');
    expect(live).toBe(jit === 'off' ? 0 : 3);
    for (const beside of [31, 38, 6, 4095]) expect(m.since(['blocks_dropped', 'code_writes_beside', 'jit_live'], () => m.store(beside))).toEqual([0, 1, 0]);
    expect([m.blockAt(0), m.blockAt(32)]).toEqual([first, second]);
    expect(m.since(['blocks_dropped', 'jit_live'], () => m.store(33))).toEqual([1, jit === 'off' ? 0 : -1]);
    expect([m.blockAt(0), m.blockAt(32)]).toEqual([first, 0]);
    expect([m.runAt(32), m.runAt(0)]).toEqual([0x5a, 1]);
    expect(m.blockAt(0)).toBe(first);
  });
  test.each([[0, 0x5a01], [4, 0x5a000000], [5, 1]])('drops a block by its first and by its last byte: the %i th', (offset, _) => {
    // With another one in the page, or all would go anyway.
    const m = setUp([...gives(1), ...Array(26).fill(0x90), ...gives(2)], STORE_BYTE);
    m.runAt(0); m.runAt(32);
    expect(m.since(['blocks_dropped'], () => m.store(offset))).toEqual([1]);
    expect(m.blockAt(0)).toBe(0);
    expect(m.blockAt(32)).not.toBe(0);
  });
  test('drops an instruction that reaches into the next page by its bytes there, and by those of the first page', () => {
    for (const [offset, value] of [[4094, 0x5a], [4095, 0x5a01], [4096, 0x5a0001], [4097, 0x5a000001]] as const) {
      const m = setUp(gives(1), STORE_BYTE, 'off', 4093);
      m.place(gives(2), 64); m.place(gives(3), 4096 + 64);
      for (const at of [64, 4096 + 64]) m.runAt(at);
      expect(m.runAt(4093)).toBe(1);
      for (const beside of [4092, 4096 + 32]) expect(m.since(['blocks_dropped', 'code_writes_beside'], () => m.store(beside))).toEqual([0, 1]);
      m.store(offset);
      expect(m.blockAt(4093)).toBe(0);
      expect([m.blockAt(64), m.blockAt(4096 + 64)]).not.toContain(0);
      m.place([value >>> 16 & 255], 4096);
      expect(m.runAt(4093) & 0xff00ffff).toBe(value & 0xff00ffff);
    }
  });
  test('drops a jump that reaches into the next page by its bytes there, where no other code is', () => {
    const m = setUp([0xe9, ...le32(64 - 4098)], STORE_BYTE, 'off', 4093);
    m.place(gives(2), 64); m.place(gives(3), 4096 + 64);
    expect([m.runAt(4096 + 64), m.runAt(4093)]).toEqual([3, 2]);
    m.store(4097);
    expect([4093, 64].map(at => m.blockAt(at) !== 0)).toEqual([false, true]);
  });
  test('that crosses from one page with code into another drops in both what it writes', () => {
    // mov dword [rdi], 0x5a5a5a5a; int3
    const m = setUp([INT3, INT3], [0xc7, 0x07, ...le32(0x5a5a5a5a), INT3], 'off', 4095);
    m.place(gives(1), 64); m.place(gives(2), 4096 + 64);
    for (const at of [64, 4095, 4096, 4096 + 64]) m.runAt(at);
    expect([4095, 4096].map(m.blockAt)).not.toContain(0);
    m.store(4094);
    expect([4095, 4096].map(m.blockAt)).toEqual([0, 0]);
    expect([64, 4096 + 64].map(m.blockAt)).not.toContain(0);
  });
  test('drops what is no instruction by bytes behind the ones that say so', () => {
    const m = setUp([0x06], STORE_BYTE);   // push es
    m.place(gives(2), 64);
    m.runAt(64);
    m.cpu.rip = CODE_VA;
    expect(m.cpu.run()).toBe(EXIT.exception);
    expect(m.blockAt(0)).not.toBe(0);
    m.store(14);
    expect(m.blockAt(0)).toBe(0);
    expect(m.blockAt(64)).not.toBe(0);
  });
  test.each(MODES)('by a string instruction drops all that it writes, be it many elements at once (translations: %s)', jit => {
    for (const op of [[0xf3, 0xa4], [0xf3, 0x48, 0xa5], [0xf3, 0xaa], [0xf3, 0x48, 0xab]]) {
      const m = setUp([...gives(1), ...gives(2), ...gives(3), ...gives(4), ...gives(5)], [...op, INT3], jit), wide = op.length === 3 ? 8 : 1;
      const string = (from: number, bytes: number): void => { m.cpu.gpr[6] = CODE_VA + 4096n; m.cpu.gpr[0] = 0x9090_9090_9090_9090n; m.cpu.gpr[1] = BigInt(bytes / wide); m.store(from); };
      m.cpu.bytes.fill(0x90, m.behind, m.behind + 4096);
      const known = (): boolean[] => [0, 6, 12, 18, 24].map(at => m.blockAt(at) !== 0);
      for (let n = 0; n < 5; n++) { for (const at of [0, 6, 12, 18, 24]) expect(m.runAt(at)).toBe(at / 6 + 1); }
      string(256, 1024);
      expect(known()).toEqual([true, true, true, true, true]);
      string(7, 16);   // 7 .. 22
      expect(known()).toEqual([true, false, false, false, true]);
      for (const [at, n] of [[0, 1], [24, 5]] as const) expect(m.runAt(at)).toBe(n);
      m.place([...gives(7), ...gives(8), ...gives(9)], 6);
      for (const [at, n] of [[6, 7], [12, 8], [18, 9]] as const) expect(m.runAt(at)).toBe(n);
    }
  });
  test.each(MODES)('is as long as itself, not as a string instruction before it, be that one done or not (translations: %s)', jit => {
    for (const absent of [false, true]) {
      // rep stosb; mov byte [rdx], 0x5a; int3
      const m = setUp([...Array(32).fill(0x90), ...gives(2)], [0xf3, 0xaa, 0xc6, 0x02, 0x5a, INT3], jit);
      for (let n = 0; n < 5; n++) {
        m.place([INT3], 0);
        expect([m.runAt(0), m.runAt(32)]).toEqual([expect.anything(), 2]);
        m.cpu.rip = STORER;
        m.cpu.gpr[1] = 64n;
        m.cpu.gpr[2] = CODE_VA + 31n;
        m.cpu.gpr[7] = absent ? DATA_VA + 0x10000n : DATA_VA;
        expect(m.cpu.run()).toBe(absent ? EXIT.exception : EXIT.softwareInterrupt);
        if (absent) { m.cpu.rip = STORER + 2n; m.cpu.run(); }
        expect(m.blockAt(32)).not.toBe(0);
      }
    }
  });
  test('by the hypervisor drops what it says it writes, or the page when it does not say', () => {
    const m = setUp([...gives(1), ...Array(26).fill(0x90), ...gives(2)], STORE_BYTE), known = (): boolean[] => [0, 32].map(at => m.blockAt(at) !== 0);
    const again = (): void => { m.place(gives(2), 32); m.runAt(0); m.runAt(32); };
    again();
    m.cpu.writeVirtual(CODE_VA + 33n, new Uint8Array([9]));
    expect(known()).toEqual([true, false]);
    expect(m.runAt(32)).toBe(9);
    m.cpu.write64(CODE_VA + 24n, 0x9090_9090_9090_9090n);
    expect(known()).toEqual([true, true]);
    m.cpu.write64(CODE_VA + 25n, 0xb890_9090_9090_9090n);
    expect(known()).toEqual([true, false]);
    again();
    m.cpu.writeVirtual(CODE_VA + 31n, new Uint8Array([0x90, 0xb8]));
    expect(known()).toEqual([true, false]);
    again();
    // A backend wrote somewhere in the page, and nobody has told this vCPU yet.
    m.cpu.bytes[m.cpu.view.getInt32(m.cpu.area + S.codeMap, true) + (m.codeAt >>> 12)]! |= CODE.dirtied;
    m.store(2048);
    expect(known()).toEqual([false, false]);
    again();
    m.cpu.translate(CODE_VA + 2048n, ACCESS.write);
    expect(known()).toEqual([false, false]);
  });
  test('is looked at however often there were others, until the page is given up', () => {
    const m = setUp([...gives(1), ...Array(26).fill(0x90), ...gives(2)], STORE_BYTE);
    m.runAt(0); m.runAt(32);
    const looked = m.since(['code_writes', 'code_pages_given_up'], () => { for (let n = 0; n < 100; n++) m.store(2048); });
    expect(looked).toEqual([2 * STORES_PER_BLOCK + 1, 1]);
    expect([0, 32].map(m.blockAt)).toEqual([0, 0]);
    // From then on it is written like any other; once it is run again, stores are seen again.
    m.store(1);
    expect(m.counters('code_writes')).toBe(looked[0]);
    expect(m.runAt(0)).toBe(0x5a);
    m.place([1], 1);
    m.store(1);
    expect(m.counters('code_writes')).toBe(looked[0]! + 1);
    expect(m.runAt(0)).toBe(0x5a);
  });
});

test.each(MODES)('a loop that stores into its own page for long is looked at seldom (translations: %s)', jit => {
  // mov ecx, 20000; again: inc dword [rdi]; dec ecx; jnz again; mov eax, [rdi]; int3
  const m = setUp([0xb9, ...le32(20_000), 0xff, 0x07, 0xff, 0xc9, 0x75, 0xfa, 0x8b, 0x07, INT3], STORE_BYTE, jit);
  m.cpu.gpr[7] = CODE_VA + 2048n;
  const [writes, decoded] = m.since(['code_writes', 'blocks_decoded'], () => expect(m.runAt(0)).toBe(20_000));
  // Each time that the page is given up costs a block decoded anew; before, each store did.
  expect(decoded).toBeLessThan(20_000 / STORES_PER_BLOCK);
  expect(writes).toBeLessThanOrEqual(20_000 + decoded!);
});

test.each(MODES)('a branch that was linked to a dropped block of its page finds the one in its place without coming back each time (translations: %s)', jit => {
  // mov ecx, 1000; again: jmp +1; nop; add eax, 1; dec ecx; jnz again; int3
  const m = setUp([0xb9, ...le32(1000), 0xeb, 0x01, 0x90, 0x83, 0xc0, 0x01, 0xff, 0xc9, 0x75, 0xf6, INT3], STORE_BYTE, jit);
  m.cpu.gpr[0] = 0n;
  expect(m.runAt(0)).toBe(1000);
  m.store(10);
  const find = vi.spyOn(m.cpu.blocks, 'find');
  m.cpu.gpr[0] = 0n;
  expect(m.runAt(0)).toBe(1000 * 0x5a);
  expect(find.mock.calls.length).toBeLessThan(20);
});

test.each(['on', 'force'] as const)('a translation goes with the bytes of another page that it is made of, and stays with others of that page (translations: %s)', jit => {
  // mov ecx, 60000; again: call the next page's start; dec ecx; jnz again; int3
  const m = setUp([0xb9, ...le32(60_000), 0xe8, ...le32(4096 - 10), 0xff, 0xc9, 0x75, 0xf7, INT3], STORE_BYTE, jit);
  m.place([0x83, 0xc0, 1, RET], 4096);
  m.place(gives(2), 4096 + 64);
  const again = (): number => { m.cpu.gpr[0] = 0n; return m.runAt(0); };
  for (let n = 0; n < 3; n++) expect(again()).toBe(60_000);
  m.runAt(4096 + 64);
  expect(m.counters('jit_wide')).toBeGreaterThan(0);
  expect(m.since(['jit_dropped', 'blocks_dropped'], () => m.store(4096 + 65))).toEqual([jit === 'on' ? 0 : 1, 1]);
  // The loop's, whose own blocks stay.
  expect(m.since(['jit_dropped', 'blocks_dropped'], () => m.store(4096 + 2))).toEqual([1, 1]);
  expect(again()).toBe(60_000 * 0x5a);
});

test.each(['on', 'force'] as const)('a translation does what is written, wherever of its code that was and whoever wrote it (translations: %s)', jit => {
  // mov ecx, 60000; again: add ebx, 1; call the next page's start; dec ecx; jnz again; int3; there: add eax, 1; jmp on. on: add edx, 1; ret
  const code = [0xb9, ...le32(60_000), 0x83, 0xc3, 1, 0xe8, ...le32(4096 - 13), 0xff, 0xc9, 0x75, 0xf4, INT3], callee = [0x83, 0xc0, 1, 0xeb, 11, ...Array(11).fill(0x90), 0x83, 0xc2, 1, RET];
  for (const byGuest of [true, false]) for (const [register, offset] of [[3, 7], [0, 4096 + 2], [2, 4096 + 18]] as const) {
    const m = setUp(code, STORE_BYTE, jit);
    m.place(callee, 4096);
    const again = (): number[] => { for (const r of [0, 2, 3]) m.cpu.gpr[r] = 0n; m.runAt(0); return [0, 2, 3].map(r => Number(m.cpu.gpr[r]!)); };
    for (let n = 0; n < 3; n++) expect(again()).toEqual([60_000, 60_000, 60_000]);
    expect(m.counters('jit_wide')).toBeGreaterThan(0);
    if (byGuest) m.store(offset);
    else { m.place([0x5a], offset); m.cpu.invalidateCode((offset < 4096 ? m.codeAt : m.behind) >>> 12); }
    expect(again()).toEqual([0, 2, 3].map(r => 60_000 * (r === register ? 0x5a : 1)));
  }
});

test.each(MODES)('functions of one page that are patched, copied over each other and called by turns do what is written (translations: %s)', jit => {
  for (let seed = 1; seed <= 6; seed++) {
    const outcome = (exact: boolean) => {
      let s = seed;
      const random = (n: number): number => { s = s * 1103515245 + 12345 >>> 0; return (s >>> 8) % n; };
      // add eax, imm32; rol eax, 3; xor eax, imm32; ret
      const FUNCTIONS = 24, STRIDE = 23, body = [0x05, ...le32(0x1234), 0xc1, 0xc0, 3, 0x35, ...le32(0x777), RET], at = (n: number): number => 1024 + STRIDE * n;
      const code: number[] = [0xbd, ...le32(40)], again = code.length;   // mov ebp, 40
      for (let n = 0; n < 60; n++) {
        const f = random(FUNCTIONS), to = Number(CODE_VA) + at(f);
        switch (random(5)) {
          // mov byte, word, dword [abs], imm: into an immediate, or beside the code
          case 0: code.push(0xc6, 0x04, 0x25, ...le32(to + (random(2) ? 1 : 9) + random(4)), random(256)); break;
          case 1: code.push(0x66, 0xc7, 0x04, 0x25, ...le32(to + (random(2) ? 1 : 9) + random(3)), random(256), random(256)); break;
          case 2: code.push(0xc7, 0x04, 0x25, ...le32(random(2) ? to + 9 : to + 14), ...le32(random(2 ** 31))); break;
          // add byte [abs], al: what is stored is not the same each time
          case 3: code.push(0x00, 0x04, 0x25, ...le32(to + (random(2) ? 1 : 9) + random(4))); break;
          // mov esi, imm; mov edi, imm; mov ecx, 14; rep movsb: one function over another
          default: code.push(0xbe, ...le32(Number(CODE_VA) + at(random(FUNCTIONS))), 0xbf, ...le32(to), 0xb9, ...le32(body.length), 0xf3, 0xa4); break;
        }
        const callee = at(random(FUNCTIONS));
        code.push(0xe8, ...le32(callee - code.length - 5 >>> 0));
      }
      code.push(0xff, 0xcd, 0x0f, 0x85, ...le32(again - code.length - 8 + 2 >>> 0), INT3);
      // dec ebp; jnz again: the displacement counts from the end of six bytes behind the two of DEC
      const jump = code.length - 7;
      code.splice(jump, 6, 0x0f, 0x85, ...le32(again - (jump + 6) >>> 0));
      if (code.length > 1024) throw new Error(`too long: ${code.length}`);
      const m = setUp(code, STORE_BYTE, jit);
      for (let n = 0; n < FUNCTIONS; n++) m.place(body, at(n));
      if (!exact) m.cpu.blocks.written = phys => m.cpu.blocks.invalidate(phys >>> 12);
      m.cpu.gpr[0] = 0n;
      return { eax: m.runAt(0), page: [...m.cpu.bytes.subarray(m.codeAt, m.codeAt + 4096)], dropped: m.counters('blocks_dropped') };
    };
    const exact = outcome(true), whole = outcome(false);
    expect({ ...exact, dropped: 0 }).toEqual({ ...whole, dropped: 0 });
    expect(exact.dropped).toBeLessThan(whole.dropped);
  }
});

test('records of a dropped block all lead away, those of its neighbours stay', () => {
  const m = setUp([...gives(1), ...gives(2)], STORE_BYTE);
  m.runAt(0); m.runAt(6);
  const [first, second] = [m.blockAt(0), m.blockAt(6)], handler = (record: number): number => m.cpu.view.getUint16(record + R.handler, true);
  const drops = m.cpu.view.getInt32(m.cpu.area + S.drops, true);
  m.store(7);
  expect([first, first + 32, second, second + 32].map(r => isDropped(handler(r)))).toEqual([false, false, true, true]);
  expect(m.cpu.view.getInt32(m.cpu.area + S.drops, true)).toBe(drops + 1);
});
