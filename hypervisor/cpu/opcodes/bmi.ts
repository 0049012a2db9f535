// Bit manipulation (BMI1, BMI2, LZCNT): one row per encoding (row.ts explains the notation).
import type { Row } from './row.ts';

const row = (opcode: string, mnemonic: string, operands: string, needs: string): Row => ({ opcode, mnemonic, operands, flags: [`needs:${needs}`] });

export const bmiRows: readonly Row[] = [
  row('F3 0F BC', 'tzcnt', 'Gv,Ev', 'bmi1'), row('F3 0F BD', 'lzcnt', 'Gv,Ev', 'abm'),
  row('VEX 0F38 F2', 'andn', 'Gy,By,Ey', 'bmi1'), row('VEX 0F38 F7', 'bextr', 'Gy,Ey,By', 'bmi1'),
  row('VEX 0F38 F3 /1', 'blsr', 'By,Ey', 'bmi1'), row('VEX 0F38 F3 /2', 'blsmsk', 'By,Ey', 'bmi1'), row('VEX 0F38 F3 /3', 'blsi', 'By,Ey', 'bmi1'),
  row('VEX 0F38 F5', 'bzhi', 'Gy,Ey,By', 'bmi2'), row('VEX F3 0F38 F5', 'pext', 'Gy,By,Ey', 'bmi2'), row('VEX F2 0F38 F5', 'pdep', 'Gy,By,Ey', 'bmi2'),
  row('VEX F2 0F38 F6', 'mulx', 'Gy,By,Ey', 'bmi2'), row('VEX F2 0F3A F0', 'rorx', 'Gy,Ey,Ib', 'bmi2'),
  row('VEX 66 0F38 F7', 'shlx', 'Gy,Ey,By', 'bmi2'), row('VEX F3 0F38 F7', 'sarx', 'Gy,Ey,By', 'bmi2'), row('VEX F2 0F38 F7', 'shrx', 'Gy,Ey,By', 'bmi2'),
];
