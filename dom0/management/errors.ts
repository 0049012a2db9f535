// How the management of definitions, operations and tokens refuses, by stable code.
import { CodedError } from '../coded-error.ts';

export const MANAGEMENT_ERRORS = {
  'bad-config': { status: 422, title: 'The configuration cannot be used' },
  'definition-not-found': { status: 404, title: 'No such definition' },
  'definition-exists': { status: 409, title: 'A definition of that name or UUID exists' },
  'precondition-failed': { status: 412, title: 'It has been changed meanwhile' },
  'operation-not-found': { status: 404, title: 'No such operation' },
  'operation-ended': { status: 409, title: 'The operation has ended already' },
  'token-not-found': { status: 404, title: 'No such token' },
  'key-reused': { status: 422, title: 'The idempotency key was used for another request' },
  'limit-reached': { status: 409, title: 'There are as many as there may be' },
  'path-refused': { status: 403, title: 'That file may not be named from outside' },
  'storage': { status: 507, title: 'The change cannot be stored' },
} as const;
export type ManagementErrorCode = keyof typeof MANAGEMENT_ERRORS;

export class ManagementError extends CodedError<ManagementErrorCode> {}
