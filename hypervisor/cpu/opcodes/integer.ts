// Integer opcodes: one row per encoding, operands in the notation of Intel's opcode map (decode.ts explains it).
// Columns: opcode, mnemonic, operands, flags.
import type { Row } from './row.ts';

const rows: Row[] = [];
const add = (...text: string[]): void => { for (const t of text) { const [op, name, operands = '', flags = ''] = t.split('|').map(s => s.trim()); rows.push({ opcode: op!, mnemonic: name!, operands, flags: flags.split(' ').filter(Boolean) }); } };
const hex = (n: number): string => n.toString(16).padStart(2, '0').toUpperCase();

['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'].forEach((name, i) => {
  const o = i * 8, lock = name === 'cmp' ? '' : 'lock';
  add(`${hex(o)}|${name}|Eb,Gb|${lock}`, `${hex(o + 1)}|${name}|Ev,Gv|${lock}`, `${hex(o + 2)}|${name}|Gb,Eb`, `${hex(o + 3)}|${name}|Gv,Ev`,
    `${hex(o + 4)}|${name}|Ab,Ib`, `${hex(o + 5)}|${name}|Av,Iz`, `80 /${i}|${name}|Eb,Ib|${lock}`, `82 /${i}|${name}|Eb,Ib|${lock} i64`,
    `81 /${i}|${name}|Ev,Iz|${lock}`, `83 /${i}|${name}|Ev,Ib|${lock}`);
});
['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'shl', 'sar'].forEach((name, i) => add(
  `C0 /${i}|${name}|Eb,Ib`, `C1 /${i}|${name}|Ev,Ib`, `D0 /${i}|${name}|Eb,1`, `D1 /${i}|${name}|Ev,1`, `D2 /${i}|${name}|Eb,Cb`, `D3 /${i}|${name}|Ev,Cb`));
for (let c = 0; c < 16; c++) add(
  `${hex(0x70 + c)}|j${c}|Jb|f64`, `0F ${hex(0x80 + c)}|j${c}|Jz|f64`, `0F ${hex(0x90 + c)}|set${c}|Eb`, `0F ${hex(0x40 + c)}|cmov${c}|Gv,Ev`);
for (let r = 0; r < 8; r++) add(
  `${hex(0x50 + r)}|push|Zs|d64`, `${hex(0x58 + r)}|pop|Zs|d64`, `${hex(0xb0 + r)}|mov|Zb,Ib`, `${hex(0xb8 + r)}|movabs|Zv,Iv`,
  `0F ${hex(0xc8 + r)}|bswap|Zy`, `${hex(0x40 + r)}|inc|Zv|i64`, `${hex(0x48 + r)}|dec|Zv|i64`, `${hex(0x90 + r)}|xchg|Zv,Av`);
add('84|test|Eb,Gb', '85|test|Ev,Gv', 'A8|test|Ab,Ib', 'A9|test|Av,Iz', 'F6 /0|test|Eb,Ib', 'F6 /1|test|Eb,Ib', 'F7 /0|test|Ev,Iz', 'F7 /1|test|Ev,Iz',
  '86|xchg|Eb,Gb|lock', '87|xchg|Ev,Gv|lock',
  '88|mov|Eb,Gb', '89|mov|Ev,Gv', '8A|mov|Gb,Eb', '8B|mov|Gv,Ev', 'C6 /0|mov|Eb,Ib', 'C7 /0|mov|Ev,Iz',
  'A0|mov|Ab,Ob', 'A1|mov|Av,Ov', 'A2|mov|Ob,Ab', 'A3|mov|Ov,Av',
  '8C|mov_from_sreg|Ev,Sw', '8E|mov_to_sreg|Sw,Ew', '8D|lea|Gv,M',
  '0F B6|movzx|Gv,Eb', '0F B7|movzx|Gv,Ew', '0F BE|movsx|Gv,Eb', '0F BF|movsx|Gv,Ew', '63|movsx|Gv,Ed|o64', '63|arpl|Ew,Gw|i64',
  'FE /0|inc|Eb|lock', 'FE /1|dec|Eb|lock', 'FF /0|inc|Ev|lock', 'FF /1|dec|Ev|lock',
  'F6 /2|not|Eb|lock', 'F7 /2|not|Ev|lock', 'F6 /3|neg|Eb|lock', 'F7 /3|neg|Ev|lock',
  'F6 /4|mul|Eb', 'F7 /4|mul|Ev', 'F6 /5|imul1|Eb', 'F7 /5|imul1|Ev', 'F6 /6|div|Eb', 'F7 /6|div|Ev', 'F6 /7|idiv|Eb', 'F7 /7|idiv|Ev',
  '0F AF|imul|Gv,Ev', '69|imul3|Gv,Ev,Iz', '6B|imul3|Gv,Ev,Ib',
  '0F A4|shld|Ev,Gv,Ib', '0F A5|shld|Ev,Gv,Cb', '0F AC|shrd|Ev,Gv,Ib', '0F AD|shrd|Ev,Gv,Cb',
  '0F A3|bt|Ev,Gv|bits', '0F AB|bts|Ev,Gv|lock bits', '0F B3|btr|Ev,Gv|lock bits', '0F BB|btc|Ev,Gv|lock bits',
  '0F BA /4|bt|Ev,Ib', '0F BA /5|bts|Ev,Ib|lock', '0F BA /6|btr|Ev,Ib|lock', '0F BA /7|btc|Ev,Ib|lock',
  '0F BC|bsf|Gv,Ev', '0F BD|bsr|Gv,Ev', 'F3 0F B8|popcnt|Gv,Ev',
  '0F C0|xadd|Eb,Gb|lock', '0F C1|xadd|Ev,Gv|lock', '0F B0|cmpxchg|Eb,Gb,Ab|lock', '0F B1|cmpxchg|Ev,Gv,Av|lock',
  '0F C7 /1|cmpxchg8b|My|lock', '0F C3|movnti|My,Gy|np',
  '98|cbw', '99|cwd', '9C|pushf||d64', '9D|popf||d64', '9E|sahf', '9F|lahf', 'F5|cmc', 'F8|clc', 'F9|stc', 'FC|cld', 'FD|std', 'D6|salc||i64',
  '68|push|Iz|d64', '6A|push|Ib|d64', 'FF /6|push|Es|d64', '8F /0|pop_rm|Es|d64', 'C8|enter|Iw,Ib|d64', 'C9|leave||d64',
  '60|pusha||i64', '61|popa||i64', '06|push_es||i64', '0E|push_cs||i64', '16|push_ss||i64', '1E|push_ds||i64', '0F A0|push_fs||d64', '0F A8|push_gs||d64',
  '07|pop_es||i64', '17|pop_ss||i64', '1F|pop_ds||i64', '0F A1|pop_fs||d64', '0F A9|pop_gs||d64',
  'E8|call|Jz|f64', 'E9|jmp|Jz|f64', 'EB|jmp|Jb|f64', 'FF /2|call_rm|Es|f64', 'FF /4|jmp_rm|Es|f64', 'C3|ret||f64', 'C2|ret_imm|Iw|f64',
  'FF /3|call_far|M', 'FF /5|jmp_far|M', 'CA|retf_imm|Iw', 'CB|retf', 'CF|iret',
  'E0|loopne|Jb|f64', 'E1|loope|Jb|f64', 'E2|loop|Jb|f64', 'E3|jrcxz|Jb|f64',
  'A4|movs|b|string', 'A5|movs|v|string', 'AA|stos|b|string', 'AB|stos|v|string', 'AC|lods|b|string', 'AD|lods|v|string',
  'AE|scas|b|string', 'AF|scas|v|string', 'A6|cmps|b|string', 'A7|cmps|v|string', 'D7|xlat',
  '90|nop', 'F3 90|pause', '0F 1F|nop_rm|Ev', '0F 18|nop_rm|Ev', '0F 19|nop_rm|Ev', '0F 1A|nop_rm|Ev', '0F 1B|nop_rm|Ev', '0F 1C|nop_rm|Ev', '0F 1D|nop_rm|Ev', '0F 1E|nop_rm|Ev', '0F 0D mem|nop_rm|Ev',
  '0F AE /5 reg|lfence||np', '0F AE /6 reg|mfence||np', '0F AE /7 reg|sfence||np', '0F AE /7 mem|clflush|Mb|np',
  'CC|int3', 'CD|int|Ib', 'CE|into||i64', 'F1|int1', '0F 0B|ud', '0F B9|ud|Gv,Ev', '0F FF|ud|Gv,Ev', '0F 05|syscall||o64', '0F 34|sysenter',
  '27|daa||i64', '2F|das||i64', '37|aaa||i64', '3F|aas||i64', 'D4|aam|Ib|i64', 'D5|aad|Ib|i64', '62|bound|Gv,M|i64',
  'C4|les|Gz,M|i64', 'C5|lds|Gz,M|i64', '0F B2|lss|Gv,M', '0F B4|lfs|Gv,M', '0F B5|lgs|Gv,M', '9A|call_far_imm|Ap|i64', 'EA|jmp_far_imm|Ap|i64',
  '0F 02|lar|Gv,Ew', '0F 03|lsl|Gv,Ew', '0F 00 /4|verr|Ew', '0F 00 /5|verw|Ew',
  'F2 0F38 F0|crc32|Gd,Eb', 'F2 0F38 F1|crc32|Gd,Ev');

// Instructions that CPL 3 may not execute, or that the hypervisor answers: they leave with a description. The time-stamp
// counter is read without leaving where the driver gave a clock.
const privileged: [string, string, string?, string?][] = [
  ['E4', 'in', 'Ib', 'b'], ['E5', 'in', 'Ib', 'z'], ['EC', 'in', '', 'b'], ['ED', 'in', '', 'z'], ['E6', 'out', 'Ib', 'b'], ['E7', 'out', 'Ib', 'z'], ['EE', 'out', '', 'b'], ['EF', 'out', '', 'z'],
  ['6C', 'ins', '', 'b'], ['6D', 'ins', '', 'z'], ['6E', 'outs', '', 'b'], ['6F', 'outs', '', 'z'],
  ['FA', 'cli'], ['FB', 'sti'], ['F4', 'hlt'], ['0F 06', 'clts'], ['0F 08', 'invd'], ['0F 09', 'wbinvd'], ['0F 01 /7 mem', 'invlpg', 'Mb'],
  ['0F 20', 'mov_from_cr', 'Rq'], ['0F 22', 'mov_to_cr', 'Rq'], ['0F 21', 'mov_from_dr', 'Rq'], ['0F 23', 'mov_to_dr', 'Rq'],
  ['0F 32', 'rdmsr'], ['0F 30', 'wrmsr'], ['0F 31', 'rdtsc'], ['0F 33', 'rdpmc'], ['0F A2', 'cpuid'], ['0F 07', 'sysret'], ['0F 35', 'sysexit'],
  ['0F 01 /2 mem', 'lgdt', 'Mb'], ['0F 01 /3 mem', 'lidt', 'Mb'], ['0F 00 /2', 'lldt', 'Ew'], ['0F 00 /3', 'ltr', 'Ew'], ['0F 01 /6', 'lmsw', 'Ew'],
  ['0F 01 F8', 'swapgs'], ['0F 01 F9', 'rdtscp'], ['0F 01 D0', 'xgetbv'], ['0F 01 D1', 'xsetbv'], ['0F 01 C1', 'vmcall'], ['0F 01 C8', 'monitor'], ['0F 01 C9', 'mwait'],
];
for (const [op, name, operands = '', width = ''] of privileged) rows.push({ opcode: op, mnemonic: /^rdtscp?$/.test(name) ? name : 'privileged', operands, flags: [`name:${name}`, ...(width ? [`width:${width}`] : []), ...(/xgetbv|xsetbv/.test(name) ? ['np'] : [])] });

export const integerRows: readonly Row[] = rows;
