// What a device thread and the main thread say to each other. Keys travel in buffers that are moved, not copied.
// Datagrams go another way, by datagram-ring.ts: what is said here never waits behind them.
// Read on: ../device-thread.ts (the main thread's half), worker.ts (the device's).

import type { DeviceEvent } from '../../../sessions/events.js';
import type { Endpoint } from '../../../sessions/ports.js';
import type { SourceSelection } from '../../../vmgenid/detect.js';
import type { SharedState } from '../../../vmgenid/machine-state.js';
import type { ThreadSettings } from '../../config/daemon-config.js';
import type { FailedCall, TunnelErrorCode } from '../../errors.js';
import { TunnelError } from '../../errors.js';
import type { LinkEvent } from '../../linux/net/link-monitor.js';
import type { LoopReport, RecoveryReport } from '../../linux/device-loop.js';
import type { AdmissionQuestion, AdmissionVerdict } from './remote-admission.js';
import type { Enrolled, EnrolmentOrder, KeptIdentity, ToldIdentity } from '../../linux/enrolment.js';
import type { UapiAllowedIp, UapiChanges, UapiPeerState, UapiState } from '../uapi/types.js';
import { UapiError } from '../uapi/types.js';

/** What a worker is born with. */
export interface WorkerSettings {
  readonly tun: { readonly name: string; readonly mtu: number } | { readonly fd: number };
  /** An eventfd that belongs to the main thread. */
  readonly wakeFd: number;
  /** Rings for the datagrams of WebSockets: those that came in, and those that are to go out. */
  readonly arrivals: SharedArrayBuffer;
  readonly departures: SharedArrayBuffer;
  /** What both threads know of the machine, and the sources of which the worker opens the immediate ones for itself. */
  readonly machine: SharedState;
  readonly sources: SourceSelection;
  /** Path or descriptor of the kernel's log, if the main thread listens to it: it is told when a fork may stand there. */
  readonly kernelLog: string | number | undefined;
  readonly settings: ThreadSettings;
  /** The device is a gateway: it asks the main thread about static keys that no peer has. */
  readonly isGateway: boolean;
}

/** Asked of the device, and answered in order. */
export type Question =
  | { readonly kind: 'get' }
  /** `numbers`: by which of them each URL is known that is dialled. */
  | { readonly kind: 'set'; readonly changes: UapiChanges; readonly numbers: ReadonlyMap<string, number> }
  | { readonly kind: 'report' }
  | { readonly kind: 'recovery' }
  /** What the main thread dials under this number was lost, and is open again. */
  | { readonly kind: 'reopened'; readonly number: number }
  /**
   * Look at the machine, of which there is something new: answered when a fork, if there was one, has been responded to. A
   * seed that was drawn in this epoch parts it from its siblings.
   */
  | {
      readonly kind: 'look';
      readonly seed?: { readonly epoch: number; readonly bytes: Uint8Array } | undefined;
    }
  /** What is said of a caller that was asked about. The preshared key in it is a copy. */
  | { readonly kind: 'admit'; readonly number: number; readonly verdict: AdmissionVerdict }
  /** Take a peer away that was admitted, unless an operator has configured it since. */
  | { readonly kind: 'evict'; readonly publicKey: Uint8Array }
  /** The device is that of a clone. */
  | { readonly kind: 'enrol'; readonly order: EnrolmentOrder }
  /** What was asked for the key that it has drawn. */
  | {
      readonly kind: 'tellIdentity';
      readonly publicKey: Uint8Array;
      readonly told: ToldIdentity;
      readonly numbers: ReadonlyMap<string, number>;
    }
  | {
      readonly kind: 'setIdentity';
      readonly identity: KeptIdentity;
      readonly epoch: number;
      readonly numbers: ReadonlyMap<string, number>;
    }
  | { readonly kind: 'close' };

export interface ToWorker {
  readonly id: number;
  readonly question: Question;
}

export interface Answers {
  get: PackedState;
  /** URLs that are still in use by peers, and whether the device is on hold. */
  set: { readonly urls: readonly string[]; readonly held: boolean };
  report: LoopReport;
  recovery: RecoveryReport;
  reopened: undefined;
  look: undefined;
  admit: undefined;
  evict: undefined;
  enrol: undefined;
  /** False: it was for another key, or another epoch. */
  tellIdentity: boolean;
  setIdentity: boolean;
  close: undefined;
}

type WithText<E> = E extends unknown
  ? { readonly [K in keyof E]: E[K] extends Endpoint | undefined ? Exclude<E[K], Endpoint> | string : E[K] }
  : never;

/** A device's event, with its endpoints as text. */
export type ThreadDeviceEvent = WithText<DeviceEvent>;

export function toThreadEvent(event: DeviceEvent): ThreadDeviceEvent {
  const fields = Object.entries(event).map(([name, value]: [string, unknown]) => [
    name,
    isEndpoint(value) ? value.toString() : value,
  ]);
  return Object.fromEntries(fields) as ThreadDeviceEvent;
}

function isEndpoint(value: unknown): value is Endpoint {
  return typeof value === 'object' && value !== null && 'equals' in value;
}

export type FromWorker =
  | { readonly ready: { readonly name: string; readonly mtu: number } }
  | { readonly id: number; readonly answer: Answers[Question['kind']] }
  | { readonly id: number; readonly refused: Failure }
  | { readonly deviceEvent: ThreadDeviceEvent }
  | { readonly linkEvent: LinkEvent }
  /** Who is this? Answered by `admit`. */
  | { readonly admission: AdmissionQuestion }
  /** A clone is about to speak in this epoch. */
  | { readonly speaking: number }
  /** It speaks under an identity. */
  | { readonly enrolled: Enrolled }
  /** There are datagrams to go out. */
  | { readonly departing: true }
  /** There is room for datagrams that come in. */
  | { readonly roomForArrivals: true }
  /** A message of this connection was authenticated. */
  | { readonly proven: number }
  /** Look at the machine: it was forked, or the kernel's log may say so. */
  | { readonly look: true }
  | { readonly trouble: Failure }
  /** The thread is about to end: the interface is gone, or it was told to, or it failed. */
  | { readonly ended: 'gone' | 'closed' | Failure };

/** An error on its way to another thread. */
export interface Failure extends FailedCall {
  readonly message: string;
  readonly code: string | undefined;
  readonly errorNumber: number | undefined;
}

export function toFailure(error: unknown): Failure {
  const { message, code, call, errno, errorNumber } = error as Partial<UapiError> & Error;
  return { message: message ?? String(error), code, call, errno, errorNumber };
}

export function fromFailure(failure: Failure): Error {
  const { message, code, errorNumber } = failure;
  if (errorNumber !== undefined) return new UapiError(errorNumber, message);
  if (code === undefined) return new Error(message);
  return new TunnelError(code as TunnelErrorCode, message, failure);
}

interface PackedPeer extends Omit<UapiPeerState, 'allowedIps'> {
  readonly packedIps: Uint8Array;
}

/** A state whose address ranges lie in one buffer for each peer: a hundred thousand objects would be slow to move. */
export interface PackedState extends Omit<UapiState, 'peers'> {
  readonly peers: readonly PackedPeer[];
}

/** Each range: bytes of its address, prefix length, address. */
const RANGE_HEADER_BYTES = 2;

export function packState({ peers, ...rest }: UapiState): PackedState {
  return {
    ...rest,
    peers: peers.map(({ allowedIps, ...peer }) => ({ ...peer, packedIps: packRanges(allowedIps) })),
  };
}

export function unpackState({ peers, ...rest }: PackedState): UapiState {
  return {
    ...rest,
    peers: peers.map(({ packedIps, ...peer }) => ({ ...peer, allowedIps: unpackRanges(packedIps) })),
  };
}

/** Every buffer of a state, to be moved with it. */
export function buffersOfState({ privateKey, peers }: PackedState): ArrayBuffer[] {
  const buffers = peers.flatMap(({ packedIps, presharedKey }) => [packedIps.buffer, presharedKey.buffer]);
  if (privateKey) buffers.push(privateKey.buffer);
  return buffers as ArrayBuffer[];
}

/** Every buffer with a key in changes, to be moved with them. */
export function keyBuffersOf({ privateKey, peers }: UapiChanges): ArrayBuffer[] {
  return buffersOf([privateKey, ...peers.map(({ presharedKey }) => presharedKey)]);
}

/** Every buffer with a secret in an identity, or in what is told of one. */
export function identityBuffersOf({
  privateKey,
  told,
}: Pick<Enrolled, 'privateKey' | 'told'>): ArrayBuffer[] {
  return buffersOf([privateKey, ...(told?.peers ?? []).map(({ presharedKey }) => presharedKey)]);
}

/** Every buffer with a secret in an order, to be moved with it. */
export function orderBuffersOf({ derive, identity }: EnrolmentOrder): ArrayBuffer[] {
  return [...buffersOf([derive?.secret]), ...(identity ? identityBuffersOf(identity) : [])];
}

function buffersOf(keys: readonly (Uint8Array | undefined)[]): ArrayBuffer[] {
  return [...new Set(keys.filter(key => key !== undefined).map(key => key.buffer as ArrayBuffer))];
}

function packRanges(ranges: readonly UapiAllowedIp[]): Uint8Array {
  const bytes = ranges.reduce((sum, { ip }) => sum + RANGE_HEADER_BYTES + ip.length, 0);
  const packed = new Uint8Array(bytes);
  let at = 0;
  for (const { ip, prefix } of ranges) {
    packed[at] = ip.length;
    packed[at + 1] = prefix;
    packed.set(ip, at + RANGE_HEADER_BYTES);
    at += RANGE_HEADER_BYTES + ip.length;
  }
  return packed;
}

function unpackRanges(packed: Uint8Array): UapiAllowedIp[] {
  const ranges: UapiAllowedIp[] = [];
  for (let at = 0; at < packed.length; at += RANGE_HEADER_BYTES + packed[at]) {
    const ip = packed.subarray(at + RANGE_HEADER_BYTES, at + RANGE_HEADER_BYTES + packed[at]);
    ranges.push({ ip, prefix: packed[at + 1] });
  }
  return ranges;
}
