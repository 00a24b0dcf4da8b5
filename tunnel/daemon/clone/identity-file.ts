// The identity of a clone on disk, with the generation that it belongs to: so a reboot keeps it, and a disk that was cloned
// while its machine was off enrols anew.
// Promises: a file is there whole or not at all, for its owner alone; one that is damaged, or that others may read, is
// refused with the reason; no text is made of the private key.
// Read on: clone.ts; vmgenid/evidence.ts (the generation).

import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { blake2s } from '@noble/hashes/blake2.js';
import { equalBytes, isZero } from '../../../native/bytes.js';
import { copySecret, secretBytes } from '../../../native/secret-bytes.js';
import { KEY_BYTES, type Suite, publicKeyOf } from '../../../protocol/suite.js';
import { VM_GEN_ID_BYTES } from '../../../vmgenid/generation.js';
import type { KeptIdentity, ToldIdentity } from '../../linux/enrolment.js';

/** An identity, and the generation (16 bytes) of the machine that it is of. */
export interface StoredIdentity extends KeptIdentity {
  readonly publicKey: Uint8Array;
  readonly generation: Uint8Array;
}

// magic, private key, checksum of all that follows, generation, public key, parent (zeros: none), since, what was told.
// The private key is vouched for by the public key, and so goes through no hash that would leave copies of it.
const MAGIC = Buffer.from('wireonce id 1\n\0\0');
const PRIVATE_KEY = MAGIC.length;
const CHECKSUM = PRIVATE_KEY + KEY_BYTES;
const GENERATION = CHECKSUM + KEY_BYTES;
const PUBLIC_KEY = GENERATION + VM_GEN_ID_BYTES;
const PARENT = PUBLIC_KEY + KEY_BYTES;
const SINCE = PARENT + KEY_BYTES;
const TOLD = SINCE + 8;
const MOST_BYTES = 1_048_576;
const OTHERS = 0o077;

/**
 * The generation (16 bytes) of a machine by the IDs of all its sources, of which a copy has another as soon as one is another;
 * undefined where there is none. Whichever of them showed a fork first makes no difference at the next start.
 */
export function generationOf(ids: readonly Uint8Array[]): Uint8Array | undefined {
  if (ids.length < 2) return ids[0];
  const hash = blake2s.create({ dkLen: VM_GEN_ID_BYTES });
  for (const id of ids) hash.update(id);
  return hash.digest();
}

/** Undefined: there is none. Throws an `Error` that says why the one that there is cannot be taken. */
export function readIdentity(path: string, suite: Suite): StoredIdentity | undefined {
  const bytes = readOwn(path);
  if (!bytes) return undefined;
  try {
    return parse(bytes, suite);
  } finally {
    bytes.fill(0);
  }
}

/** Throws what the system says; then the file is as it was. */
export function writeIdentity(path: string, identity: StoredIdentity): void {
  const bytes = format(identity);
  const temporary = unfinished(path);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    rmSync(temporary, { force: true });
    const fd = openSync(temporary, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
    try {
      // All of it, where one write may take a part.
      writeFileSync(fd, bytes);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    syncFolder(path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    bytes.fill(0);
  }
}

/** That there is none is no mistake. Throws what the system says. */
export function removeIdentity(path: string): void {
  const isThere = existsSync(path);
  for (const each of [unfinished(path), path]) rmSync(each, { force: true });
  if (isThere) syncFolder(path);
}

function unfinished(path: string): string {
  return `${path}.new`;
}

function syncFolder(path: string): void {
  const folder = openSync(dirname(path), constants.O_RDONLY);
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function format({ privateKey, publicKey, generation, parent, since, told }: StoredIdentity): Uint8Array {
  const rest = told ? serialize(told) : new Uint8Array(0);
  const bytes = secretBytes(TOLD + rest.length);
  bytes.set(MAGIC);
  bytes.set(privateKey, PRIVATE_KEY);
  bytes.set(generation, GENERATION);
  bytes.set(publicKey, PUBLIC_KEY);
  if (parent) bytes.set(parent, PARENT);
  new DataView(bytes.buffer).setFloat64(SINCE, since ?? 0, true);
  bytes.set(rest, TOLD);
  rest.fill(0);
  bytes.set(blake2s(bytes.subarray(GENERATION)), CHECKSUM);
  return bytes;
}

function parse(bytes: Uint8Array<ArrayBuffer>, suite: Suite): StoredIdentity {
  const isWhole =
    bytes.length >= TOLD &&
    equalBytes(bytes.subarray(0, PRIVATE_KEY), MAGIC) &&
    equalBytes(blake2s(bytes.subarray(GENERATION)), bytes.subarray(CHECKSUM, GENERATION));
  const publicKey = bytes.slice(PUBLIC_KEY, PARENT);
  const privateKey = bytes.subarray(PRIVATE_KEY, CHECKSUM);
  if (!isWhole || !equalBytes(publicKeyOf(suite, privateKey), publicKey)) throw new Error('it is damaged');
  const parent = bytes.slice(PARENT, SINCE);
  return {
    privateKey: copySecret(privateKey),
    publicKey,
    generation: bytes.slice(GENERATION, PUBLIC_KEY),
    parent: isZero(parent) ? undefined : parent,
    since: new DataView(bytes.buffer).getFloat64(SINCE, true),
    // Its arrays lie in that copy.
    told: bytes.length > TOLD ? (deserialize(copySecret(bytes.subarray(TOLD))) as ToldIdentity) : undefined,
  };
}

function readOwn(path: string): Uint8Array<ArrayBuffer> | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile() || stats.size > MOST_BYTES) throw new Error('it is damaged');
    if ((stats.mode & OTHERS) !== 0) throw new Error('others than its owner may read it');
    const bytes = secretBytes(stats.size);
    readSync(fd, bytes, 0, bytes.length, 0);
    return bytes;
  } finally {
    closeSync(fd);
  }
}
