/** What all backends look like from outside: the toolstack starts and stops them and asks no more. */
export interface Backend {
  readonly kind: 'vbd' | 'vif' | 'console' | '9pfs';
  /** For log lines: `vbd/5/51712`. */
  readonly name: string;
  start(): void;
  /** Lets go of everything the frontend shares; resolves when that is done. Never rejects; safe to call twice. */
  stop(): Promise<void>;
}
