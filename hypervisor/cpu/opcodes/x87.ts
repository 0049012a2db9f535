// x87 and what moves its state: one mnemonic for D8..DF, the unit itself decodes further (x87/).
import type { Row } from './row.ts';

const row = (opcode: string, mnemonic: string, operands = '', flags: string[] = []): Row => ({ opcode, mnemonic, operands, flags });

export const x87Rows: readonly Row[] = [
  ...['D8', 'D9', 'DA', 'DB', 'DC', 'DD', 'DE', 'DF'].flatMap(op => [row(`${op} mem`, 'x87', 'Mb'), row(`${op} reg`, 'x87')]),
  row('9B', 'fwait'),
  row('0F AE /0 mem', 'fxsave', 'My', ['np']), row('0F AE /1 mem', 'fxrstor', 'My', ['np']),
  row('0F AE /2 mem', 'ldmxcsr', 'Md', ['np']), row('0F AE /3 mem', 'stmxcsr', 'Md', ['np']),
];
