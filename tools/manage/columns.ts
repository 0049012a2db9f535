/** Rows of cells as lines: every column but the last as wide as its widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).slice(0, -1).map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  return rows.map(row => `${row.map((cell, i) => i < widths.length ? cell.padEnd(widths[i]!) : cell).join('  ').trimEnd()}\n`).join('');
}

/** 2026-01-31 23:59:59, UTC. */
export const stamp = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
