// The one error class of this folder. A code names the trouble; docs/errors.md has a heading for each.

/** The codes of `CrngError`; docs/errors.md has a heading for each. */
export type CrngErrorCode =
  | 'ERR_CRNG_NO_GENERATION'
  | 'ERR_CRNG_NOT_FRESH'
  | 'ERR_CRNG_UNSETTLED'
  | 'ERR_CRNG_BOUND'
  | 'ERR_CRNG_LENGTH'
  | 'ERR_CRNG_CLOSED'
  | 'ERR_ENTROPY_UNAVAILABLE'
  | 'ERR_ENTROPY_DEVICE'
  | 'ERR_ENTROPY_READ'
  | 'ERR_ENTROPY_CLOSED';

/** What this folder throws. `code` has a heading in docs/errors.md. */
export class CrngError extends Error {
  readonly code: CrngErrorCode;

  constructor(code: CrngErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CrngError';
    this.code = code;
  }
}
