// The size of a picture in WebP, as Chromium makes one.
// Read on: RFC 9649, 2.7 "Extended File Format".

/** Throws for another format. */
export function sizeOf(bytes: Buffer): { readonly width: number; readonly height: number } {
  const kind = bytes.toString('latin1', 8, 16);
  if (kind !== 'WEBPVP8X') throw new Error(`not a picture in WebP of the extended format: ${kind}`);
  return { width: bytes.readUIntLE(24, 3) + 1, height: bytes.readUIntLE(27, 3) + 1 };
}
