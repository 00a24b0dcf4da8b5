// OpenSSL's generator in the hands of a test: a method of its own in OpenSSL's place, whose state can be saved and put
// back. What a clone inherits is that state, and whatever Node has drawn ahead.
// Read on: OpenSSL RAND_set_rand_method(3).

import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;

/** Six function pointers: seed, bytes, cleanup, add, pseudorand, status. */
const METHOD_BYTES = 48;

const hash = (...parts: readonly (string | Uint8Array)[]) => {
  const sha = createHash('sha256');
  for (const part of parts) sha.update(part);
  return sha.digest();
};

export class OpenSslMethod {
  /** All that it has given, in order. */
  readonly given: Uint8Array[] = [];
  /** All that was seeded. */
  readonly seeds: Uint8Array[] = [];
  state: Uint8Array = new Uint8Array(32);
  readonly #callbacks: ReturnType<typeof koffi.register>[];
  readonly #method = new Uint8Array(new ArrayBuffer(METHOD_BYTES));
  readonly #set = koffi.load(null).func('RAND_set_rand_method', 'int', ['uintptr_t']);

  /** In force until `restore`. Only for draws on the main thread. */
  constructor() {
    const registered = (parameters: readonly string[], act: (...values: never[]) => number) =>
      koffi.register(act, koffi.pointer(koffi.proto('int', parameters as string[])));
    const seed = registered(['uint8_t *', 'int'], (from: unknown, length: number) => {
      this.#mix(new Uint8Array(koffi.view(from, length)).slice());
      return 1;
    });
    const add = registered(['uint8_t *', 'int', 'double'], (from: unknown, length: number) => {
      this.#mix(new Uint8Array(koffi.view(from, length)).slice());
      return 1;
    });
    const bytes = registered(['uint8_t *', 'int'], (into: unknown, length: number) => {
      new Uint8Array(koffi.view(into, length)).set(this.#draw(length));
      return 1;
    });
    const status = registered([], () => 1);
    this.#callbacks = [seed, add, bytes, status];
    const pointers = new DataView(this.#method.buffer);
    for (const [i, callback] of [seed, bytes, undefined, add, bytes, status].entries()) {
      if (callback) pointers.setBigUint64(8 * i, koffi.address(callback), true);
    }
    this.#set(koffi.address(this.#method));
  }

  /** OpenSSL's own generator again. */
  restore(): void {
    this.#set(0);
    for (const callback of this.#callbacks.splice(0)) koffi.unregister(callback);
  }

  #mix(bytes: Uint8Array): void {
    this.seeds.push(bytes);
    this.state = hash('seed', this.state, bytes);
  }

  #draw(length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let at = 0; at < length; at += 32) {
      out.set(hash('out', this.state).subarray(0, length - at), at);
      this.state = hash('next', this.state);
    }
    this.given.push(out.slice());
    return out;
  }
}
