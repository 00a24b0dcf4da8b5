// Who may be a peer of a gateway: the port to whatever remembers it. Small, so that a store of an operator's own, or one that
// several gateways share, fits behind it without a change above.
// Promises: what `update` has answered is kept, whatever happens to the process then.
// Read on: admission.ts, who asks; stores/ (in memory, in a file); tunnel/peer-store/ (at a URL).

import type { AllowedIp } from '../sessions/allowed-ips.js';

/** A peer as a store knows it. */
export interface PeerRecord {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Inner addresses. A store clears host bits and drops what stands there twice. */
  readonly allowedIps: readonly AllowedIp[];
  /** 32 bytes, of a peer that an operator added with one. Absent: what the enrolment secret derives, or none. */
  readonly presharedKey?: Uint8Array | undefined;
  /** The name of the enrolment secret that it was admitted under (`secretName`); absent: an operator added it. */
  readonly enrolledUnder?: string | undefined;
  /** Wall-clock milliseconds: admitted or added; last seen, 0 for never. */
  readonly admittedAt: number;
  readonly lastSeenAt: number;
  /** The TAI64N timestamp of the last initiation that was consumed, 12 bytes: an older one is a replay. */
  readonly latestTimestamp?: Uint8Array | undefined;
  /** Wall-clock milliseconds since when it is refused, though its secret is good. */
  readonly revokedAt?: number | undefined;
}

/** From what is known to what is to be kept: `known` itself changes nothing, `undefined` removes. */
export type PeerChange = (known: PeerRecord | undefined) => PeerRecord | undefined;

/** Whoever can be asked for a peer, such as a service of an operator's own. Each call may fail, by throwing or by rejecting. */
export interface PeerLookup {
  /** `undefined`: not known. Who is on this machine may answer at once. */
  get(publicKey: Uint8Array): PeerRecord | undefined | Promise<PeerRecord | undefined>;
  /** All calls after it fail with `ERR_STORE_CLOSED`. */
  close(): Promise<void>;
}

/** What remembers peers, on a disk or elsewhere. */
export interface PeerStore extends PeerLookup {
  /** Who has this very range. Two peers never have one. */
  ownerOf(range: AllowedIp): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /**
   * Reads, changes and writes as one step, whoever else writes at that time. `change` has no effects of its own, and may be
   * asked more than once. Resolves with what is kept, once it is. Nothing is changed when it fails: with
   * `ERR_ADDRESS_TAKEN` when a range is another peer's, `ERR_PEER_RECORD` when it is no record, or what `change` throws.
   * Many at once cost little more than one: await them together.
   */
  update(publicKey: Uint8Array, change: PeerChange): Promise<PeerRecord | undefined>;
  /** All, in no order that is promised; of what is changed meanwhile, one state or the other. */
  list(): AsyncIterable<PeerRecord>;
  /** How many there are that are not revoked. Costs the same for any number. */
  count(): number | Promise<number>;
}
