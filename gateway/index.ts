// Keys and addresses of their own for machines that are cloned, and the gateway that admits them.

export {
  GatewayAdmission,
  type GatewayAdmissionOptions,
  type GatewayEvent,
  type GatewayStats,
  REFUSALS,
  type Refusal,
} from './admission.js';
export { deriveAddress, derivePresharedKey, secretName } from './derive.js';
export { AddressTakenError, GatewayError, type GatewayErrorCode } from './errors.js';
export { type ExpireOptions, expirePeers } from './expire.js';
export { ENROLMENT_SECRET_BYTES, PREFIX_BYTES } from './lengths.js';
export { revoked } from './revoke.js';
export type { PeerChange, PeerLookup, PeerRecord, PeerStore } from './store.js';
export type { After } from './store-lookups.js';
export { FilePeerStore, type FileStoreOptions } from './stores/file.js';
export { MemoryPeerStore } from './stores/memory.js';
