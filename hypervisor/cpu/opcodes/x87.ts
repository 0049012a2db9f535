import type { Row } from './row.ts';
export const x87Rows: readonly Row[] = [];
