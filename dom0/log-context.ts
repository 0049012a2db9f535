// Whose work a log line is about: what the API, operations and backends know travels with the work, and the log adds it to
// each line.
import { AsyncLocalStorage } from 'node:async_hooks';

export interface LogFields {
  /** Id of the request, as in the audit log and the X-Request-Id of its answer. */
  readonly request?: string;
  /** Id of the operation. */
  readonly operation?: string;
  readonly domid?: number;
}

const storage = new AsyncLocalStorage<LogFields>();

export const logContext = (): LogFields => storage.getStore() ?? {};

/** Runs with these fields beside the ones there are. */
export const within = <T>(fields: LogFields, run: () => T): T => storage.run({ ...logContext(), ...fields }, run);

/** For what goes on after the call that began it: its lines keep the fields of now, whoever causes them. */
export function boundLog(log: (line: string) => void, fields: LogFields = {}): (line: string) => void {
  const kept = { ...logContext(), ...fields };
  return line => storage.run(kept, log, line);
}
