import type { Definitions } from './definition.ts';
export const x87: Definitions = new Map();
