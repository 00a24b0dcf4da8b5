// What may come very often, said seldom: once a minute each, with how often it came since.

/** Milliseconds within which one and the same is said once. */
const REPEAT_MS = 60_000;
/** Different ones remembered. */
const MAX_KNOWN = 256;

export class Seldom {
  readonly #now: () => number;
  readonly #known = new Map<string, { until: number; more: number }>();

  /** `now`: monotonic milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** `say` is called, or not. What it is given goes after the sentence: ` (and 7 times since this was last said)`, or nothing. */
  say(what: string, say: (more: string) => void): void {
    const now = this.#now();
    const known = this.#known.get(what);
    if (known && now < known.until) {
      known.more++;
      return;
    }
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(what, { until: now + REPEAT_MS, more: 0 });
    say(known && known.more > 0 ? ` (and ${known.more} times since this was last said)` : '');
  }
}
