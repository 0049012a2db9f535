/** off: interpreter only; on: hot blocks are translated; force: every block is, when first run. */
export const JIT_MODES = ['on', 'off', 'force'] as const;
export type JitMode = typeof JIT_MODES[number];
