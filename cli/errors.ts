// The one error class of this folder: what a command ends with when it cannot do its work.
// Promises: the message is one line for a human; hints are further lines that say what to look at; no secrets.

export type CliErrorCode =
  | 'ERR_CLI_USAGE'
  | 'ERR_CLI_INPUT'
  | 'ERR_CLI_ROUTE'
  | 'ERR_CLI_KEY_IN_USE'
  | 'ERR_CLI_NO_HANDSHAKE'
  | 'ERR_CLI_NO_ECHO'
  | 'ERR_CLI_NOTHING_TO_WATCH'
  | 'ERR_CLI_NO_DAEMON'
  | 'ERR_CLI_DAEMON'
  | 'ERR_CLI_DRILL'
  | 'ERR_CLI_RUNTIME'
  | 'ERR_CLI_PAGE'
  | 'ERR_CLI_INTERRUPTED';

export interface CliErrorOptions extends ErrorOptions {
  /** Printed under the message, one line each. */
  readonly hints?: readonly string[];
}

export class CliError extends Error {
  readonly code: CliErrorCode;
  readonly hints: readonly string[];

  constructor(code: CliErrorCode, message: string, options: CliErrorOptions = {}) {
    super(message, options);
    this.name = 'CliError';
    this.code = code;
    this.hints = options.hints ?? [];
  }
}

/** The exit status for an error: 2 when the command was called wrongly, 1 for everything else. */
export function exitCodeOf(error: unknown): number {
  return error instanceof CliError && error.code === 'ERR_CLI_USAGE' ? 2 : 1;
}
