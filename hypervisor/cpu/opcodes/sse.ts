// MMX, SSE to SSE4.2, SHA, PCLMULQDQ: one row per encoding (row.ts explains the notation).
import type { Row } from './row.ts';

const rows: Row[] = [];
const add = (...text: string[]): void => { for (const t of text) { const [op, name, operands = '', flags = ''] = t.split('|').map(s => s.trim()); rows.push({ opcode: op!, mnemonic: name!, operands, flags: flags.split(' ').filter(Boolean) }); } };
/** name=opcode pairs that share a shape. */
const each = (list: string, make: (op: string, name: string) => string[]): void => { for (const pair of list.trim().split(/\s+/)) { const [name, op] = pair.split('='); add(...make(op!, name!)); } };
const hex = (n: number): string => n.toString(16).padStart(2, '0').toUpperCase();

// ---- moves
add('0F 10|movups|Vx,Wx|np unaligned', '0F 11|movups|Wx,Vx|np unaligned', '66 0F 10|movups|Vx,Wx|unaligned', '66 0F 11|movups|Wx,Vx|unaligned',
  '0F 28|movaps|Vx,Wx|np', '0F 29|movaps|Wx,Vx|np', '66 0F 28|movaps|Vx,Wx', '66 0F 29|movaps|Wx,Vx',
  '66 0F 6F|movaps|Vx,Wx', '66 0F 7F|movaps|Wx,Vx', 'F3 0F 6F|movups|Vx,Wx|unaligned', 'F3 0F 7F|movups|Wx,Vx|unaligned', 'F2 0F F0|movups|Vx,Mx|unaligned',
  '0F 2B|movaps|Mx,Vx|np', '66 0F 2B|movaps|Mx,Vx', '66 0F E7|movaps|Mx,Vx', '66 0F38 2A|movaps|Vx,Mx',
  'F3 0F 10|movss|Vx,Wd', 'F3 0F 11|movss|Wd,Vx', 'F2 0F 10|movsd|Vx,Wq', 'F2 0F 11|movsd|Wq,Vx',
  'F3 0F 7E|movq|Vx,Wq', '66 0F D6|movq|Wq,Vx', '0F 6F|movq|Pq,Qq|np', '0F 7F|movq|Qq,Pq|np', '0F E7|movq|Mq,Pq|np',
  '66 0F 6E|movd_in|Vx,Ey', '66 0F 7E|movd_out|Ey,Vx', '0F 6E|movd_in|Pq,Ey|np', '0F 7E|movd_out|Ey,Pq|np',
  'F3 0F D6|movq2dq|Vx,Nq', 'F2 0F D6|movdq2q|Pq,Ux',
  '0F 12 mem|movlps|Vx,Mq|np', '66 0F 12|movlps|Vx,Mq', '0F 13|movlps_out|Mq,Vx|np', '66 0F 13|movlps_out|Mq,Vx',
  '0F 16 mem|movhps|Vx,Mq|np', '66 0F 16|movhps|Vx,Mq', '0F 17|movhps_out|Mq,Vx|np', '66 0F 17|movhps_out|Mq,Vx',
  '0F 12 reg|movhlps|Vx,Ux|np', '0F 16 reg|movlhps|Vx,Ux|np', 'F3 0F 12|movsldup|Vx,Wx', 'F3 0F 16|movshdup|Vx,Wx', 'F2 0F 12|movddup|Vx,Wq',
  '0F 50|movmskps|Gd,Ux|np', '66 0F 50|movmskpd|Gd,Ux', '66 0F D7|pmovmskb|Gd,Ux', '0F D7|pmovmskb|Gd,Nq|np',
  '66 0F F7|maskmov|Vx,Ux', '0F F7|maskmov|Pq,Nq|np', '0F 77|emms||np');

// ---- integer operations that exist on both register files, then those of XMM alone
const both = (op: string, name: string): string[] => [`66 0F ${op}|${name}|Vx,Wx`, `0F ${op}|${name}|Pq,Qq|np`];
each(`packsswb=63 pcmpgtb=64 pcmpgtw=65 pcmpgtd=66 packuswb=67 punpckhbw=68 punpckhwd=69 punpckhdq=6A packssdw=6B pcmpeqb=74 pcmpeqw=75 pcmpeqd=76
  psrlw=D1 psrld=D2 psrlq=D3 paddq=D4 pmullw=D5 psubusb=D8 psubusw=D9 pminub=DA pand=DB paddusb=DC paddusw=DD pmaxub=DE pandn=DF
  pavgb=E0 psraw=E1 psrad=E2 pavgw=E3 pmulhuw=E4 pmulhw=E5 psubsb=E8 psubsw=E9 pminsw=EA por=EB paddsb=EC paddsw=ED pmaxsw=EE pxor=EF
  psllw=F1 pslld=F2 psllq=F3 pmuludq=F4 pmaddwd=F5 psadbw=F6 psubb=F8 psubw=F9 psubd=FA psubq=FB paddb=FC paddw=FD paddd=FE`, both);
each('punpcklbw=60 punpcklwd=61 punpckldq=62', (op, name) => [`66 0F ${op}|${name}|Vx,Wx`, `0F ${op}|${name}|Pq,Qd|np`]);
each('punpcklqdq=6C punpckhqdq=6D', (op, name) => [`66 0F ${op}|${name}|Vx,Wx`]);
const both38 = (op: string, name: string): string[] => [`66 0F38 ${op}|${name}|Vx,Wx`, `0F38 ${op}|${name}|Pq,Qq|np`];
each('pshufb=00 phaddw=01 phaddd=02 phaddsw=03 pmaddubsw=04 phsubw=05 phsubd=06 phsubsw=07 psignb=08 psignw=09 psignd=0A pmulhrsw=0B pabsb=1C pabsw=1D pabsd=1E', both38);
each(`pblendvb=10 blendvps=14 blendvpd=15 ptest=17 pmuldq=28 pcmpeqq=29 packusdw=2B pcmpgtq=37 pminsb=38 pminsd=39 pminuw=3A pminud=3B
  pmaxsb=3C pmaxsd=3D pmaxuw=3E pmaxud=3F pmulld=40 phminposuw=41`, (op, name) => [`66 0F38 ${op}|${name}|Vx,Wx`]);
['bw', 'bd', 'bq', 'wd', 'wq', 'dq'].forEach((name, i) => {
  const size = { bw: 'q', bd: 'd', bq: 'w', wd: 'q', wq: 'd', dq: 'q' }[name];
  add(`66 0F38 ${hex(0x20 + i)}|pmovsx${name}|Vx,W${size}`, `66 0F38 ${hex(0x30 + i)}|pmovzx${name}|Vx,W${size}`);
});
each('psrlw=71/2 psraw=71/4 psllw=71/6 psrld=72/2 psrad=72/4 pslld=72/6 psrlq=73/2 psllq=73/6', (op, name) => {
  const [byte, extension] = op.split('/');
  return [`66 0F ${byte} /${extension}|${name}_imm|Ux,Ib`, `0F ${byte} /${extension}|${name}_imm|Nq,Ib|np`];
});
add('66 0F 73 /3|psrldq|Ux,Ib', '66 0F 73 /7|pslldq|Ux,Ib');

// ---- shuffles, blends, insertion and extraction
add('66 0F 70|pshufd|Vx,Wx,Ib', 'F2 0F 70|pshuflw|Vx,Wx,Ib', 'F3 0F 70|pshufhw|Vx,Wx,Ib', '0F 70|pshuflw|Pq,Qq,Ib|np',
  '0F C6|shufps|Vx,Wx,Ib|np', '66 0F C6|shufpd|Vx,Wx,Ib', '0F 14|punpckldq|Vx,Wx|np', '66 0F 14|punpcklqdq|Vx,Wx', '0F 15|punpckhdq|Vx,Wx|np', '66 0F 15|punpckhqdq|Vx,Wx',
  '66 0F3A 0F|palignr|Vx,Wx,Ib', '0F3A 0F|palignr|Pq,Qq,Ib|np',
  '66 0F3A 0C|blendps|Vx,Wx,Ib', '66 0F3A 0D|blendpd|Vx,Wx,Ib', '66 0F3A 0E|pblendw|Vx,Wx,Ib', '66 0F3A 42|mpsadbw|Vx,Wx,Ib',
  '66 0F C4 reg|pinsrw|Vx,Rd,Ib', '66 0F C4 mem|pinsrw|Vx,Mw,Ib', '0F C4 reg|pinsrw|Pq,Rd,Ib|np', '0F C4 mem|pinsrw|Pq,Mw,Ib|np', '66 0F C5|pextrw|Gd,Ux,Ib', '0F C5|pextrw|Gd,Nq,Ib|np',
  '66 0F3A 20 reg|pinsrb|Vx,Rd,Ib', '66 0F3A 20 mem|pinsrb|Vx,Mb,Ib', '66 0F3A 22|pinsrd|Vx,Ey,Ib', '66 0F3A 21|insertps|Vx,Wd,Ib',
  '66 0F3A 14 reg|pextrb|Rd,Vx,Ib', '66 0F3A 14 mem|pextrb|Mb,Vx,Ib', '66 0F3A 15 reg|pextrw|Rd,Vx,Ib', '66 0F3A 15 mem|pextrw|Mw,Vx,Ib', '66 0F3A 16|pextrd|Ey,Vx,Ib', '66 0F3A 17|extractps|Ed,Vx,Ib',
  '66 0F3A 60|pcmpestrm|Vx,Wx,Ib|unaligned', '66 0F3A 61|pcmpestri|Vx,Wx,Ib|unaligned', '66 0F3A 62|pcmpistrm|Vx,Wx,Ib|unaligned', '66 0F3A 63|pcmpistri|Vx,Wx,Ib|unaligned');

// ---- SHA: Intel's processors want memory operands aligned, AMD's do not
each('sha1nexte=C8 sha1msg1=C9 sha1msg2=CA sha256rnds2=CB sha256msg1=CC sha256msg2=CD', (op, name) => [`0F38 ${op}|${name}|Vx,Wx|np unaligned needs:sha_ni`]);
add('0F3A CC|sha1rnds4|Vx,Wx,Ib|np unaligned needs:sha_ni');

// ---- multiplication without carries
add('66 0F3A 44|pclmulqdq|Vx,Wx,Ib|needs:pclmulqdq');

// ---- floating point
each('sqrt=51 add=58 mul=59 sub=5C min=5D div=5E max=5F', (op, name) => [`0F ${op}|${name}ps|Vx,Wx|np`, `66 0F ${op}|${name}pd|Vx,Wx`, `F3 0F ${op}|${name}ss|Vx,Wd`, `F2 0F ${op}|${name}sd|Vx,Wq`]);
each('rsqrt=52 rcp=53', (op, name) => [`0F ${op}|${name}ps|Vx,Wx|np`, `F3 0F ${op}|${name}ss|Vx,Wd`]);
each('pand=54 pandn=55 por=56 pxor=57', (op, name) => [`0F ${op}|${name}|Vx,Wx|np`, `66 0F ${op}|${name}|Vx,Wx`]);
each('addsub=D0 hadd=7C hsub=7D', (op, name) => [`66 0F ${op}|${name}pd|Vx,Wx`, `F2 0F ${op}|${name}ps|Vx,Wx`]);
each('ucomis=2E comis=2F', (op, name) => [`0F ${op}|${name}s|Vx,Wd|np`, `66 0F ${op}|${name}d|Vx,Wq`]);
add('0F C2|cmpps|Vx,Wx,Ib|np', '66 0F C2|cmppd|Vx,Wx,Ib', 'F3 0F C2|cmpss|Vx,Wd,Ib', 'F2 0F C2|cmpsd|Vx,Wq,Ib',
  '66 0F3A 08|roundps|Vx,Wx,Ib', '66 0F3A 09|roundpd|Vx,Wx,Ib', '66 0F3A 0A|roundss|Vx,Wd,Ib', '66 0F3A 0B|roundsd|Vx,Wq,Ib', '66 0F3A 40|dpps|Vx,Wx,Ib', '66 0F3A 41|dppd|Vx,Wx,Ib',
  'F3 0F 2A|cvtsi2ss|Vx,Ey', 'F2 0F 2A|cvtsi2sd|Vx,Ey', 'F3 0F 2C|cvttss2si|Gy,Wd', 'F2 0F 2C|cvttsd2si|Gy,Wq', 'F3 0F 2D|cvtss2si|Gy,Wd', 'F2 0F 2D|cvtsd2si|Gy,Wq',
  '0F 2A|cvtpi2ps|Vx,Qq|np', '66 0F 2A|cvtpi2pd|Vx,Qq', '0F 2C|cvttps2pi|Pq,Wq|np', '66 0F 2C|cvttpd2pi|Pq,Wx', '0F 2D|cvtps2pi|Pq,Wq|np', '66 0F 2D|cvtpd2pi|Pq,Wx',
  'F3 0F 5A|cvtss2sd|Vx,Wd', 'F2 0F 5A|cvtsd2ss|Vx,Wq', '0F 5A|cvtps2pd|Vx,Wq|np', '66 0F 5A|cvtpd2ps|Vx,Wx',
  '0F 5B|cvtdq2ps|Vx,Wx|np', '66 0F 5B|cvtps2dq|Vx,Wx', 'F3 0F 5B|cvttps2dq|Vx,Wx', 'F3 0F E6|cvtdq2pd|Vx,Wq', '66 0F E6|cvttpd2dq|Vx,Wx', 'F2 0F E6|cvtpd2dq|Vx,Wx');

export const sseRows: readonly Row[] = rows;
