// Room on the stack for what a program calls. A program chooses how deep its own calls go, and what it imports runs on
// the same stack: hypercalls too, which must not end in the middle of a change to what all domains share. So whoever
// comes from the program first looks whether the stack goes on for long enough.
//
// The engine tells nobody where the stack ends, but looks at it where a function is entered, for all of the function's
// frame. So the look is a function of WebAssembly with a large frame: behind a branch that is never taken it holds many
// values across a call. It calls itself until the frames are as large together as the room wanted; none is touched.
import { Writer } from './bytes.ts';

/** Kernel and hypervisor together need a few ten KiB; a worker thread's stack is 4 MiB. */
export const HEADROOM_BYTES = 128 * 1024;
const VALUE_BYTES = 16, VALUES = 1024, NESTED = HEADROOM_BYTES / (VALUES * VALUE_BYTES);
const V128 = 0x7b, I32 = 0x7f, IMPORTED = 0, PROBE = 1, NEVER = -1;

/** (module (import "" "f" (func)) (memory 1) (func (export "f") (param $more i32) ...)) */
function probeModule(): Uint8Array<ArrayBuffer> {
  const code = new Writer(), out = new Writer();
  const section = (id: number, fill: (w: Writer) => void): void => { const w = new Writer(); fill(w); out.byte(id); out.sized(w); };
  const access = (operation: number, n: number): void => { code.bytes([0xfd, operation, 4]); code.u32(n * VALUE_BYTES); };
  code.bytes([1, 1, V128]);
  // if ($more > 0) probe($more - 1)
  code.bytes([0x20, 0, 0x41, 0, 0x4a, 0x04, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x10, PROBE, 0x0b]);
  code.bytes([0x20, 0, 0x41]);
  code.s32(NEVER);
  code.bytes([0x46, 0x04, 0x40]);
  for (let n = 0; n < VALUES; n++) { code.bytes([0x41, 0]); access(0, n); }
  code.bytes([0x10, IMPORTED]);
  for (let n = VALUES - 1; n >= 0; n--) { code.bytes([0x21, 1, 0x41, 0, 0x20, 1]); access(11, n); }
  code.bytes([0x0b, 0x0b]);
  out.bytes([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  section(1, w => w.bytes([2, 0x60, 0, 0, 0x60, 1, I32, 0]));
  section(2, w => { w.byte(1); w.name(''); w.name('f'); w.bytes([0, 0]); });
  section(3, w => w.bytes([1, 1]));
  section(5, w => w.bytes([1, 0, 1]));
  section(7, w => { w.byte(1); w.name('f'); w.bytes([0, PROBE]); });
  section(10, w => { w.byte(1); w.sized(code); });
  return out.taken();
}

/** A look at the stack, for this thread. @throws RangeError, as where the stack is at its end */
export function newHeadroom(): () => void {
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(probeModule()), { '': { f: () => {} } }).exports as { f: (more: number) => void };
  return () => { f(NESTED - 1); };
}
