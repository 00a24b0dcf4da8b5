// `wireonce peers add`, `remove` and `expire`: who may be a peer of a gateway.
// Promises: what is said to be done is on the disk, and the daemon knows; an older sighting never takes the place of a later one.
// Read on: gateway/store.ts; place.ts.

import { manyAtOnce } from '../../gateway/at-once.js';
import { expirePeers } from '../../gateway/expire.js';
import { revoked } from '../../gateway/revoke.js';
import type { PeerRecord, PeerStore } from '../../gateway/store.js';
import type { AllowedIp } from '../../sessions/allowed-ips.js';
import { encodeKey } from '../../tunnel/keys.js';
import { CliError } from '../errors.js';
import { plural } from '../../tunnel/daemon/human.js';
import { type CliIo, printLine } from '../io.js';
import { readPresharedKey } from './key-file.js';
import { type PlaceOptions, loadedPeers, peerProblem, tellDaemon, withStore } from './place.js';

/** So many changes share a wait for the disk. */
const AT_ONCE = 1_000;

export interface AddOptions extends PlaceOptions {
  /** May be left out for one that is there. */
  readonly allowedIps?: readonly AllowedIp[];
  readonly presharedKeyFile?: string;
}

export interface RemoveOptions extends PlaceOptions {
  /** Every peer that enrolled under the secret of this name. */
  readonly secret?: string;
  /** Leave no revocation: it may enrol again. */
  readonly forget?: boolean;
}

export interface ExpireOptions extends PlaceOptions {
  /** Milliseconds. */
  readonly olderThan: number;
  /** Those too that were added, and have not enrolled. */
  readonly added?: boolean;
}

/**
 * Adds a peer, or changes of one that is there what is said; whose revocation ends is as one that was added. Throws
 * `ERR_CLI_INPUT` when one of the addresses is another peer's, when there are none, or for the file.
 */
export async function addPeer(
  io: CliIo,
  name: string,
  publicKey: Uint8Array,
  options: AddOptions,
): Promise<number> {
  const { allowedIps, presharedKeyFile, now = Date.now } = options;
  const presharedKey = presharedKeyFile === undefined ? undefined : readPresharedKey(io, presharedKeyFile);
  let wasKnown = false;
  try {
    await withStore(name, options, true, store =>
      store.update(publicKey, known => {
        wasKnown = known !== undefined;
        const { admittedAt = now(), lastSeenAt = 0, latestTimestamp } = known ?? {};
        const stays = known?.revokedAt === undefined ? known : undefined;
        if (!allowedIps && !stays)
          throw new CliError(
            'ERR_CLI_INPUT',
            `${encodeKey(publicKey)} is not there: a new peer wants --allowed-ips`,
          );
        return {
          publicKey,
          allowedIps: allowedIps ?? stays?.allowedIps ?? [],
          presharedKey: presharedKey ?? stays?.presharedKey,
          // A preshared key of an operator's takes the place of the derived one.
          enrolledUnder: presharedKey ? undefined : stays?.enrolledUnder,
          admittedAt,
          lastSeenAt,
          latestTimestamp,
        };
      }),
    );
  } catch (error) {
    const problem = peerProblem(error);
    throw problem === undefined ? error : new CliError('ERR_CLI_INPUT', problem, { cause: error });
  } finally {
    presharedKey?.fill(0);
  }
  // One that is loaded comes anew, with what it has now.
  await tellDaemon(name, options, [publicKey]);
  printLine(io.stdout, `${wasKnown ? 'changed' : 'added'} ${encodeKey(publicKey)}`);
  return 0;
}

/**
 * Takes peers out. Of one that could enrol again a revocation stays. Throws `ERR_CLI_INPUT` when one is not there; the others
 * are done.
 */
export async function removePeers(
  io: CliIo,
  name: string,
  keys: readonly Uint8Array[],
  options: RemoveOptions,
): Promise<number> {
  const { secret, forget = false, now = Date.now } = options;
  const left = (known: PeerRecord | undefined) =>
    known && !forget && known.enrolledUnder !== undefined ? revoked(known, now()) : undefined;
  const removed: Uint8Array[] = [];
  const unknown: Uint8Array[] = [];
  await withStore(name, options, false, async store => {
    const remove = async (publicKey: Uint8Array) => {
      let wasKnown = false;
      const kept = await store.update(publicKey, known => {
        wasKnown = known !== undefined;
        return left(known);
      });
      (wasKnown ? removed : unknown).push(publicKey);
      if (wasKnown) printLine(io.stdout, `${kept ? 'revoked' : 'removed'} ${encodeKey(publicKey)}`);
    };
    if (secret === undefined) await Promise.all(keys.map(remove));
    else
      await manyAtOnce(enrolledUnder(store, secret, forget), AT_ONCE, ({ publicKey }) => remove(publicKey));
  });
  await tellDaemon(name, options, removed);
  if (secret !== undefined && removed.length === 0)
    throw new CliError('ERR_CLI_INPUT', `no peer of ${name} has enrolled under ${secret}`);
  if (unknown.length > 0)
    throw new CliError('ERR_CLI_INPUT', `no such peer: ${unknown.map(encodeKey).join(', ')}`);
  return 0;
}

/** Removes who was not seen for so long and is not connected now. */
export async function expire(io: CliIo, name: string, options: ExpireOptions): Promise<number> {
  const before = (options.now ?? Date.now)() - options.olderThan;
  const connected = new Set<string>();
  for (const { publicKey, lastHandshakeAt } of await loadedPeers(name, options))
    if (lastHandshakeAt >= before) connected.add(encodeKey(publicKey));
  const expired = await withStore(name, options, false, store =>
    expirePeers(store, {
      before,
      spare: ({ publicKey }) => connected.has(encodeKey(publicKey)),
      added: options.added ?? false,
    }),
  );
  await tellDaemon(name, options, expired);
  printLine(io.stdout, `${plural(expired.length, 'peer')} expired`);
  return 0;
}

async function* enrolledUnder(
  store: PeerStore,
  secret: string,
  revokedToo: boolean,
): AsyncGenerator<PeerRecord> {
  for await (const record of store.list())
    if (record.enrolledUnder === secret && (revokedToo || record.revokedAt === undefined)) yield record;
}
