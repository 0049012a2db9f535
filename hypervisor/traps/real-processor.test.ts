// A guest in miniature on the real processor: hypercalls, forced CPUID, an emulated page-table write, iret to user
// mode, a system call from there, and a fault in the kernel.
import { expect, it, vi } from 'vitest';
import type { VcpuContext } from '../domain/vcpu-context.ts';

vi.mock('../hypercall/table.ts', async () => {
  const { set_trap_table } = await import('../hypercall/set_trap_table.ts');
  const { iret } = await import('../hypercall/iret.ts');
  return {
    dispatchHypercall(ctx: VcpuContext, call: number, a1: bigint, a2: bigint, a3: bigint, a4: bigint, a5: bigint): void {
      if (call >= 55) { ctx.crash(`hypercall ${call}`); return; }
      const handler = call === 0 ? set_trap_table : iret;
      ctx.processor.gpr[0] = BigInt.asUintN(64, BigInt(handler(ctx, a1, a2, a3, a4, a5)));
    },
  };
});

import { compileInterpreter } from '../cpu/interpreter.ts';
import type { Processor } from '../cpu/processor-api.ts';
import { createProcessor } from '../cpu/processor.ts';
import { newBasePointer, newUserBasePointer } from '../mm/base-pointer.ts';
import { typeCount } from '../mm/frame-table.ts';
import { pinTable } from '../mm/page-tables.ts';
import { withPageLock } from '../mm/space.ts';
import { BASE, PAGE, makeGuest } from '../mm/test-guest.ts';
import { handleExit } from './index.ts';
import { lookupDescriptor } from './segments.ts';

// Loaded at BASE + 45 pages:
//   wrmsr GS base; hypercall 0 (trap table at the end: #GP, #PF); forced cpuid 0x40000000, ebx to r12
//   rdi = L1 entry 20; copy entry 21 into it; lock btr [rdi], 1; r13 = the entry
//   hypercall 23 (iret) to user:  mov rbx, rax; mov eax, 39; syscall; ud2
//   callback: r14 = [rsp+16]; rdmsr 0x1234 -> gp: r15 = [rsp+16], rbp = [rsp+24]; hypercall 55
//   pf: hypercall 56
const CODE = [
  0xb9, 0x01, 0x01, 0x00, 0xc0, 0xb8, 0x00, 0x40, 0x04, 0x83, 0xba, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x30, 0x48, 0x8d, 0x3d, 0x88,
  0x00, 0x00, 0x00, 0x31, 0xc0, 0x0f, 0x05, 0xb8, 0x00, 0x00, 0x00, 0x40, 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2, 0x41, 0x89,
  0xdc, 0x48, 0xc7, 0xc7, 0xa0, 0x30, 0x00, 0x80, 0x48, 0x8b, 0x47, 0x08, 0x48, 0x89, 0x07, 0xf0, 0x48, 0x0f, 0xba, 0x37, 0x01,
  0x4c, 0x8b, 0x2f, 0x48, 0x89, 0xe2, 0x68, 0x2b, 0xe0, 0x00, 0x00, 0x52, 0x68, 0x02, 0x02, 0x00, 0x00, 0x68, 0x33, 0xe0, 0x00,
  0x00, 0x48, 0x8d, 0x05, 0x10, 0x00, 0x00, 0x00, 0x50, 0x6a, 0x00, 0x6a, 0x03, 0x6a, 0x02, 0x6a, 0x01, 0xb8, 0x17, 0x00, 0x00,
  0x00, 0x0f, 0x05, 0x48, 0x89, 0xc3, 0xb8, 0x27, 0x00, 0x00, 0x00, 0x0f, 0x05, 0x0f, 0x0b, 0x4c, 0x8b, 0x74, 0x24, 0x10, 0xb9,
  0x34, 0x12, 0x00, 0x00, 0x0f, 0x32, 0x4c, 0x8b, 0x7c, 0x24, 0x10, 0x48, 0x8b, 0x6c, 0x24, 0x18, 0xb8, 0x37, 0x00, 0x00, 0x00,
  0x0f, 0x05, 0xb8, 0x38, 0x00, 0x00, 0x00, 0x0f, 0x05, 0x0f, 0x1f, 0x40, 0x00, 0x0d, 0x04, 0x33, 0xe0, 0x00, 0x00, 0x00, 0x00,
  0x84, 0xd0, 0x02, 0x80, 0xff, 0xff, 0xff, 0xff, 0x0e, 0x04, 0x33, 0xe0, 0x00, 0x00, 0x00, 0x00, 0x95, 0xd0, 0x02, 0x80, 0xff,
  0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00
];
const USER_RETURN = BASE + 45n * 4096n + 0x76n, RDMSR = BASE + 45n * 4096n + 0x82n, CALLBACK = BASE + 45n * 4096n + 0x78n;

it('runs a guest through every kind of crossing', () => {
  const g = makeGuest({ start: false });
  const { ctx, space } = g;
  const cpu: Processor = createProcessor({
    memory: ctx.processor.memory, layout: ctx.layout, vcpu: 0, slot: ctx.slot, module: compileInterpreter(0),
    host: { descriptor: (selector) => lookupDescriptor(ctx, selector), foreign: () => 0, unimplemented: (_rip, bytes) => ctx.lines.push(bytes) },
  });
  Object.assign(ctx, { processor: cpu });
  // A user root beside the kernel's: frame 8, read-only in the linear map.
  g.poke(8, 511, g.entry(1, 0x67));
  g.poke(3, 8, g.entry(8, 0x65));
  space.bytes.set(CODE, g.frames[45]! * PAGE);
  expect(withPageLock(space, () => pinTable(space, g.frames[0]!, 4))).toBe(0);
  expect(newBasePointer(ctx, g.frames[0]!)).toBe(0);
  expect(newUserBasePointer(ctx, g.frames[8]!)).toBe(0);
  ctx.pv.syscall.address = CALLBACK;
  ctx.pv.kernelSp = g.va(41);
  cpu.rip = g.va(45);
  cpu.gpr[4] = g.va(40) + 0x800n;
  cpu.selectors[1] = 0xe033;
  cpu.selectors[2] = 0xe02b;
  for (let exits = 0; ctx.crashes.length === 0 && exits < 100; exits++) handleExit(ctx, cpu.run());

  expect(ctx.crashes, ctx.lines.join('\n')).toEqual(['hypercall 55']);
  expect(ctx.pv.gsBaseKernel).toBe(0xffff_ffff_8304_4000n);
  expect(cpu.gpr[12]).toBe(0x566e_6558n);
  expect(cpu.gpr[13]).toBe(g.entry(21, 0x65));
  expect(g.peek(3, 20)).toBe(g.entry(21, 0x65));
  expect(typeCount(space, g.frames[20]!)).toBe(0);
  expect(typeCount(space, g.frames[21]!)).toBe(1);
  expect(cpu.gpr[3]).toBe(1n); // rax of the iret frame
  expect(cpu.gpr[14]).toBe(USER_RETURN);
  expect([cpu.gpr[15], cpu.gpr[5]]).toEqual([0n, RDMSR]);
  expect(ctx.pv.kernelMode).toBe(true);
});
