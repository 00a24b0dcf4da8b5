// The one error class of this folder. A code names the trouble; docs/errors.md has a heading for each.
// Promises: a configuration error says file, line and field; no message holds a key or a password.

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
  | 'ERR_WIRE_CONDITIONS'
  | 'ERR_CLOSED';

/** Where in a configuration file the trouble is. */
export interface ConfigPlace {
  readonly file?: string | undefined;
  /** Counted from 1. */
  readonly line?: number | undefined;
  /** The key as the documentation writes it, such as `AllowedIPs`. */
  readonly field?: string | undefined;
}

export class TunnelError extends Error {
  readonly code: TunnelErrorCode;
  readonly file: string | undefined;
  readonly line: number | undefined;
  readonly field: string | undefined;

  constructor(code: TunnelErrorCode, message: string, options: ErrorOptions & ConfigPlace = {}) {
    super(message, options);
    this.name = 'TunnelError';
    this.code = code;
    this.file = options.file;
    this.line = options.line;
    this.field = options.field;
  }
}
