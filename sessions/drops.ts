// Why something was not processed. A peer's fault is a value, not an exception: counted, and never answered.
// Read on: docs/errors.md, which says for each reason what causes it.

/** Every reason to drop; docs/errors.md has a row for each. */
export const DROP_REASONS = [
  'malformed',
  'badMac1',
  'unknownIndex',
  'unknownPeer',
  'badTag',
  'replayedInitiation',
  'flooded',
  'replayedCounter',
  'reusedCounter',
  'expiredKeypair',
  'underLoad',
  'queueFull',
  'staleEpoch',
  'disallowedSource',
  'noRoute',
  'noEndpoint',
  'noPrivateKey',
  'stagedOverflow',
  'held',
  'notAdmitted',
  'admissionFailed',
  'addressTaken',
] as const;
/** One of `DROP_REASONS`. */
export type DropReason = (typeof DROP_REASONS)[number];

/** Why a datagram or a packet went no further. */
export interface Drop {
  readonly drop: DropReason;
}

/** One frozen value per reason, so that dropping allocates nothing. */
const VALUES = Object.fromEntries(
  DROP_REASONS.map(reason => [reason, Object.freeze({ drop: reason })]),
) as Record<DropReason, Drop>;

export class DropCounter {
  /** How often each reason occurred. */
  readonly counts = Object.fromEntries(DROP_REASONS.map(reason => [reason, 0])) as Record<DropReason, number>;

  /** Counts one and returns the value to answer with. */
  drop(reason: DropReason): Drop {
    this.counts[reason]++;
    return VALUES[reason];
  }
}
