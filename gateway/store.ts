// Who may be a peer of a gateway: the port to whatever remembers it. Small, so that a store of an operator's own, or one that
// several gateways share, fits behind it without a change above.
// Promises: what `put` and `remove` have answered is kept, whatever happens to the process then.
// Read on: admission.ts, who asks.

/** A peer as a store knows it. Keys are 32 bytes. */
export interface PeerRecord {
  readonly publicKey: Uint8Array;
  /** Inner addresses, each 4 or 16 bytes with its prefix length. */
  readonly allowedIps: readonly { readonly ip: Uint8Array; readonly prefix: number }[];
  /** Of a peer that an operator added with one. Absent: what the enrolment secret derives, or none. */
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

/** What stands between a gateway and the disk, or the network. Each call may fail by rejecting. */
export interface PeerStore {
  /** `undefined`: not known. A store on this machine may answer at once. */
  get(publicKey: Uint8Array): PeerRecord | undefined | Promise<PeerRecord | undefined>;
  /** Who has this very range. Two peers never have one. */
  ownerOf(range: {
    readonly ip: Uint8Array;
    readonly prefix: number;
  }): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Adds or replaces. Rejects with `ERR_ADDRESS_TAKEN` when a range is another peer's. */
  put(record: PeerRecord): Promise<void>;
  /** False: it was not there. */
  remove(publicKey: Uint8Array): Promise<boolean>;
  /** All, in no order that is promised. */
  list(): AsyncIterable<PeerRecord>;
  /** How many there are that are not revoked. */
  count(): number | Promise<number>;
  close(): Promise<void>;
}
