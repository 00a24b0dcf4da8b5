// When to send: bursts, back to back or with pauses in between.

export interface LoadOptions {
  /** Packets that are sent back to back. 0 ends the load. */
  readonly burst: number;
  /** Milliseconds from the end of one burst to the next. 0: one burst per turn of the event loop. */
  readonly pauseMs: number;
  /**
   * Hand packets to the system many at a time, to be split by whoever can (UDP_SEGMENT): the tunnel's interface gets them
   * joined, and so seals them as a batch. Default false.
   */
  readonly joined?: boolean;
  /** Instead of all this bulk TCP, as fast as it goes. Default false. */
  readonly tcp?: boolean;
}

export class Load {
  readonly #send: (burst: number, joined: boolean) => void;
  #options: LoadOptions = { burst: 0, pauseMs: 0 };
  #running = false;

  constructor(send: (burst: number, joined: boolean) => void) {
    this.#send = send;
  }

  /** From the next burst on. */
  set(options: LoadOptions): void {
    this.#options = options;
    if (!this.#running) this.#run();
  }

  #run(): void {
    const { burst, pauseMs, joined = false } = this.#options;
    this.#running = burst > 0;
    if (!this.#running) return;
    this.#send(burst, joined);
    if (pauseMs > 0) setTimeout(() => this.#run(), pauseMs);
    else setImmediate(() => this.#run());
  }
}
