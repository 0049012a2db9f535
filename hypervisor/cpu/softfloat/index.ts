// Exact floating point: what others in hypervisor/cpu use.
export * from './flags.ts';
export * from './mxcsr.ts';
export { sseBinary, sseSqrt, sseCompare, ssePredicate, packedFlags, RELATION } from './sse.ts';
export type { SseFormat, SseOperation, SseResult, Relation } from './sse.ts';
export { sseFromInteger, sseToInteger, sseConvert, sseRound } from './sse-convert.ts';
export { sseDotProduct } from './sse-packed.ts';
export { reciprocal, reciprocalRoot } from './approximate.ts';
