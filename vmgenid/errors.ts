// The one error class of this folder. A code names the trouble; docs/errors.md has a heading for each.

/** The codes of `VmGenIdError`; docs/errors.md has a heading for each. */
export type VmGenIdErrorCode =
  | 'ERR_GENERATION_LENGTH'
  | 'ERR_GENERATION_TEXT'
  | 'ERR_SHARED_STATE'
  | 'ERR_SUBSCRIBER'
  | 'ERR_SOURCE_OPTION'
  | 'ERR_SOURCE_UNREADABLE'
  | 'ERR_SOURCE_TORN'
  | 'ERR_SOURCE_FORMAT'
  | 'ERR_SOURCE_UNAVAILABLE'
  | 'ERR_BROKER_FILE'
  | 'ERR_BROKER_IN_USE'
  | 'ERR_BROKER_LISTEN'
  | 'ERR_HOOK_REQUEST'
  | 'ERR_HOOK_LISTEN';

/** What this folder throws. `code` has a heading in docs/errors.md. */
export class VmGenIdError extends Error {
  readonly code: VmGenIdErrorCode;

  constructor(code: VmGenIdErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'VmGenIdError';
    this.code = code;
  }
}

/** What a failed system call said, less the call and the path, which is named already: `ENOENT: no such file or directory`. */
export function systemReason(error: unknown): string {
  return (error as Error).message.replace(/, [a-z]+( '.*')?$/, '');
}

/** A source that this machine does not have, and why. */
export function unavailable(reason: string, cause?: unknown): VmGenIdError {
  return new VmGenIdError('ERR_SOURCE_UNAVAILABLE', reason, { cause });
}
