// Generates the interpreter: one WebAssembly function per instruction form, from the one definition of each
// instruction, plus the memory management they call. A vCPU's state addresses are built in, so there is one module
// per vCPU number; domains share it.
import { EXIT } from './processor-api.ts';
import { SPECIAL, SPECIAL_COUNT } from './decode.ts';
import { allForms as forms } from './fusion.ts';
import { type Form, Insn, type Runtime } from './insn.ts';
import { access, accessFunction, accessSignature } from './jit/access.ts';
import { settleFunction, SETTLE } from './jit/flag-state.ts';
import { CARRIED, DESTINATIONS, wayOut, wayOutFunction, wayOutSignature } from './jit/ways-out.ts';
import { CLOCK, CODE_WRITE, COMMIT, FETCH, FOLLOW, FOREIGN, KEEP_FROM_WRITING, LOOKUP, LOOK_UP_RIP, REACH, REACH_PAGE, TRANSLATE, commitFunction, fetchFunction, followFunction, jumpToFunction, keepFromWritingFunction, lookupFunction, lookUpRipFunction, reachFunction, reachPageFunction, visibleWalkFunction, translateFunction, walkFunction, WATCHED } from './mmu.ts';
import { R } from './record.ts';
import { SWITCH_ROOT, switchRootFunction } from './root-switch.ts';
import { VCPU_STRIDE } from './layout.ts';
import { definitionOf } from './semantics/index.ts';
import { INTERNAL, S, SLOT, TLB_BYTES, areaOf } from './state.ts';
import { Fn, type FuncRef, type I64, ModuleBuilder, type Signature, i32, ld16u, ld32, ld64 } from './wasm/builder.ts';

const HANDLER: Signature = { params: ['i32'], results: [] };
const FILL: Signature = { params: ['i32', 'i32', 'i32'], results: [] };
const HELPER_CALL: Signature = { params: ['i32', 'i32', 'i32'], results: ['i32'] };
const plain = (mnemonic: string): Form => ({ mnemonic, operands: [], address: 'reg', bits: 64, lock: false, rep: 'none', aligned: false });

/** Handlers that are not instructions. */
function special(n: number, f: Fn, area: number, rt: Runtime, walk: FuncRef): void {
  const x = new Insn(f, plain(`special ${n}`), area, rt);
  switch (n) {
    case SPECIAL.exit: f.ret(); return;
    // The block goes on where this record stands: behind its last instruction, maybe in the next page.
    case SPECIAL.fallthrough: x.jump(f.let(x.thisRip())); return;
    // The block goes on in another one of its page.
    case SPECIAL.onward: x.branch(); return;
    // The block was dropped: find it anew from here.
    case SPECIAL.stale:
      x.setState64(S.rip, x.thisRip());
      x.setState32(S.current, 0);
      x.setState32(S.stale, x.rec);
      x.setState32(S.exit, INTERNAL.decode);
      f.ret();
      return;
    // It was found anew: links and translations that lead here need not come back each time.
    case SPECIAL.moved: {
      const to = f.let(ld32(x.rec, R.target)), handler = f.let(ld16u(to));
      // It was dropped in turn: the next one to come here takes one step less.
      f.if(handler.eq(SPECIAL.moved), () => f.st32(x.rec, ld32(to, R.target), R.target));
      f.tailCallIndirect(rt.handlerType, handler, to);
      return;
    }
    // The next record's instruction reaches into the next page, which must still be the one it was decoded from.
    case SPECIAL.crossCheck: {
      const next = f.let(x.slot(SLOT.pageBase).add(4096)), p = f.local('i32');
      const e = f.let(x.state32(S.tlb).add(next.shrU(8).wrap().and(0x3ff0)));
      f.if(ld64(e, 2 * TLB_BYTES).add(next).eqz(), () => f.set(p, next.wrap().add(ld32(e, 2 * TLB_BYTES + 8))), () => {
        f.set(p, f.call(walk, next, i32(2), x.rec));
        f.if(p.get().eqz(), () => f.ret());
      });
      f.if(p.get().ne(x.imm32()), () => {
        x.setState64(S.rip, x.thisRip());
        x.setState32(S.current, 0);
        x.setState32(S.exit, INTERNAL.recheck);
        f.ret();
      });
      x.next();
      return;
    }
    case SPECIAL.undefined: f.if(x.imm32().eq(13), () => x.protection()); x.setState32(S.exit, INTERNAL.undefined); x.setState32(S.current, x.rec); f.ret(); return;
    case SPECIAL.stepped: x.setState64(S.rip, x.thisRip()); x.setState32(S.current, 0); x.setState32(S.exit, INTERNAL.stepped); f.ret(); return;
    // The start of a block, counting down to its translation.
    case SPECIAL.count: {
      const left = f.let(x.imm32().sub(1));
      f.st32(x.rec, left, R.imm);
      f.if(left.ltS(1), () => { x.setState32(S.hot, x.rec); x.exit(INTERNAL.hot); });
      x.next();
      return;
    }
    case SPECIAL.breakpoint: x.exit(EXIT.breakpoint); return;
    // The start of a block that has a translation, whose place in the table is the block's number.
    case SPECIAL.translated: f.tailCallIndirect(rt.handlerType, ld32(x.rec, R.number), x.rec); return;
    // The start of a block that has native code: not this engine's to run.
    case SPECIAL.native: x.setState32(S.hot, x.rec); x.exit(INTERNAL.native); return;
    // Stands where a block's translation may come, or was: whatever the record says.
    case SPECIAL.dispatch: f.tailCallIndirect(rt.handlerType, ld16u(x.rec), x.rec); return;
  }
}

/** The module's bytes for one vCPU number. */
export function interpreterBytes(vcpu: number): Uint8Array<ArrayBuffer> {
  const area = areaOf(vcpu), m = new ModuleBuilder(area + VCPU_STRIDE), handlerType = m.typeIndex(HANDLER);
  const foreign = m.importFunction('foreign', FOREIGN), codeWrite = m.importFunction('codeWrite', CODE_WRITE), helper = m.importFunction('helper', HELPER_CALL), watched = m.importFunction('watched', WATCHED), now = m.importFunction('now', CLOCK);
  const walk = m.declare(TRANSLATE, 'walk'), translate = m.declare(TRANSLATE, 'translate'), commit = m.declare(COMMIT, 'commit'), lookup = m.declare(LOOKUP, 'lookup'), clock = m.declare(CLOCK, 'clock');
  const imports = { foreign, codeWrite, walk, watched }, rt: Runtime = { handlerType, translate, commit, lookup, helper, clock };
  const walkPage = m.declare(TRANSLATE, 'walkPage');
  m.define(walk, visibleWalkFunction(area, walkPage));
  m.define(walkPage, walkFunction(area, imports));
  m.define(translate, translateFunction(area, imports));
  m.define(commit, commitFunction(area));
  m.define(lookup, lookupFunction(area, imports));
  const clockBody = new Fn(CLOCK);
  clockBody.ret(clockBody.call<I64>(now));
  m.define(clock, clockBody);
  const fetch = m.declare(FETCH, 'fetch');
  m.define(fetch, fetchFunction(area, walk));
  // What translations import beside.
  const jumpTo = m.declare(LOOKUP, 'jumpTo'), follow = m.declare(FOLLOW, 'follow'), settle = m.declare(SETTLE, 'settle'), reach = m.declare(REACH, 'reach');
  m.define(jumpTo, jumpToFunction(area, lookup));
  m.define(follow, followFunction(area, jumpTo));
  m.define(settle, settleFunction(area));
  m.define(reach, reachFunction(area, translate));
  for (const to of DESTINATIONS) for (const carried of CARRIED) m.define(m.declare(wayOutSignature(to, carried), wayOut(to, carried)), wayOutFunction(area, to, carried, { handlerType, jumpTo, follow, settle }));
  for (const write of [false, true]) for (const carried of CARRIED) m.define(m.declare(accessSignature(carried), access(write, carried)), accessFunction(area, write, carried, { reach, settle }));

  const fill = new Fn(FILL), fillRef = m.declare(FILL, 'fill');
  fill.memoryFillValue(fill.param(0, 'i32').get(), fill.param(1, 'i32').get(), fill.param(2, 'i32').get());
  m.define(fillRef, fill);
  const switchRoot = m.declare(SWITCH_ROOT, 'switchRoot');
  m.define(switchRoot, switchRootFunction(area));
  const keepFromWriting = m.declare(KEEP_FROM_WRITING, 'keepFromWriting');
  m.define(keepFromWriting, keepFromWritingFunction(area));
  const reachPage = m.declare(REACH_PAGE, 'reachPage'), lookUpRip = m.declare(LOOK_UP_RIP, 'lookUpRip');
  m.define(reachPage, reachPageFunction(area, walk));
  m.define(lookUpRip, lookUpRipFunction(area, lookup));
  const run = new Fn(HANDLER), runRef = m.declare(HANDLER, 'run'), start = run.param(0, 'i32').get();
  run.callIndirect(handlerType, ld16u(start, R.handler), start);
  m.define(runRef, run);

  const handlers: FuncRef[] = [];
  const handler = (build: (f: Fn) => void): void => {
    const ref = m.declare(HANDLER, handlers.length === SPECIAL.dispatch ? 'dispatch' : undefined), f = new Fn(HANDLER);
    build(f);
    m.define(ref, f);
    handlers.push(ref);
  };
  for (let n = 0; n < SPECIAL_COUNT; n++) handler(f => special(n, f, area, rt, walk));
  for (const form of forms) handler(f => {
    const d = definitionOf(form.mnemonic)!;
    new Insn(f, form, area, rt).define(d.define, d.bitString ?? false, d.before);
  });
  m.setTable(handlers);
  return m.build();
}

/** Compiles the interpreter for one vCPU number; the module can be sent to other threads, which share its code. */
export const compileInterpreter = (vcpu: number): WebAssembly.Module => new WebAssembly.Module(interpreterBytes(vcpu));
