// The SSE2 instructions that compilers and libraries use everywhere: moves, logic, common integer arithmetic.
import type { Row } from './row.ts';

const rows: Row[] = [];
const add = (...text: string[]): void => { for (const t of text) { const [opcode, mnemonic, operands = '', flags = ''] = t.split('|'); rows.push({ opcode: opcode!, mnemonic: mnemonic!, operands, flags: flags.split(' ').filter(Boolean) }); } };

for (const [load, store, flags] of [['0F 10', '0F 11', 'unaligned np'], ['66 0F 10', '66 0F 11', 'unaligned'], ['0F 28', '0F 29', 'np'], ['66 0F 28', '66 0F 29', ''], ['66 0F 6F', '66 0F 7F', ''], ['F3 0F 6F', 'F3 0F 7F', 'unaligned']]) {
  add(`${load}|movdqa|Vx,Wx|${flags}`, `${store}|movdqa|Wx,Vx|${flags}`);
}
add('0F 2B|movdqa|Mx,Vx|np', '66 0F 2B|movdqa|Mx,Vx', '66 0F E7|movdqa|Mx,Vx', 'F2 0F F0|movdqa|Vx,Mx|unaligned',
  'F3 0F 10|movss|Vx,Wd', 'F3 0F 11|movss|Wd,Vx', 'F2 0F 10|movsd_xmm|Vx,Wq', 'F2 0F 11|movsd_xmm|Wq,Vx',
  '66 0F 6E|movd_to_xmm|Vx,Ey', '66 0F 7E|movd_from_xmm|Ey,Vx', 'F3 0F 7E|movq_xmm|Vx,Wq', '66 0F D6|movq_xmm|Wq,Vx',
  '0F 12 mem|movlps_load|Vx,Mq|np', '0F 13|movlps_store|Mq,Vx|np', '66 0F 12|movlps_load|Vx,Mq', '66 0F 13|movlps_store|Mq,Vx',
  '0F 16 mem|movhps_load|Vx,Mq|np', '0F 17|movhps_store|Mq,Vx|np', '66 0F 16|movhps_load|Vx,Mq', '66 0F 17|movhps_store|Mq,Vx',
  '0F 12 reg|movhlps|Vx,Ux|np', '0F 16 reg|movlhps|Vx,Ux|np', '66 0F D7|pmovmskb|Gd,Ux');
for (const [name, ...opcodes] of [['pand', '0F 54', '66 0F 54', '66 0F DB'], ['pandn', '0F 55', '66 0F 55', '66 0F DF'], ['por', '0F 56', '66 0F 56', '66 0F EB'], ['pxor', '0F 57', '66 0F 57', '66 0F EF']] as const) {
  for (const o of opcodes) add(`${o}|${name}|Vx,Wx|${o.startsWith('0F') ? 'np' : ''}`);
}
for (const [opcode, name] of Object.entries({ '74': 'pcmpeqb', '75': 'pcmpeqw', '76': 'pcmpeqd', '64': 'pcmpgtb', '65': 'pcmpgtw', '66': 'pcmpgtd', 'FC': 'paddb', 'FD': 'paddw', 'FE': 'paddd', 'D4': 'paddq', 'F8': 'psubb', 'F9': 'psubw', 'FA': 'psubd', 'FB': 'psubq',
  'DA': 'pminub', 'DE': 'pmaxub', 'D8': 'psubusb', 'EA': 'pminsw', 'EE': 'pmaxsw', 'D5': 'pmullw', 'F4': 'pmuludq', '60': 'punpcklbw', '61': 'punpcklwd', '62': 'punpckldq', '6C': 'punpcklqdq', '68': 'punpckhbw', '69': 'punpckhwd', '6A': 'punpckhdq', '6D': 'punpckhqdq', '67': 'packuswb', '63': 'packsswb', '6B': 'packssdw' })) add(`66 0F ${opcode}|${name}|Vx,Wx`);
add('66 0F 70|pshufd|Vx,Wx,Ib', '0F C6|shufps|Vx,Wx,Ib|np', '66 0F 38 00|pshufb|Vx,Wx'.replace('0F 38', '0F38'), '66 0F3A 0F|palignr|Vx,Wx,Ib', '0F 14|punpckldq|Vx,Wx|np', '0F 15|punpckhdq|Vx,Wx|np', '66 0F 14|punpcklqdq|Vx,Wx', '66 0F 15|punpckhqdq|Vx,Wx');
for (const [opcode, suffix] of [['71', 'w'], ['72', 'd'], ['73', 'q']] as const) {
  add(`66 0F ${opcode} /2|psrl${suffix}_imm|Ux,Ib`, `66 0F ${opcode} /6|psll${suffix}_imm|Ux,Ib`);
  if (suffix !== 'q') add(`66 0F ${opcode} /4|psra${suffix}_imm|Ux,Ib`); else add('66 0F 73 /3|psrldq|Ux,Ib', '66 0F 73 /7|pslldq|Ux,Ib');
}
for (const [opcode, name] of [['60', 'pcmpestrm'], ['61', 'pcmpestri'], ['62', 'pcmpistrm'], ['63', 'pcmpistri']] as const) add(`66 0F3A ${opcode}|${name}|Vx,Wx,Ib|unaligned`);
export const sseRows: readonly Row[] = rows;
