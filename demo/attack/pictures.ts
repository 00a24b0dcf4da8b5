// Two pictures under one keystream, told apart. XOR of two ciphertexts is XOR of two pictures: both can be
// seen in it, and neither alone. Where one of the clones shows nothing but the public test card, that card
// takes its part out, and what is left is the other's picture; with that picture every XOR that it is in
// gives its partner.
// Promises: captured datagrams and a public picture go in. Nobody says which pair has the card: the eye's
// measure, roughness.

import { type Picture, PIECES, PIXELS, pieceOf } from '../picture.js';
import type { NonceReuse } from '../wiretap.js';
import { ciphertextOf, xor } from './keystream.js';

export interface SeparatedPictures {
  /** XOR of two pictures, from the ciphertexts alone. */
  readonly mixed: Picture;
  /** Both of them, the one that was found second before the other. */
  readonly pictures: readonly [Picture, Picture];
}

/** By the length of its datagrams everybody knows a picture. `piece`: any packet of one. */
export function separatePictures(
  reuses: readonly NonceReuse[],
  card: Picture,
  piece: Uint8Array,
): SeparatedPictures | undefined {
  const mixtures = mixturesOf(reuses, piece);
  const withCard = mixtures.find(mixture => roughness(xor(mixture, card)) < roughness(mixture) / 2);
  if (!withCard) return undefined;
  const found = xor(withCard, card);
  const mixed = mixtures.find(
    mixture => mixture !== withCard && roughness(xor(mixture, found)) < roughness(mixture),
  );
  return mixed && { mixed, pictures: [xor(mixed, found), found] };
}

/** XOR of each two pictures that met, in the order of their counters. */
function mixturesOf(reuses: readonly NonceReuse[], piece: Uint8Array): Picture[] {
  const { byteOffset = 0 } = pieceOf(piece)?.pixels ?? {};
  const [at, length] = [byteOffset - piece.byteOffset, piece.length];
  const pairs = reuses
    .filter(({ first, second }) => [first, second].every(each => isAsLong(each, length)))
    .toSorted((a, b) => Number(a.counter - b.counter));
  return Array.from({ length: Math.floor(pairs.length / PIECES) }, (_, picture) => {
    const mixture = new Uint8Array(PIXELS);
    for (let i = 0; i < PIECES; i++) {
      const { first, second } = pairs[picture * PIECES + i];
      const mixed = xor(ciphertextOf(first), ciphertextOf(second)).subarray(at, length);
      mixture.set(mixed, i * mixed.length);
    }
    return mixture;
  });
}

function isAsLong(datagram: Uint8Array, length: number): boolean {
  return ciphertextOf(datagram).length === Math.ceil(length / 16) * 16;
}

/** How much neighbours differ, on the average. */
function roughness(picture: Picture): number {
  let sum = 0;
  for (let i = 1; i < picture.length; i++) sum += Math.abs(picture[i] - picture[i - 1]);
  return sum / picture.length;
}
