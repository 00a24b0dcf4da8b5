// Any history of a store, held against a plain map; one in a file is closed and opened again in between.

import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PeerRecord } from '../../../gateway/store.js';
import { STORES, addressOf, inFolder, keyOf, listed, put } from './stores.js';

/** Few, so that they meet. */
const PEERS = 6;
const ADDRESSES = 8;

const number = fc.integer({ min: 0, max: PEERS - 1 });
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const time = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const range = fc.oneof(
  fc.integer({ min: 0, max: ADDRESSES - 1 }).map(addressOf),
  fc.record({ ip: fc.constant(Uint8Array.of(10, 0, 0, 0)), prefix: fc.integer({ min: 7, max: 11 }) }),
);
const record = fc.record(
  {
    n: number,
    allowedIps: fc.uniqueArray(range, {
      maxLength: 3,
      selector: ({ ip, prefix }) => `${ip.join()}/${prefix}`,
    }),
    presharedKey: bytes(32),
    enrolledUnder: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
    admittedAt: time,
    lastSeenAt: time,
    latestTimestamp: bytes(12),
    revokedAt: time,
  },
  { requiredKeys: ['n', 'allowedIps', 'admittedAt', 'lastSeenAt'] },
);
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: record.map(({ n, ...rest }) => ({
      kind: 'put' as const,
      put: { ...rest, publicKey: keyOf(n) },
    })),
  },
  { weight: 2, arbitrary: number.map(n => ({ kind: 'remove' as const, key: keyOf(n) })) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('seen' as const), key: number.map(keyOf), at: time }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'reopen' as const }) },
);

const id = (key: Uint8Array) => key.join();
const rangeId = ({ ip, prefix }: PeerRecord['allowedIps'][number]) => `${ip.join()}/${prefix}`;

describe.each(STORES)('a store $name', ({ open, lasts }) => {
  it('is a map in which no range is twice', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async steps => {
        await inFolder(async folder => {
          const place = join(folder, 'peers');
          const model = new Map<string, PeerRecord>();
          const ownerOf = (wanted: PeerRecord['allowedIps'][number]) =>
            [...model.values()].find(({ allowedIps }) =>
              allowedIps.some(each => rangeId(each) === rangeId(wanted)),
            )?.publicKey;
          let store = await open(place);
          for (const each of steps) {
            if (each.kind === 'put') {
              const { publicKey, allowedIps } = each.put;
              const isTaken = allowedIps.some(wanted => id(ownerOf(wanted) ?? publicKey) !== id(publicKey));
              const done = put(store, each.put);
              if (isTaken) await expect(done).rejects.toMatchObject({ code: 'ERR_ADDRESS_TAKEN' });
              else {
                await done;
                model.set(id(publicKey), each.put);
              }
            } else if (each.kind === 'remove') {
              await store.update(each.key, () => undefined);
              model.delete(id(each.key));
            } else if (each.kind === 'seen') {
              const seen = (known: PeerRecord | undefined) => known && { ...known, lastSeenAt: each.at };
              const kept = seen(model.get(id(each.key)));
              expect(await store.update(each.key, seen)).toEqual(kept);
              if (kept) model.set(id(each.key), kept);
            } else if (lasts) {
              await store.close();
              store = await open(place);
            }
          }
          const sorted = [...model.values()].toSorted((a, b) => Buffer.compare(a.publicKey, b.publicKey));
          expect(await listed(store)).toEqual(sorted);
          expect(await store.count()).toBe(sorted.filter(({ revokedAt }) => revokedAt === undefined).length);
          for (let n = 0; n < PEERS; n++) expect(await store.get(keyOf(n))).toEqual(model.get(id(keyOf(n))));
          for (let n = 0; n < ADDRESSES; n++)
            expect(await store.ownerOf(addressOf(n))).toEqual(ownerOf(addressOf(n)));
          await store.close();
        });
      }),
      { numRuns: lasts ? 60 : 300 },
    );
  });
});
