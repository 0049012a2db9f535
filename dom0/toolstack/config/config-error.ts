/** Exit codes of xl: 1 for parsing and validation, 3 for what the toolstack refuses, 6 for usage. */
export type ConfigExitCode = 1 | 3 | 6;

/** A refused configuration: `message` is what goes to stderr (may have several lines), `exitCode` what xl ends with. */
export class ConfigError extends Error {
  readonly exitCode: ConfigExitCode;
  constructor(message: string, exitCode: ConfigExitCode = 1) {
    super(message);
    this.name = 'ConfigError';
    this.exitCode = exitCode;
  }
}
