import { ApiError } from '../client.ts';
import { CommandError } from '../command.ts';

/** xl's answer to a name or domid that is none; any other error passes through. */
export function invalidDomain(name: string, error: unknown): unknown {
  if (error instanceof ApiError && error.code === 'domain-not-found') return new CommandError(`${name} is an invalid domain identifier (rc=-6)\n`);
  return error;
}

/** What went wrong, and libxl's last word as scripts look for it. */
export function failed(name: string, error: unknown, last: string): unknown {
  const named = invalidDomain(name, error);
  return named === error && error instanceof ApiError ? new CommandError(`xl: error: ${error.message}\n${last}\n`) : named;
}
