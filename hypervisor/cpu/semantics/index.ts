// All instruction definitions, by mnemonic.
import type { Definition, Definitions } from './definition.ts';
import { arithmetic } from './arithmetic.ts';
import { shifts } from './shifts.ts';
import { multiply } from './multiply.ts';
import { bmi } from './bmi.ts';
import { moves } from './moves.ts';
import { control } from './control.ts';
import { strings } from './strings.ts';
import { system } from './system.ts';
import { sse } from './sse.ts';
import { x87 } from './x87.ts';
import { fused } from './fused.ts';

const all: Definitions = new Map([...arithmetic, ...shifts, ...multiply, ...bmi, ...moves, ...control, ...strings, ...system, ...sse, ...x87, ...fused]);
export const definitionOf = (mnemonic: string): Definition | undefined => all.get(mnemonic);
