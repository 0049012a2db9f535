// Refusals of the store, inside the daemon. On the wire only the name travels.
import type { XsdError } from '../../hypervisor/public/io/xs_wire.ts';

export class XsError extends Error {
  readonly code: XsdError;
  /** Without a stack: a node that is not there is an everyday answer. */
  constructor(code: XsdError, why: string = code) {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(why);
    Error.stackTraceLimit = limit;
    this.name = 'XsError';
    this.code = code;
  }
}

/** @returns never; for use in expressions */
export function refuse(code: XsdError, why?: string): never { throw new XsError(code, why); }
