// Refusals of the store, inside the daemon. On the wire only the name travels.
import type { XsdError } from '../../hypervisor/public/io/xs_wire.ts';

export class XsError extends Error {
  readonly code: XsdError;
  constructor(code: XsdError, why: string = code) {
    super(why);
    this.name = 'XsError';
    this.code = code;
  }
}

/** @returns never; for use in expressions */
export function refuse(code: XsdError, why?: string): never { throw new XsError(code, why); }
