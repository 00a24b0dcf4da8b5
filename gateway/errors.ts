// The one error class of this folder. What a clone does wrong is no error: it is refused, and counted.

/** The codes of `GatewayError`; docs/errors.md has a heading for each. */
export type GatewayErrorCode = 'ERR_ENROLMENT_LENGTH' | 'ERR_ADDRESS_TAKEN';

/** What this folder throws. `code` has a heading in docs/errors.md. */
export class GatewayError extends Error {
  readonly code: GatewayErrorCode;

  constructor(code: GatewayErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'GatewayError';
    this.code = code;
  }
}
