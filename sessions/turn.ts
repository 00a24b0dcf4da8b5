// A turn: one call into a device, or what lies between `cork` and `uncork`. Here what its steps share.
// Promises: the generation is read once before anything depends on it; nothing outside of the device hears of what a turn
// does before the turn is over, so that whoever calls back begins one of his own.
// Read on: device.ts, where turns begin and end; docs/architecture.md "The device as a turn".

/*
 *   begin     a call, or `cork`
 *   enter     one look at the generation, and at the clock: when something first depends on them
 *   work      state changes; what is to be sent later in the turn is wished for (wishes.ts)
 *   pump      wishes become messages, in their order, within a bound (pump.ts)
 *   release   all is sealed, one look at the generation, and what bears another epoch is zeroed (release.ts)
 *   hand out  events and packets (handout.ts)
 *
 * Only a draw of randomness looks at the generation in between. It may find a fork, and the notifier chain then has this
 * device respond, and others call it: so whoever draws does that first, and looks anew at what he relied on.
 */

export class Turn {
  #depth = 0;
  /** Whether generation and clock were read in this turn, with somebody to vouch for the generation. */
  hasEntered = false;
  /** Monotonic milliseconds at the last entrance. */
  now = 0;

  get isOpen(): boolean {
    return this.#depth > 0;
  }

  /** A call within a turn is part of it. */
  begin(): void {
    this.#depth++;
  }

  /** Whether it goes on when this call ends. */
  get isNested(): boolean {
    return this.#depth > 1;
  }

  end(): void {
    this.#depth--;
    if (this.#depth === 0) this.hasEntered = false;
  }
}
