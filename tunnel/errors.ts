// The one error class of this folder. A code names the trouble; docs/errors.md has a heading for each.
// Promises: a configuration error says file, line and field; no message holds a key or a password.

/** The codes of `TunnelError`; docs/errors.md has a heading for each. */
export type TunnelErrorCode =
  | 'ERR_CONFIG'
  | 'ERR_KEY'
  | 'ERR_ENDPOINT'
  | 'ERR_ENDPOINT_UNRESOLVED'
  | 'ERR_UDP_BIND'
  | 'ERR_UDP_SEND'
  | 'ERR_UDP_RECEIVE'
  | 'ERR_WEBSOCKET_URL'
  | 'ERR_WEBSOCKET_LISTEN'
  | 'ERR_WEBSOCKET_DIAL'
  | 'ERR_NO_SYSTEM_CALLS'
  | 'ERR_SYSTEM_CALL'
  | 'ERR_TUN'
  | 'ERR_UAPI_IN_USE'
  | 'ERR_UAPI_LISTEN'
  | 'ERR_UAPI_REQUEST'
  | 'ERR_UAPI_CONNECT'
  | 'ERR_UAPI_ANSWER'
  | 'ERR_UAPI_SILENCE'
  | 'ERR_UAPI_NO_STATUS'
  | 'ERR_METRICS_LISTEN'
  | 'ERR_CLOSED';

/** Where in a configuration file the trouble is. */
export interface ConfigPlace {
  readonly file?: string | undefined;
  /** Counted from 1. */
  readonly line?: number | undefined;
  /** The key as the documentation writes it, such as `AllowedIPs`. */
  readonly field?: string | undefined;
}

/** Which system call failed, and how. */
export interface FailedCall {
  /** Its name, such as `ioctl TUNSETIFF`. */
  readonly call?: string | undefined;
  /** The name of the error, such as `EPERM`. */
  readonly errno?: string | undefined;
}

/** What this folder throws. `code` has a heading in docs/errors.md. */
export class TunnelError extends Error {
  readonly code: TunnelErrorCode;
  readonly file: string | undefined;
  readonly line: number | undefined;
  readonly field: string | undefined;
  readonly call: string | undefined;
  readonly errno: string | undefined;

  constructor(code: TunnelErrorCode, message: string, options: ErrorOptions & ConfigPlace & FailedCall = {}) {
    super(message, options);
    this.name = 'TunnelError';
    this.code = code;
    this.file = options.file;
    this.line = options.line;
    this.field = options.field;
    this.call = options.call;
    this.errno = options.errno;
  }
}
