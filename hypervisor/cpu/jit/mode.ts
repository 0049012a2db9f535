/**
 * off: interpreter only; on: hot blocks are translated, into WebAssembly; force: every block is, when first run; native,
 * native-force: into the host processor's code, where that can be (native/).
 */
export const JIT_MODES = ['native', 'on', 'off', 'force', 'native-force'] as const;
export type JitMode = typeof JIT_MODES[number];
