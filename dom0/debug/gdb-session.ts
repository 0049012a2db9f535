// One gdb that is attached to a domain: its commands, answered through the hypervisor's debug interface. All vCPUs stop
// and run together, as gdb's all-stop mode has it; thread n is vCPU n-1.
//
// Commands are done one after another in the order they came; an interrupt and a vCPU that stops by itself queue behind
// them. Nothing that gdb sends is trusted beyond the domain it debugs.
import { DEBUG, DEBUG_DATA_BYTES, DEBUG_STOP, type DebugAnswer, type DebugRequest, type DebugSession, REGISTERS, WATCH, WATCH_MAX } from '../../hypervisor/public/debug.ts';
import { framePacket, PACKET_BYTES, PacketReader, type GdbInput } from './gdb-packets.ts';
import { allRegisters, oneRegister, setAllRegisters, setRegister, TARGET_XML } from './gdb-registers.ts';

/** How the domain ended, as far as gdb can be told. */
export type DomainFate = 'lives' | 'crashed' | 'ended';
export interface GdbSessionOptions {
  readonly target: DebugSession;
  fate(): DomainFate;
  send(bytes: Uint8Array): void;
  /** The session is over: detached, or the other end makes no sense. */
  finish(): void;
}

const MAX_QUEUED = 256, MAX_BREAKPOINTS = 1024;
/** By Z kind: the accesses that are watched. */
const WATCHES: Readonly<Record<string, number>> = { 2: WATCH.write, 3: WATCH.read, 4: WATCH.read | WATCH.write };
/** Names in stop replies, by the same accesses. */
const WATCH_REPLY: Readonly<Record<number, string>> = { [WATCH.write]: 'watch', [WATCH.read]: 'rwatch', [WATCH.read | WATCH.write]: 'awatch' };
const SIGNAL = { interrupt: 2, trap: 5, crash: 11 } as const;
/** gdb asks for errors as two digits and reads none of them. */
const ERROR = { bad: 'E16', fault: 'E0e', busy: 'E10' } as const;
const hexBytes = (data: Uint8Array): string => Buffer.from(data).toString('hex');
const bytesOf = (text: string): Buffer | undefined => /^([0-9a-fA-F]{2})*$/.test(text) ? Buffer.from(text, 'hex') : undefined;
const byte = (n: number): string => n.toString(16).padStart(2, '0');

type Step = 'continue' | 'step';

export class GdbSession {
  readonly #o: GdbSessionOptions;
  readonly #reader = new PacketReader();
  /** Address (hex) to Z kind. */
  readonly #breakpoints = new Map<bigint, string>();
  /** What sets each watchpoint, by the packet's text after Z. */
  readonly #watches = new Map<string, DebugRequest>();
  #acknowledge = true;
  #lastReply = '';
  #queue: Promise<void> = Promise.resolve();
  #queued = 0;
  /** gdb waits for a stop. */
  #running = false;
  #closed = false;
  /** vCPU of g, G, p, P, m; the one that stopped last. */
  #current = 0;
  #tellsSwbreak = false;

  constructor(o: GdbSessionOptions) { this.#o = o; }

  /** Stops every vCPU, as gdb expects of what it attaches to. */
  start(): void { this.#enqueue(() => this.#holdAll()); }

  feed(bytes: Uint8Array): void {
    for (const input of this.#reader.feed(bytes)) this.#enqueue(() => this.#input(input));
  }
  /** A vCPU has stopped by itself, or the domain has changed. */
  stopped(): void { if (!this.#closed) this.#enqueue(() => this.#lookForStop()); }
  /** Resolves when all that has come so far is answered. */
  settled(): Promise<void> { return this.#queue; }
  /** The connection has gone: the domain runs on without breakpoints. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#queue;
    await this.#o.target.close();
  }

  #enqueue(work: () => Promise<void> | void): void {
    if (this.#closed) return;
    if (++this.#queued > MAX_QUEUED) { this.#o.finish(); return; }
    this.#queue = this.#queue.then(work).catch(() => {}).finally(() => { this.#queued--; });
  }
  #reply(text: string): void {
    this.#lastReply = text;
    if (!this.#closed) this.#o.send(framePacket(text));
  }
  #ask(vcpu: number, request: DebugRequest): Promise<DebugAnswer> { return this.#o.target.request(vcpu, request); }
  get #started(): number[] { return Array.from({ length: this.#o.target.vcpus }, (_, n) => n).filter(n => this.#o.target.isStarted(n)); }

  async #input(input: GdbInput): Promise<void> {
    if (input.kind === 'interrupt') { await this.#interrupt(); return; }
    if (input.kind === 'nak') { if (this.#lastReply !== '') this.#reply(this.#lastReply); return; }
    if (input.kind === 'bad') { if (this.#acknowledge) this.#o.send(Buffer.from('-')); return; }
    if (input.kind !== 'packet') return;
    if (this.#acknowledge) this.#o.send(Buffer.from('+'));
    const text = input.data.toString('latin1'), answer = await this.#command(text);
    if (answer !== undefined) this.#reply(answer);
    if (text === 'QStartNoAckMode') this.#acknowledge = false;
    if (text.startsWith('D') || text === 'k') this.#o.finish();
  }

  /** The answer, or undefined when it comes later. An empty one: not known. */
  async #command(text: string): Promise<string | undefined> {
    const rest = text.slice(1);
    switch (text[0]) {
      case '?': await this.#holdAll(); return this.#stopReply(SIGNAL.trap);
      case 'g': return this.#withRegisters(allRegisters);
      case 'G': return this.#changeRegisters(block => { const values = bytesOf(rest); if (!values) return false; setAllRegisters(block, values); return true; });
      case 'p': return this.#withRegisters(block => oneRegister(block, parseInt(rest, 16)) ?? ERROR.bad);
      case 'P': return this.#writeOne(rest);
      case 'm': return this.#readMemory(rest);
      case 'M': case 'X': return this.#writeMemory(text);
      case 'Z': case 'z': return this.#breakpoint(text);
      case 'H': return this.#selectThread(rest);
      case 'T': return this.#threadOf(rest) === undefined ? ERROR.bad : 'OK';
      case 'c': case 'C': case 's': case 'S': return this.#resume(this.#simpleActions(text));
      case 'v': return this.#verbose(text);
      case 'q': case 'Q': return this.#query(text);
      case 'D': await this.#release(); return 'OK';
      case 'k': await this.#release(); return undefined;
      default: return '';
    }
  }

  // ---- threads
  #threadOf(text: string): number | undefined {
    if (!/^[0-9a-fA-F]{1,8}$/.test(text)) return undefined;
    const vcpu = parseInt(text, 16) - 1;
    return this.#started.includes(vcpu) ? vcpu : undefined;
  }
  #selectThread(text: string): string {
    const id = text.slice(1);
    if (id === '0' || id === '-1') return 'OK';
    const vcpu = this.#threadOf(id);
    if (vcpu === undefined) return ERROR.bad;
    if (text[0] === 'g') this.#current = vcpu;
    return 'OK';
  }

  // ---- registers and memory
  async #withRegisters(use: (block: Uint8Array) => string): Promise<string> {
    const { result, data } = await this.#ask(this.#current, { operation: DEBUG.readRegisters });
    return result < 0 ? ERROR.bad : use(data);
  }
  async #changeRegisters(change: (block: Uint8Array) => boolean): Promise<string> {
    const { result, data } = await this.#ask(this.#current, { operation: DEBUG.readRegisters });
    if (result < 0 || !change(data)) return ERROR.bad;
    return (await this.#ask(this.#current, { operation: DEBUG.writeRegisters, data })).result < 0 ? ERROR.busy : 'OK';
  }
  async #writeOne(text: string): Promise<string> {
    const [, n, value] = /^([0-9a-fA-F]{1,4})=([0-9a-fA-F]*)$/.exec(text) ?? [], bytes = value === undefined ? undefined : bytesOf(value);
    return bytes ? this.#changeRegisters(block => setRegister(block, parseInt(n!, 16), bytes)) : ERROR.bad;
  }
  async #readMemory(text: string): Promise<string> {
    const range = parseRange(text);
    if (!range) return ERROR.bad;
    const parts: Uint8Array[] = [], wanted = Math.min(range.length, PACKET_BYTES / 2 - 4);
    for (let done = 0; done < wanted;) {
      const length = Math.min(DEBUG_DATA_BYTES, wanted - done);
      const { result, data } = await this.#ask(this.#current, { operation: DEBUG.readMemory, address: range.address + BigInt(done), length });
      if (result <= 0) break;
      parts.push(data);
      done += data.length;
      if (data.length < length) break;
    }
    return parts.length === 0 && wanted > 0 ? ERROR.fault : parts.map(hexBytes).join('');
  }
  async #writeMemory(text: string): Promise<string> {
    const colon = text.indexOf(':'), range = parseRange(text.slice(1, colon)), content = text.slice(colon + 1);
    const data = text[0] === 'X' ? Buffer.from(content, 'latin1') : bytesOf(content);
    if (colon < 0 || !range || !data || data.length !== range.length) return ERROR.bad;
    for (let done = 0; done < data.length; done += DEBUG_DATA_BYTES) {
      const part = data.subarray(done, done + DEBUG_DATA_BYTES);
      if ((await this.#ask(this.#current, { operation: DEBUG.writeMemory, address: range.address + BigInt(done), data: part })).result < 0) return ERROR.fault;
    }
    return 'OK';
  }

  // ---- breakpoints
  async #breakpoint(text: string): Promise<string> {
    const [, set, kind, address, length] = /^([Zz])([0-4]),([0-9a-fA-F]{1,16}),([0-9a-fA-F]{1,8})/.exec(text) ?? [];
    if (kind === undefined || address === undefined || length === undefined) return '';
    const va = BigInt(`0x${address}`), watched = WATCHES[kind];
    if (watched !== undefined) return this.#watch(set === 'Z', text.slice(1), va, watched, parseInt(length, 16));
    if (set === 'Z') {
      if (this.#breakpoints.size >= MAX_BREAKPOINTS) return ERROR.busy;
      const results = await Promise.all(this.#started.map(vcpu => this.#ask(vcpu, { operation: DEBUG.setBreakpoint, address: va })));
      if (results.every(r => r.result < 0)) return ERROR.fault;
      this.#breakpoints.set(va, kind);
    } else {
      this.#breakpoints.delete(va);
      await Promise.all(this.#started.map(vcpu => this.#ask(vcpu, { operation: DEBUG.clearBreakpoint, address: va })));
    }
    return 'OK';
  }

  async #watch(set: boolean, key: string, address: bigint, accesses: number, bytes: number): Promise<string> {
    if (bytes < 1 || bytes > WATCH_MAX) return ERROR.bad;
    const data = Uint8Array.of(accesses, bytes & 255, bytes >> 8), request: DebugRequest = { operation: set ? DEBUG.setWatch : DEBUG.clearWatch, address, data };
    const results = await Promise.all(this.#started.map(vcpu => this.#ask(vcpu, request)));
    if (set && results.some(r => r.result < 0)) {
      await this.#watch(false, key, address, accesses, bytes);
      return ERROR.busy;
    }
    if (set) this.#watches.set(key, request); else this.#watches.delete(key);
    return 'OK';
  }

  // ---- running and stopping
  async #holdAll(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#started.map(vcpu => this.#ask(vcpu, { operation: DEBUG.hold })));
    if (!this.#started.includes(this.#current)) this.#current = this.#started[0] ?? 0;
  }
  async #release(): Promise<void> { this.#running = false; await this.#o.target.close(); }

  async #interrupt(): Promise<void> {
    if (!this.#running) return;
    await this.#holdAll();
    this.#reply(this.#stopReply(SIGNAL.interrupt));
  }
  #simpleActions(text: string): Map<number, Step> {
    const step = text[0] === 's' || text[0] === 'S';
    return step ? new Map([[this.#current, 'step']]) : new Map(this.#started.map(vcpu => [vcpu, 'continue']));
  }
  async #resume(actions: Map<number, Step>): Promise<string | undefined> {
    if (this.#o.fate() !== 'lives') return this.#fateReply();
    // Others that stopped at the same moment have their turn first, unless their breakpoint is gone.
    for (const [vcpu, step] of actions) {
      if (vcpu === this.#current || step === 'step' || !this.#brokeOff(vcpu) || this.#reported.has(vcpu)) continue;
      if (this.#o.target.stopOf(vcpu) === DEBUG_STOP.breakpoint && !await this.#atBreakpoint(vcpu)) continue;
      return this.#tell(vcpu);
    }
    this.#running = true;
    for (const [vcpu, step] of actions) {
      this.#reported.delete(vcpu);
      await this.#ask(vcpu, { operation: step === 'step' ? DEBUG.step : DEBUG.resume });
    }
    return undefined;
  }
  /** vCPUs at a breakpoint or behind a watched access that gdb has been told of. */
  readonly #reported = new Set<number>();
  #brokeOff(vcpu: number): boolean { const stop = this.#o.target.stopOf(vcpu); return stop === DEBUG_STOP.breakpoint || stop === DEBUG_STOP.watch; }
  /** The stop reply of a vCPU that broke off, which is gdb's current one from then on. */
  async #tell(vcpu: number): Promise<string> {
    this.#reported.add(vcpu);
    this.#current = vcpu;
    if (this.#o.target.stopOf(vcpu) === DEBUG_STOP.watch) {
      const { result, data } = await this.#ask(vcpu, { operation: DEBUG.readWatch });
      if (result < 0) return this.#stopReply(SIGNAL.trap);
      return this.#stopReply(SIGNAL.trap, `${WATCH_REPLY[data[8]!]}:${new DataView(data.buffer, data.byteOffset).getBigUint64(0, true).toString(16)};`);
    }
    const pc = this.#tellsSwbreak ? await this.#programCounter(vcpu) : undefined;
    return this.#stopReply(SIGNAL.trap, !this.#tellsSwbreak ? '' : pc !== undefined && this.#breakpoints.get(pc) === '1' ? 'hwbreak:;' : 'swbreak:;');
  }

  async #programCounter(vcpu: number): Promise<bigint | undefined> {
    const { result, data } = await this.#ask(vcpu, { operation: DEBUG.readRegisters });
    return result < 0 ? undefined : new DataView(data.buffer, data.byteOffset).getBigUint64(REGISTERS.rip, true);
  }
  async #atBreakpoint(vcpu: number): Promise<boolean> {
    const pc = await this.#programCounter(vcpu);
    return pc !== undefined && this.#breakpoints.has(pc);
  }

  async #lookForStop(): Promise<void> {
    await this.#welcomeNew();
    if (!this.#running) return;
    const { target } = this.#o, vcpu = this.#started.find(n => this.#brokeOff(n) && !this.#reported.has(n)) ?? this.#started.find(n => target.stopOf(n) === DEBUG_STOP.step);
    if (vcpu === undefined) {
      if (this.#o.fate() === 'lives') return;
      await this.#holdAll();
      this.#reply(this.#fateReply());
      return;
    }
    await this.#holdAll();
    this.#current = vcpu;
    this.#reply(this.#brokeOff(vcpu) ? await this.#tell(vcpu) : this.#stopReply(SIGNAL.trap));
  }
  /** A vCPU that has just been brought up gets the breakpoints; it runs if the others do. */
  async #welcomeNew(): Promise<void> {
    for (const vcpu of this.#started) {
      if (this.#o.target.stopOf(vcpu) !== DEBUG_STOP.start || !this.#running) continue;
      for (const address of this.#breakpoints.keys()) await this.#ask(vcpu, { operation: DEBUG.setBreakpoint, address });
      for (const request of this.#watches.values()) await this.#ask(vcpu, request);
      await this.#ask(vcpu, { operation: DEBUG.resume });
    }
  }
  #stopReply(signal: number, why = ''): string {
    if (this.#o.fate() !== 'lives') return this.#fateReply();
    return `T${byte(signal)}${why}thread:${(this.#current + 1).toString(16)};`;
  }
  #fateReply(): string { return this.#o.fate() === 'crashed' ? `T${byte(SIGNAL.crash)}thread:${(this.#current + 1).toString(16)};` : 'W00'; }

  async #verbose(text: string): Promise<string | undefined> {
    if (text === 'vCont?') return 'vCont;c;C;s;S';
    if (!text.startsWith('vCont;')) return '';
    const actions = new Map<number, Step>();
    for (const part of text.slice(6).split(';').slice(0, MAX_QUEUED)) {
      const [, letter, id] = /^([cCsS])(?:[0-9a-fA-F]{2})?(?::(-1|[0-9a-fA-F]{1,8}))?$/.exec(part) ?? [];
      if (letter === undefined) return ERROR.bad;
      const step: Step = letter === 's' || letter === 'S' ? 'step' : 'continue';
      const chosen = id === undefined || id === '-1' ? this.#started : this.#started.filter(vcpu => vcpu === parseInt(id, 16) - 1);
      for (const vcpu of chosen) if (!actions.has(vcpu)) actions.set(vcpu, step);
    }
    return actions.size === 0 ? ERROR.bad : this.#resume(actions);
  }

  async #query(text: string): Promise<string> {
    if (text.startsWith('qSupported')) {
      this.#tellsSwbreak = text.includes('swbreak+');
      return `PacketSize=${(PACKET_BYTES - 1).toString(16)};QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+`;
    }
    if (text === 'QStartNoAckMode') return 'OK';
    if (text === 'qfThreadInfo') { const ids = this.#started.map(vcpu => (vcpu + 1).toString(16)); return ids.length > 0 ? `m${ids.join(',')}` : 'l'; }
    if (text === 'qsThreadInfo') return 'l';
    if (text === 'qC') return `QC${(this.#current + 1).toString(16)}`;
    if (text.startsWith('qAttached')) return '1';
    if (text.startsWith('qThreadExtraInfo,')) return this.#threadExtraInfo(text.slice('qThreadExtraInfo,'.length));
    if (text.startsWith('qXfer:features:read:target.xml:')) return transfer(TARGET_XML, text.slice('qXfer:features:read:target.xml:'.length));
    if (text.startsWith('qXfer:features:read:')) return 'E00';
    return '';
  }
  async #threadExtraInfo(id: string): Promise<string> {
    const vcpu = this.#threadOf(id);
    if (vcpu === undefined) return ERROR.bad;
    const { result, data } = await this.#ask(vcpu, { operation: DEBUG.readRegisters });
    return Buffer.from(result < 0 ? `vCPU ${vcpu}` : `vCPU ${vcpu}, guest ${data[REGISTERS.kernelMode] ? 'kernel' : 'user'}`).toString('hex');
  }
}

function parseRange(text: string): { address: bigint; length: number } | undefined {
  const [, address, length] = /^([0-9a-fA-F]{1,16}),([0-9a-fA-F]{1,8})$/.exec(text) ?? [];
  return address === undefined || length === undefined ? undefined : { address: BigInt(`0x${address}`), length: parseInt(length, 16) };
}
/** A part of a document: `m` and more, or `l` and the last. */
function transfer(document: string, range: string): string {
  const [, from, length] = /^([0-9a-fA-F]{1,8}),([0-9a-fA-F]{1,8})$/.exec(range) ?? [];
  if (from === undefined || length === undefined) return ERROR.bad;
  const start = parseInt(from, 16), part = document.slice(start, start + Math.min(parseInt(length, 16), PACKET_BYTES - 8));
  return `${start + part.length < document.length ? 'm' : 'l'}${part}`;
}
