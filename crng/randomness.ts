// What the floors above ask of a generator of random numbers. The Crng is one; a test brings its own.

/** A generator whose output two clones of one machine never share. */
export interface Randomness {
  /** Fills `into`. Throws `CrngError` (`ERR_CRNG_NOT_FRESH`) while clones could still draw the same bytes. */
  fill(into: Uint8Array): void;
  /** A uniform 32-bit unsigned integer. Throws as `fill`. */
  uint32(): number;
  /** A uniform integer in [0, bound), 1 <= bound <= 2^32. Throws as `fill`. */
  below(bound: number): number;
  /**
   * The freshness barrier: has this clone got entropy that its siblings lack? True on a machine that was never
   * forked. No ephemeral key is made while it is false.
   */
  isFresh(): boolean;
}
