/** Stable codes of everything the domain builder refuses; the message is the sentence a person reads. */
export type BuilderErrorCode =
  | 'kernel-unreadable' | 'kernel-empty' | 'kernel-not-recognised' | 'kernel-truncated' | 'kernel-corrupt'
  | 'kernel-compression' | 'kernel-too-large' | 'kernel-machine' | 'kernel-32bit' | 'kernel-not-xen'
  | 'kernel-loader' | 'kernel-features' | 'kernel-addresses'
  | 'ramdisk-unreadable' | 'ramdisk-too-large' | 'cmdline-too-long' | 'memory-too-small' | 'memory-size'
  | 'hypervisor';

/** Why a kernel cannot be used or a domain cannot be built. Nothing else is thrown by the builder on purpose. */
export class BuilderError extends Error {
  readonly code: BuilderErrorCode;
  constructor(code: BuilderErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'BuilderError';
    this.code = code;
  }
}
