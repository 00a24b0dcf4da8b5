// Known answers, asked of a native suite before it carries a secret: it is a build of its own for each machine.
// Promises: a suite that passes has agreed with the reference on one answer of each kind and around the edges, and has
// refused a flipped bit and a low-order point.

import { equalBytes } from '../../native/bytes.js';
import { type Suite, TAG_BYTES } from '../suite.js';
import { openerOf, sealerOf } from '../batches.js';
import { nobleSuite } from './noble.js';

/** Plaintexts: none, less than a block, several, and enough for what vector units do with long messages. */
const LENGTHS = [0, 15, 100, 1424];
/** Enough to go round a ring of 256 jobs. */
const BATCHES = 12;
const MESSAGES = 24;
const COUNTER = [0x89ab_cdef, 0x0123_4567] as const;

const pattern = (length: number, step: number) => Uint8Array.from({ length }, (_, i) => step * i + 1);

/**
 * False, or whatever the library throws, when the suite must not be used. Only what it does by itself is tested: no
 * operations that are the reference's, and no batches where it has none.
 */
export function passesSelfTest(suite: Suite): boolean {
  const isOwn = (...operations: (keyof Suite)[]) =>
    operations.some(operation => suite[operation] !== nobleSuite[operation]);
  return (
    (!isOwn('seal', 'open') || LENGTHS.every(length => sealsAndOpens(suite, pattern(length, 3)))) &&
    (!isOwn('sealer', 'opener') || worksInBatches(suite)) &&
    (!isOwn('sealX', 'openX') || sealsAndOpensExtended(suite)) &&
    (!isOwn('publicKey', 'sharedSecret') || agrees(suite)) &&
    (!isOwn('hash', 'mac', 'hmac') || hashes(suite))
  );
}

function sealsAndOpens(suite: Suite, message: Uint8Array): boolean {
  const key = pattern(32, 7);
  return [undefined, pattern(32, 5)].every(aad => {
    const [ours, theirs] = [suite, nobleSuite].map(candidate => {
      const buffer = new Uint8Array(message.length + TAG_BYTES);
      buffer.set(message);
      candidate.seal(key, ...COUNTER, buffer, 0, message.length, aad);
      return buffer;
    });
    if (!equalBytes(ours, theirs)) return false;
    const open = () => suite.open(key, ...COUNTER, ours, 0, ours.length, aad);
    const opens = open() && equalBytes(ours.subarray(0, message.length), message);
    ours.set(theirs);
    ours[0] ^= 1;
    const refusesBody = !open();
    ours.set(theirs);
    ours[ours.length - 1] ^= 0x80;
    return opens && refusesBody && !open();
  });
}

/** Messages of several lengths, under two keys, and one of them changed on its way: by the suite's batches and one by one. */
function worksInBatches(suite: Suite): boolean {
  const keys = [pattern(32, 7), pattern(32, 9)];
  const plaintexts = Array.from({ length: MESSAGES }, (_, i) => pattern(LENGTHS[i % LENGTHS.length], i + 1));
  const [sealer, opener] = [sealerOf(suite), openerOf(suite)];
  const changed = 3;
  const worksOnce = (round: number): boolean => {
    const keyOf = (i: number) => keys[(i + round) % keys.length];
    const [together, alone] = [0, 1].map(() =>
      plaintexts.map(plaintext => {
        const buffer = new Uint8Array(plaintext.length + TAG_BYTES);
        buffer.set(plaintext);
        return buffer;
      }),
    );
    for (const [i, { length }] of plaintexts.entries()) {
      sealer.seal(keyOf(i), i, round, together[i], 0, length);
    }
    sealer.settle();
    for (const [i, { length }] of plaintexts.entries()) {
      suite.seal(keyOf(i), i, round, alone[i], 0, length);
    }
    const isSame = together.every((buffer, i) => equalBytes(buffer, alone[i]));
    together[changed][0] ^= 1;
    for (const [i, buffer] of together.entries()) {
      opener.open(keyOf(i), i, round, buffer, 0, buffer.length);
    }
    opener.settle();
    const isRight = (buffer: Uint8Array, i: number) =>
      i === changed
        ? !opener.isOpened(i)
        : opener.isOpened(i) && equalBytes(buffer.subarray(0, plaintexts[i].length), plaintexts[i]);
    return isSame && together.every(isRight);
  };
  return Array.from({ length: BATCHES }, (_, round) => round).every(worksOnce);
}

function sealsAndOpensExtended(suite: Suite): boolean {
  const [key, nonce, aad, message] = [pattern(32, 7), pattern(24, 11), pattern(16, 5), pattern(100, 3)];
  const sealed = suite.sealX(key, nonce, message, aad);
  if (!equalBytes(sealed, nobleSuite.sealX(key, nonce, message, aad))) return false;
  const opened = suite.openX(key, nonce, sealed, aad);
  sealed[0] ^= 1;
  const forged = suite.openX(key, nonce, sealed, aad);
  return opened !== undefined && equalBytes(opened, message) && forged === undefined;
}

function agrees(suite: Suite): boolean {
  const [key, other] = [pattern(32, 7), pattern(32, 3)];
  const [ours, theirs] = [suite, nobleSuite].map(candidate => {
    const point = new Uint8Array(32);
    const secret = new Uint8Array(32);
    candidate.publicKey(key, point);
    return candidate.sharedSecret(other, point, secret) ? { point, secret } : undefined;
  });
  const refusesZero = !suite.sharedSecret(key, new Uint8Array(32), new Uint8Array(32));
  return (
    ours !== undefined &&
    theirs !== undefined &&
    equalBytes(ours.point, theirs.point) &&
    equalBytes(ours.secret, theirs.secret) &&
    refusesZero
  );
}

function hashes(suite: Suite): boolean {
  const [key, message] = [pattern(32, 7), pattern(116, 3)];
  const [ours, theirs] = [suite, nobleSuite].map(candidate => {
    const outs = [32, 16, 32].map(length => new Uint8Array(length));
    candidate.hash(outs[0], key, message);
    candidate.mac(outs[1], key, message);
    candidate.hmac(outs[2], key, message);
    return outs;
  });
  return ours.every((out, i) => equalBytes(out, theirs[i]));
}
