// Memory that threads may share, where there are threads to share it.

/**
 * `byteLength` zeros. A page that is not isolated from others (no COOP and COEP headers) has no SharedArrayBuffer, and no
 * thread of ours to share it with: there it is memory of its own.
 */
export function sharedMemory(byteLength: number): SharedArrayBuffer | ArrayBuffer {
  return typeof SharedArrayBuffer === 'undefined'
    ? new ArrayBuffer(byteLength)
    : new SharedArrayBuffer(byteLength);
}
