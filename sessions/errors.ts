// The one error class of this folder: our own misuse, or safety that cannot be kept. A peer's fault is a value instead.

/** The codes of `SessionError`; docs/errors.md has a heading for each. */
export type SessionErrorCode =
  | 'ERR_KEY_LENGTH'
  | 'ERR_STRICT_PROTECTION'
  | 'ERR_UNKNOWN_PEER'
  | 'ERR_OPTION'
  | 'ERR_INDEX_EXHAUSTED'
  | 'ERR_ADDRESS'
  | 'ERR_INVARIANT';

/** What this folder throws: our own misuse, never a peer's fault. `code` has a heading in docs/errors.md. */
export class SessionError extends Error {
  readonly code: SessionErrorCode;

  constructor(code: SessionErrorCode, message: string) {
    super(message);
    this.name = 'SessionError';
    this.code = code;
  }
}
