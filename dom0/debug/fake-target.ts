// A domain for tests of the gdb session: vCPUs with registers, one page of memory, breakpoints that the test triggers.
import { DEBUG, DEBUG_DATA_BYTES, DEBUG_STOP, REGISTERS, REGISTERS_BYTES, type DebugAnswer, type DebugRequest, type DebugSession, type DebugStop } from '../../hypervisor/public/debug.ts';
import { EBUSY, EFAULT, EINVAL } from '../../hypervisor/public/errno.ts';

export const FAKE_PAGE = 0xffff_8000_0000_1000n;
const nothing = new Uint8Array(0);

export class FakeTarget implements DebugSession {
  readonly vcpus: number;
  started: boolean[];
  readonly stops: DebugStop[];
  readonly registers: Uint8Array[];
  readonly memory = new Uint8Array(4096).map((_, i) => i);
  readonly breakpoints: Set<bigint>[];
  /** Address to accesses. */
  readonly watches: Map<bigint, number>[];
  readonly log: string[] = [];
  closed = false;

  constructor(vcpus = 2) {
    const all = Array.from({ length: vcpus }, (_, n) => n);
    this.vcpus = vcpus;
    this.started = all.map(() => true);
    this.stops = all.map(() => DEBUG_STOP.none);
    this.breakpoints = all.map(() => new Set());
    this.watches = all.map(() => new Map());
    this.registers = all.map(n => { const block = new Uint8Array(REGISTERS_BYTES); new DataView(block.buffer).setBigUint64(REGISTERS.rip, 0x1000n + BigInt(n), true); return block; });
  }
  isStarted(vcpu: number): boolean { return this.started[vcpu] === true; }
  stopOf(vcpu: number): DebugStop { return this.stops[vcpu]!; }
  /** The vCPU runs into something. */
  stop(vcpu: number, reason: DebugStop, rip: bigint): void {
    this.stops[vcpu] = reason;
    new DataView(this.registers[vcpu]!.buffer).setBigUint64(REGISTERS.rip, rip, true);
  }
  async close(): Promise<void> { this.closed = true; this.stops.fill(DEBUG_STOP.none); for (const set of this.breakpoints) set.clear(); }

  async request(vcpu: number, { operation, address = 0n, length = 0, data = nothing }: DebugRequest): Promise<DebugAnswer> {
    const answer = (result: number, out = nothing as Uint8Array): DebugAnswer => ({ result, data: out });
    if (!(vcpu >= 0 && vcpu < this.vcpus) || length > DEBUG_DATA_BYTES || data.length > DEBUG_DATA_BYTES || address < 0n || address >> 64n !== 0n) throw new Error(`a request no vCPU may get: ${operation} of ${vcpu}`);
    const at = Number(BigInt.asIntN(64, address - FAKE_PAGE)), inside = at >= 0 && at < 4096;
    this.log.push(`${Object.keys(DEBUG).find(name => DEBUG[name as keyof typeof DEBUG] === operation)} ${vcpu}`);
    switch (operation) {
      case DEBUG.hold: if (this.stops[vcpu] === DEBUG_STOP.none) this.stops[vcpu] = DEBUG_STOP.asked; return answer(0);
      case DEBUG.resume: case DEBUG.step: this.stops[vcpu] = DEBUG_STOP.none; return answer(0);
      case DEBUG.readRegisters: return answer(0, this.registers[vcpu]!.slice());
      case DEBUG.writeRegisters: if (this.stops[vcpu] === DEBUG_STOP.none) return answer(-EBUSY); this.registers[vcpu]!.set(data); return answer(0);
      case DEBUG.readMemory: return inside ? answer(Math.min(length, 4096 - at), this.memory.slice(at, at + length)) : answer(-EFAULT);
      case DEBUG.writeMemory: if (!inside || at + data.length > 4096) return answer(-EFAULT); this.memory.set(data, at); return answer(data.length);
      case DEBUG.setBreakpoint: if (!inside) return answer(-EFAULT); this.breakpoints[vcpu]!.add(address); return answer(0);
      case DEBUG.clearBreakpoint: this.breakpoints[vcpu]!.delete(address); return answer(0);
      case DEBUG.setWatch: if (data.length !== 3) return answer(-EINVAL); this.watches[vcpu]!.set(address, data[0]!); return answer(0);
      case DEBUG.clearWatch: this.watches[vcpu]!.delete(address); return answer(0);
      case DEBUG.readWatch: { const [hit] = this.watches[vcpu]!, out = new Uint8Array(9); if (!hit) return answer(-EINVAL); new DataView(out.buffer).setBigUint64(0, hit[0], true); out[8] = hit[1]; return answer(0, out); }
      default: return answer(0);
    }
  }
}
