// Memory for secrets: the one way to make it.
// Promises: off the engine's heap from birth, so that the bytes have one place, and `fill(0)` leaves none of them.
// Read on: V8's JSTypedArray::kMaxSizeInHeap; test/house/secrets.test.ts, which finds secrets that lie elsewhere.

/*
 * `new Uint8Array(32)` is born in the heap. The collector moves it and leaves the old bytes; so does whoever asks for its
 * address or its `buffer`, as a native library and `postMessage` do. A buffer made first has memory of its own.
 *
 * It costs a quarter of a microsecond more: what runs for every packet or in a flood keeps one array, and erases it.
 */

/** `length` zeros, for its owner to erase. */
export function secretBytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length));
}

/** A copy, for its owner to erase. */
export function copySecret(secret: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = secretBytes(secret.length);
  copy.set(secret);
  return copy;
}
