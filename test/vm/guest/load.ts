// When to send: bursts, back to back or with pauses in between.

export interface LoadOptions {
  /** Packets that are sent back to back. 0 ends the load. */
  readonly burst: number;
  /** Milliseconds from the end of one burst to the next. 0: one burst per turn of the event loop. */
  readonly pauseMs: number;
}

export class Load {
  readonly #send: (burst: number) => void;
  #options: LoadOptions = { burst: 0, pauseMs: 0 };
  #running = false;

  constructor(send: (burst: number) => void) {
    this.#send = send;
  }

  /** From the next burst on. */
  set(options: LoadOptions): void {
    this.#options = options;
    if (!this.#running) this.#run();
  }

  #run(): void {
    const { burst, pauseMs } = this.#options;
    this.#running = burst > 0;
    if (!this.#running) return;
    this.#send(burst);
    if (pauseMs > 0) setTimeout(() => this.#run(), pauseMs);
    else setImmediate(() => this.#run());
  }
}
