import type { Definitions } from './definition.ts';
export const sse: Definitions = new Map();
