// Differences and coverage for a reader.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { forms } from '../../../hypervisor/cpu/decode.ts';
import type { Form } from '../../../hypervisor/cpu/insn.ts';
import { WINDOW, WORD } from './layout.ts';
import { FX_MASK } from './masks.ts';
import { TRAP } from './guest.ts';

export interface Sample { name: string; what: string; bytes: Uint8Array; compat: boolean; step: boolean; input: Uint32Array; ours: Uint32Array; host: Uint32Array }

const NAMES = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];
const hex = (n: number, w = 8): string => (n >>> 0).toString(16).padStart(w, '0');
const wide = (words: Uint32Array, at: number): string => `${hex(words[at + 1]!)}_${hex(words[at]!)}`;

function flagText(f: number): string {
  const names: [number, string][] = [[1, 'CF'], [4, 'PF'], [16, 'AF'], [64, 'ZF'], [128, 'SF'], [0x400, 'DF'], [0x800, 'OF'], [0x4000, 'NT'], [0x40000, 'AC'], [0x200000, 'ID']];
  return `${hex(f, 6)} ${names.filter(([b]) => f & b).map(([, n]) => n).join(' ')}`;
}
function outcome(w: Uint32Array): string {
  const trap = w[0]!;
  return trap === TRAP.debug ? 'done' : trap === TRAP.breakpoint ? 'breakpoint' : trap === TRAP.privileged ? 'privileged' : trap >= TRAP.other ? `exit ${trap - TRAP.other}`
    : `trap ${trap} error ${hex(w[WORD.error]!, 1)}${trap === 14 ? ` cr2 ${wide(w, WORD.cr2)}` : ''}`;
}

/** Disassembly by objdump, when there is one. */
export function disassemble(bytes: Uint8Array, compat: boolean, rip: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'disassemble-'));
  try {
    writeFileSync(join(folder, 'code'), bytes);
    const text = execFileSync('objdump', ['-D', '-b', 'binary', '-m', compat ? 'i386' : 'i386:x86-64', '-M', 'intel', `--adjust-vma=${rip}`, join(folder, 'code')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return text.split('\n').filter(l => /^\s*[0-9a-f]+:\t/.test(l)).map(l => l.split('\t').slice(2).join(' ').trim()).filter(Boolean).join('; ');
  } catch { return '(no disassembler)'; } finally { rmSync(folder, { recursive: true, force: true }); }
}

export function describeSample(s: Sample): string {
  const { input, ours, host } = s, lines: string[] = [];
  const bytes = Array.from(s.bytes, b => hex(b, 2)).join(' ');
  lines.push(`${s.name}: ${s.what}   [${bytes}]${s.compat ? ' 32-bit' : ''}${s.step ? '' : ' (run)'}   ${disassemble(s.bytes, s.compat, input[WORD.rip]!)}`);
  lines.push(`  in    rip ${wide(input, WORD.rip)} flags ${flagText(input[WORD.rflags]! & ~0x100)} windows ${hex(input[WORD.window]!)} ${hex(input[WORD.window + 2]!)}`);
  lines.push(`        ${NAMES.map((n, i) => `${n} ${wide(input, WORD.gpr + 2 * i)}${i % 4 === 3 ? '\n       ' : ''}`).join(' ').trimEnd()}`);
  for (const [who, w] of [['host', host], ['ours', ours]] as const) lines.push(`  ${who}  ${outcome(w)} rip ${wide(w, WORD.rip)} flags ${flagText(w[WORD.rflags]! & ~0x10100)}`);
  NAMES.forEach((n, i) => { const o = WORD.gpr + 2 * i; if (host[o] !== ours[o] || host[o + 1] !== ours[o + 1]) lines.push(`        ${n}: host ${wide(host, o)} ours ${wide(ours, o)}`); });
  const fxName = (i: number): string => i >= 40 ? `xmm${i - 40 >> 2}[${i & 3}]` : i >= 8 ? `st${i - 8 >> 2}[${i & 3}]` : i === 6 ? 'mxcsr' : i === 1 ? 'ftw' : 'fsw:fcw';
  let shown = 0;
  for (let i = 0; i < 104 && shown < 12; i++) {
    const o = WORD.fx + i;
    if ((host[o]! ^ ours[o]!) & FX_MASK[i]!) { shown++; lines.push(`        ${fxName(i)}: in ${hex(input[o]!)} host ${hex(host[o]!)} ours ${hex(ours[o]!)}`); }
  }
  if (/\b(st|xmm|mxcsr|fsw|ftw)\b/.test(s.what)) {
    lines.push(`        in mxcsr ${hex(input[WORD.fx + 6]!)} fsw:fcw ${hex(input[WORD.fx]!)} ftw ${hex(input[WORD.fx + 1]!, 2)}; mem ${Array.from(input.subarray(WORD.data + 16, WORD.data + 48), v => hex(v)).join(' ')}`);
    for (let i = 0; i < 16; i += 2) lines.push(`        in xmm${i} ${[3, 2, 1, 0].map(k => hex(input[WORD.fx + 40 + 4 * i + k]!)).join('_')}  xmm${i + 1} ${[3, 2, 1, 0].map(k => hex(input[WORD.fx + 44 + 4 * i + k]!)).join('_')}`);
    for (let i = 0; i < 8; i += 2) lines.push(`        in st${i} ${hex(input[WORD.fx + 10 + 4 * i]!, 4)}_${wide(input, WORD.fx + 8 + 4 * i)}  st${i + 1} ${hex(input[WORD.fx + 14 + 4 * i]!, 4)}_${wide(input, WORD.fx + 12 + 4 * i)}`);
  }
  if (s.what.includes('selectors')) for (const [who, w] of [['host', host], ['ours', ours]] as const) lines.push(`        ${who} ss:cs ${hex(w[WORD.window + 1]!)} ds:es ${hex(w[WORD.window + 2]!)} gs:fs ${hex(w[WORD.window + 3]!)}`);
  shown = 0;
  for (let i = 0; i < 2 * WINDOW / 4 && shown < 8; i++) {
    const o = WORD.data + i;
    if (host[o] !== ours[o]) { shown++; lines.push(`        [${hex(input[WORD.window + (i < 64 ? 0 : 2)]! + (i & 63) * 4)}]: in ${hex(input[o]!)} host ${hex(host[o]!)} ours ${hex(ours[o]!)}`); }
  }
  return lines.join('\n');
}

export function formText(f: Form): string {
  return `${f.mnemonic}${f.lock ? ' lock' : ''}${f.rep !== 'none' ? ` ${f.rep}` : ''} ${f.operands.map(o => o.kind + o.bits).join(',')} [${f.address} ${f.bits}]`;
}
export const uncovered = (counts: Uint32Array, wanted: (f: Form) => boolean): string[] => forms.filter((f, i) => wanted(f) && !counts[i]).map(formText);
