// The x87 and MMX unit: what others in hypervisor/cpu use.
export * from './layout.ts';
export { X87State } from './state.ts';
export { x87Execute, x87Operand, x87Pending, x87Row } from './execute.ts';
export type { X87Context, X87Memory, X87Result } from './execute.ts';
export { fxsave, fxrstor, FX64, FXSAVE_BYTES } from './fxsave.ts';
export type { FxFormat } from './fxsave.ts';
export { emms, mmxEnter, mmxOffset, mmxRead, mmxWrite } from './mmx.ts';
