// Waiting for something that may happen: until it has, until the time is over, or until the user interrupts.

export class Bell {
  #wake: (() => void) | undefined;

  /** Call when the condition that somebody waits for may have come true. */
  ring(): void {
    this.#wake?.();
  }

  /** Resolves when `condition` holds after a ring, after `ms` milliseconds or at the signal: with the condition. */
  async wait(condition: () => boolean, ms: number, signal: AbortSignal): Promise<boolean> {
    if (condition() || signal.aborted) return condition();
    await new Promise<void>(resolve => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done);
      this.#wake = () => condition() && done();
    });
    return condition();
  }
}
