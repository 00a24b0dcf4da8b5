// The one error class of this folder. What a clone does wrong is no error: it is refused, and counted.

import type { AllowedIp } from '../sessions/allowed-ips.js';

/** The codes of `GatewayError`; docs/errors.md has a heading for each. */
export type GatewayErrorCode =
  | 'ERR_ENROLMENT_LENGTH'
  | 'ERR_ADDRESS_TAKEN'
  | 'ERR_PEER_RECORD'
  | 'ERR_STORE_UNAVAILABLE'
  | 'ERR_STORE_OPEN'
  | 'ERR_STORE_FOREIGN'
  | 'ERR_STORE_DAMAGED'
  | 'ERR_STORE_WRITE'
  | 'ERR_STORE_ANSWER'
  | 'ERR_STORE_CLOSED'
  | 'ERR_STORE_BUSY'
  | 'ERR_STORE_SILENT';

/** What this folder throws. `code` has a heading in docs/errors.md. */
export class GatewayError extends Error {
  readonly code: GatewayErrorCode;

  constructor(code: GatewayErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'GatewayError';
    this.code = code;
  }
}

/** `ERR_ADDRESS_TAKEN`: which range it is, and whose (32 bytes). */
export class AddressTakenError extends GatewayError {
  readonly range: AllowedIp;
  readonly owner: Uint8Array;

  constructor(range: AllowedIp, owner: Uint8Array) {
    super('ERR_ADDRESS_TAKEN', 'another peer has one of these addresses');
    this.range = range;
    this.owner = owner;
  }
}
