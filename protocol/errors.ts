// The one error class of this folder. A code names the trouble; docs/errors.md has a heading for each.
// Thrown for our own misuse alone: what a peer sends wrongly is a value, never an exception.

/** The codes of `ProtocolError`; docs/errors.md has a heading for each. */
export type ProtocolErrorCode =
  | 'ERR_LENGTH'
  | 'ERR_COUNTER'
  | 'ERR_WALL_CLOCK'
  | 'ERR_HANDSHAKE_SPENT'
  | 'ERR_OPENSSL'
  | 'ERR_IPSEC_MB'
  | 'ERR_SUITE';

/** What this folder throws: our own misuse, never a peer's fault. `code` has a heading in docs/errors.md. */
export class ProtocolError extends Error {
  readonly code: ProtocolErrorCode;

  constructor(code: ProtocolErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ProtocolError';
    this.code = code;
  }
}
