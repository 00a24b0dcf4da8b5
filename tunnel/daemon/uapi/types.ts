// What passes between the UAPI's text and a device: the state that `get` shows and the changes that `set` asks for.
// Promises: plain data without text; numbers in the units named; an error's number is positive here, whatever sign
// the wire wants (format.ts knows).
// Read on: wireguard.com/xplatform, "Configuration Protocol"; wireguard-go device/uapi.go.

import { constants } from 'node:os';
import { TunnelError } from '../../errors.js';
import type { DrillAnswer } from '../drill.js';
import type { DeviceStatus } from '../status.js';

const SYSTEM = constants.errno;

/** The system's numbers of the errors that a request may be answered with. All but `E2BIG` are those of wireguard-go. */
export const ERRNO = {
  /** 5: a line longer than any key and value can be. */
  EIO: SYSTEM.EIO,
  /** 7: a request larger than the limits. */
  E2BIG: SYSTEM.E2BIG,
  /** 22: a key that is unknown or out of place, or a value that is none. */
  EINVAL: SYSTEM.EINVAL,
  /** The backend failed and gave no number: wireguard-go's "other UAPI error", 55 on every system. */
  ENOANO: 55,
  /** 71 on Linux: a line without `=`, or a request that ends in its midst. */
  EPROTO: SYSTEM.EPROTO,
  /** 98 on Linux: the backend's answer when the listen port is taken. */
  EADDRINUSE: SYSTEM.EADDRINUSE,
} as const;

/** A request refused. A backend throws one to choose the number that its client reads. */
export class UapiError extends TunnelError {
  /** The system's error number, positive: 22 for EINVAL. Its name is in `errno`, where the system has one. */
  readonly errorNumber: number;

  constructor(errorNumber: number, message: string, options: ErrorOptions = {}) {
    const errno = Object.entries(SYSTEM).find(([, number]) => number === errorNumber)?.[0];
    super('ERR_UAPI_REQUEST', message, { ...options, errno });
    this.name = 'UapiError';
    this.errorNumber = errorNumber;
  }
}

/** A range of addresses: 4 or 16 bytes and the number of bits that count. Host bits may be set. */
export interface UapiAllowedIp {
  readonly ip: Uint8Array;
  readonly prefix: number;
}

export interface UapiPeerState {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 32 bytes; zeros without one. */
  readonly presharedKey: Uint8Array;
  /** `192.0.2.1:51820`, `[2001:db8::1]:51820`, or a WebSocket URL. */
  readonly endpoint?: string | undefined;
  /** Seconds; 0 is off. */
  readonly persistentKeepalive: number;
  readonly allowedIps: readonly UapiAllowedIp[];
  /** Wall-clock milliseconds since 1970; 0 before the first handshake. */
  readonly lastHandshakeAt: number;
  readonly rxBytes: number;
  readonly txBytes: number;
}

export interface UapiState {
  /** 32 bytes; absent or zeros without one. */
  readonly privateKey?: Uint8Array | undefined;
  /** 0 while the device is not bound. */
  readonly listenPort: number;
  /** 0 is off. */
  readonly fwMark: number;
  readonly peers: readonly UapiPeerState[];
}

/** An address to send to, or a URL to dial: an extension that `wg` never sends. */
export type UapiEndpoint =
  | {
      readonly ip: Uint8Array;
      /** 1..65535. */
      readonly port: number;
      /** The interface of a link-local IPv6 address, by name or number. */
      readonly scope?: string;
    }
  | { readonly url: string };

export interface UapiAllowedIpChange extends UapiAllowedIp {
  /** Take the range from this peer, if it is this peer's. */
  readonly remove: boolean;
}

/** What is absent stays as it is. Apply in this order: replaceAllowedIps, then allowedIps one by one. */
export interface UapiPeerChange {
  readonly publicKey: Uint8Array;
  /** Remove the peer; nothing else is set then. */
  readonly remove: boolean;
  /** Do nothing at all when there is no such peer. */
  readonly updateOnly: boolean;
  /** 32 bytes; zeros clear it. */
  readonly presharedKey?: Uint8Array;
  readonly endpoint?: UapiEndpoint;
  /** Seconds, 0..65535; 0 turns it off. */
  readonly persistentKeepalive?: number;
  /** Take every range from the peer before `allowedIps`. */
  readonly replaceAllowedIps: boolean;
  readonly allowedIps: readonly UapiAllowedIpChange[];
}

/**
 * One whole valid `set`. Apply in this order: the three settings, replacePeers, the peers one by one, then forgetRefusals.
 */
export interface UapiChanges {
  /** 32 bytes, clamped; zeros clear it. */
  readonly privateKey?: Uint8Array;
  /** 0 lets the system choose. */
  readonly listenPort?: number;
  readonly fwMark?: number;
  /** Remove every peer before `peers`. */
  readonly replacePeers: boolean;
  /** Ask anew for who was not admitted: an extension that `wg` never sends. */
  readonly forgetRefusals?: true;
  /** In the order of the request. One public key may come several times. */
  readonly peers: readonly UapiPeerChange[];
}

/**
 * The device behind the UAPI. Calls never overlap. A peer with the device's own key is the backend's to ignore.
 */
export interface UapiBackend {
  /**
   * The state, as data that later changes of the device leave alone: a slow reader may take its time. The keys in it are
   * erased when it was sent: give copies.
   */
  get(): Promise<UapiState> | UapiState;
  /**
   * Applies all changes or none. Throws `UapiError` to refuse; the `errno` of any other error, or of its cause,
   * counts too, as a name or a number. The keys in `changes` are erased when this has returned or settled: copy what
   * must stay.
   */
  set(changes: UapiChanges): Promise<void> | void;
  /** What `get` has no words for. Without it `status=1` is no operation of this daemon. */
  status?(): Promise<DeviceStatus> | DeviceStatus;
  /** Does what follows a fork. Without it `drill=1` is no operation of this daemon. */
  drill?(): Promise<DrillAnswer> | DrillAnswer;
}
