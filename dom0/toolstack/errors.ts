// Every way the toolstack refuses, by stable code. The message is a sentence that names the thing and the way out.
import { CodedError } from '../coded-error.ts';

export const TOOLSTACK_ERRORS = {
  'domain-not-found': { status: 404, title: 'No such domain' },
  'domain-exists': { status: 409, title: 'A domain of that name exists' },
  'domain-busy': { status: 409, title: 'The domain is being created or destroyed' },
  'domain-not-running': { status: 409, title: 'The domain does not run' },
  'domain-not-suspended': { status: 409, title: 'The domain is not suspended' },
  'bad-name': { status: 422, title: 'The name cannot be used' },
  'bad-memory': { status: 422, title: 'The memory size cannot be had' },
  'bad-disk': { status: 422, title: 'A disk cannot be used' },
  'bad-vif': { status: 422, title: 'A network interface cannot be used' },
  'bad-scheduling': { status: 422, title: 'Scheduler parameters out of range' },
  'device-not-found': { status: 404, title: 'No such device' },
  'bad-kernel': { status: 422, title: 'The kernel cannot be booted' },
  'bad-ramdisk': { status: 422, title: 'The ramdisk cannot be used' },
  'build-failed': { status: 422, title: 'The domain cannot be built' },
  'no-answer': { status: 504, title: 'The guest does not answer' },
  'cancelled': { status: 409, title: 'It was cancelled' },
  'dom0-refused': { status: 409, title: 'Not possible for Domain-0' },
  'not-supported': { status: 501, title: 'Not supported' },
  'not-traced': { status: 409, title: 'Nothing is traced' },
  'hypervisor': { status: 500, title: 'The hypervisor refused' },
} as const;
export type ToolstackErrorCode = keyof typeof TOOLSTACK_ERRORS;

export class ToolstackError extends CodedError<ToolstackErrorCode> {}

/** Message of whatever was thrown. */
export const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error);

/** Unwraps a hypercall result. @throws ToolstackError 'hypervisor' for -errno */
export function checked<T extends number | object>(result: T | number, what: string): T {
  if (typeof result === 'number' && result < 0) throw new ToolstackError('hypervisor', `${what} failed: error ${result}`);
  return result as T;
}
