// wireonce/sessions: a whole WireGuard device without I/O: bytes and time in, bytes and events out.

export type { Memory, Room } from '../native/room.js';
export type { Admission, AdmissionAnswer, AdmittedPeer } from './admission.js';
export { type AllowedIp, AllowedIps } from './allowed-ips.js';
export {
  type AdmissionStats,
  Device,
  type DeviceOptions,
  type DeviceStats,
  type PeerInfo,
  type PeerOptions,
} from './device.js';
export { DROP_REASONS, type Drop, type DropReason } from './drops.js';
export { SessionError, type SessionErrorCode } from './errors.js';
export type { DeviceEvent, ForkPolicy, PeerAdmitted, PeerCloned, PeerEvicted } from './events.js';
export type { Clock, Endpoint, KeyMemory, Outbox, OutboxSlot, Sink } from './ports.js';
export type { ReceiveResult } from './receive.js';
export type { PeerRecovery, RecoveryStats } from './recovery.js';
export type { SendResult } from './send.js';
export type { DeviceSettings, SettledSettings } from './settings.js';
export { describePeerCloned } from './tripwire.js';
