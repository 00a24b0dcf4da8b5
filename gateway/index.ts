// Keys and addresses of their own for machines that are cloned, and the gateway that admits them.

export { ENROLMENT_SECRET_BYTES, PREFIX_BYTES, deriveAddress, derivePresharedKey } from './derive.js';
export { GatewayError, type GatewayErrorCode } from './errors.js';
export type { PeerRecord, PeerStore } from './store.js';
