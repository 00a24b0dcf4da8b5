// Questions that wait for their answers: each has a number, and all of them fail when the other side ends.

interface Waiter {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class Calls {
  readonly #waiting = new Map<number, Waiter>();
  #ended: Error | undefined;
  #last = 0;

  /** Sends with a number of its own, and waits for the answer to that number. */
  ask<T>(what: string, timeoutMs: number, send: (id: number) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      const id = ++this.#last;
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`no answer in ${timeoutMs} ms: ${what}`));
      }, timeoutMs);
      this.#waiting.set(id, {
        resolve: value => {
          clearTimeout(timer);
          resolve(value as T);
        },
        reject: error => {
          clearTimeout(timer);
          reject(new Error(`${what}: ${error.message}`, { cause: error }));
        },
      });
      send(id);
    });
  }

  answer(id: number, outcome: { result?: unknown; error?: string }): void {
    const waiter = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (outcome.error === undefined) waiter?.resolve(outcome.result);
    else waiter?.reject(new Error(outcome.error));
  }

  end(error: Error): void {
    this.#ended = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
