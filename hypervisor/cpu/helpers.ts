// Numbers of the helpers: instructions, or rare parts of them, that are carried out by TypeScript on the processor's
// state because WebAssembly has no short way to say them. processor.ts and its neighbours implement them.
export const HELPER = {
  div64: 1, idiv64: 2, loadSegment: 3, farTransfer: 4, iret: 5, popFlags: 6, decimal: 7, loadFarPointer: 8, describe: 9,
  stringCompare: 23, x87: 16, x87Wait: 22, fxsave: 17, fxrstor: 18, mmxEnter: 19, mxcsr: 20, emms: 21,
  lockBus: 24, unlockBus: 25,
  sse: 32,
} as const;
