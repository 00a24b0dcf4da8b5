// What every store promises, whatever is behind it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expirePeers } from '../../../gateway/expire.js';
import { revoked } from '../../../gateway/revoke.js';
import type { PeerRecord, PeerStore } from '../../../gateway/store.js';
import { STORES, addressOf, keyOf, listed, peer, put } from './stores.js';

const FULL: PeerRecord = {
  publicKey: keyOf(7),
  allowedIps: [
    { ip: Uint8Array.of(10, 0, 0, 0), prefix: 8 },
    { ip: Uint8Array.of(0, 0, 0, 0), prefix: 0 },
    addressOf(7),
  ],
  presharedKey: new Uint8Array(32).fill(9),
  enrolledUnder: '\uFEFFa name, with ümlauts',
  admittedAt: 1,
  lastSeenAt: Number.MAX_SAFE_INTEGER,
  latestTimestamp: Uint8Array.from({ length: 12 }, (_, i) => i),
  revokedAt: 3,
};

describe.each(STORES)('a store $name', ({ open }) => {
  let folder: string;
  let store: PeerStore;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'wireonce-store-'));
    store = await open(join(folder, 'peers'));
  });
  afterEach(async () => {
    rmSync(folder, { recursive: true, force: true });
    await store.close();
  });

  it('keeps copies, also of Buffers, whose slice shares their memory', async () => {
    const publicKey = Buffer.from(keyOf(1));
    const latestTimestamp = Buffer.alloc(12, 3);
    const record = peer(1, { latestTimestamp: new Uint8Array(latestTimestamp) });
    const kept = store.update(publicKey, () => ({
      ...record,
      publicKey: Buffer.from(keyOf(1)),
      latestTimestamp,
    }));
    publicKey.fill(0);
    await kept;
    latestTimestamp.fill(0);
    expect(await store.get(keyOf(1))).toEqual(record);
    expect(await store.ownerOf(record.allowedIps[0])).toEqual(keyOf(1));
  });

  it('knows nobody at first', async () => {
    expect(await store.get(keyOf(1))).toBeUndefined();
    expect(await store.ownerOf(addressOf(1))).toBeUndefined();
    expect(await store.count()).toBe(0);
    expect(await listed(store)).toEqual([]);
  });

  it.each([
    ['all that there may be', FULL],
    ['as little as there may be', { publicKey: keyOf(7), allowedIps: [], admittedAt: 0, lastSeenAt: 0 }],
  ])('gives back %s of a record', async (_, record) => {
    expect(await put(store, record)).toEqual(record);
    expect(await store.get(record.publicKey)).toEqual(record);
    expect(await listed(store)).toEqual([record]);
  });

  it('keeps a copy: what is done to the bytes that were given, or that it gave, changes nothing in it', async () => {
    const given = structuredClone(FULL);
    const kept = await put(store, given);
    const got = await store.get(FULL.publicKey);
    const [once] = await listed(store);
    for (const record of [given, kept, got, once])
      for (const bytes of [
        record?.publicKey,
        record?.presharedKey,
        record?.latestTimestamp,
        record?.allowedIps[0].ip,
      ])
        bytes?.fill(0xee);
    (await store.ownerOf(addressOf(7)))?.fill(0xee);
    expect(await store.get(FULL.publicKey)).toEqual(FULL);
    expect(await store.ownerOf(addressOf(7))).toEqual(FULL.publicKey);
  });

  it('has one form of a range: host bits are none of it, and twice is once', async () => {
    const ip = (last: number) => Uint8Array.of(10, 1, 2, last);
    await put(
      store,
      peer(1, {
        allowedIps: [
          { ip: ip(3), prefix: 24 },
          { ip: ip(9), prefix: 24 },
        ],
      }),
    );
    expect((await store.get(keyOf(1)))?.allowedIps).toEqual([{ ip: ip(0), prefix: 24 }]);
    expect(await store.ownerOf({ ip: ip(77), prefix: 24 })).toEqual(keyOf(1));
    // Another length is another range.
    expect(await store.ownerOf({ ip: ip(0), prefix: 25 })).toBeUndefined();
    await expect(put(store, peer(2, { allowedIps: [{ ip: ip(4), prefix: 24 }] }))).rejects.toMatchObject({
      code: 'ERR_ADDRESS_TAKEN',
    });
  });

  it('two peers never have one range; a refused one changes nothing, whatever came with it', async () => {
    await put(store, peer(1));
    const taken = put(store, peer(2, { allowedIps: [addressOf(2), addressOf(1)] }));
    await expect(taken).rejects.toMatchObject({
      code: 'ERR_ADDRESS_TAKEN',
      range: addressOf(1),
      owner: keyOf(1),
    });
    expect(await store.get(keyOf(2))).toBeUndefined();
    expect(await store.ownerOf(addressOf(2))).toBeUndefined();
    // Asked for at once, one of them gets it.
    const both = [3, 4].map(n => put(store, peer(n, { allowedIps: [addressOf(9)] })));
    const outcomes = await Promise.allSettled(both);
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(await store.count()).toBe(2);
  });

  it('an address is free when its peer has another, is revoked or is gone', async () => {
    await put(store, peer(1));
    await put(store, peer(1, { allowedIps: [addressOf(5)] }));
    await put(store, peer(2, { allowedIps: [addressOf(1)] }));
    await store.update(keyOf(2), known => known && revoked(known, 5));
    await put(store, peer(3, { allowedIps: [addressOf(1)] }));
    await store.update(keyOf(3), () => undefined);
    await put(store, peer(4, { allowedIps: [addressOf(1)] }));
    expect(await store.ownerOf(addressOf(1))).toEqual(keyOf(4));
  });

  it('counts who is not revoked', async () => {
    await Promise.all([1, 2, 3].map(n => put(store, peer(n))));
    await store.update(keyOf(2), known => known && revoked(known, 5));
    expect(await store.count()).toBe(2);
    await store.update(keyOf(2), known => known && revoked(known, 6));
    await store.update(keyOf(1), () => undefined);
    await store.update(keyOf(1), () => undefined);
    expect(await store.count()).toBe(1);
    expect((await store.get(keyOf(2)))?.revokedAt).toBe(5);
  });

  it('an update sees what the one before it left, though both were asked for at once', async () => {
    await put(store, peer(1));
    const add = (known: PeerRecord | undefined) => known && { ...known, lastSeenAt: known.lastSeenAt + 1 };
    await Promise.all(Array.from({ length: 50 }, () => store.update(keyOf(1), add)));
    expect((await store.get(keyOf(1)))?.lastSeenAt).toBe(50);
  });

  it('an update that throws, or asks for what is no record, is refused alone', async () => {
    const wrong: readonly Partial<PeerRecord>[] = [
      { publicKey: keyOf(8) },
      { publicKey: new Uint8Array(31) },
      { presharedKey: new Uint8Array(33) },
      { latestTimestamp: new Uint8Array(8) },
      { enrolledUnder: '' },
      { enrolledUnder: 'ü'.repeat(128) },
      { admittedAt: -1 },
      { lastSeenAt: 0.5 },
      { revokedAt: Number.NaN },
      { allowedIps: [{ ip: new Uint8Array(5), prefix: 8 }] },
      { allowedIps: [{ ip: new Uint8Array(4), prefix: 33 }] },
      { allowedIps: [{ ip: new Uint8Array(4), prefix: 1.5 }] },
      { allowedIps: Array.from({ length: 5_000 }, (_, i) => addressOf(i)) },
    ];
    const asked = [
      ...wrong.map(more => store.update(keyOf(1), () => peer(1, more))),
      store.update(keyOf(1), () => {
        throw new RangeError('by the test');
      }),
      store.update(new Uint8Array(31), () => undefined),
    ];
    const good = put(store, peer(2));
    const outcomes = await Promise.allSettled(asked);
    const codes = outcomes.map(outcome =>
      outcome.status === 'rejected'
        ? ((outcome.reason as { code?: string }).code ?? outcome.reason)
        : 'taken',
    );
    expect(codes).toEqual([
      ...wrong.map(() => 'ERR_PEER_RECORD'),
      new RangeError('by the test'),
      'ERR_PEER_RECORD',
    ]);
    await good;
    expect((await listed(store)).map(({ publicKey }) => publicKey)).toEqual([keyOf(2)]);
  });

  it('lists all, more than are read at once, while others come and go', async () => {
    await Promise.all(Array.from({ length: 1_234 }, (_, n) => put(store, peer(n))));
    const seen = new Set<string>();
    let turn = 0;
    for await (const { publicKey } of store.list()) {
      seen.add(publicKey.join());
      if (turn++ % 100 === 0)
        await Promise.all([put(store, peer(5_000 + turn)), store.update(keyOf(turn), () => undefined)]);
    }
    for (let n = 0; n < 1_234; n++) if (await store.get(keyOf(n))) expect(seen).toContain(keyOf(n).join());
    expect(seen.size).toBeGreaterThan(1_200);
  });

  it('who has enrolled and was not seen for long expires, but no revocation and nobody who is spared', async () => {
    const olds = { admittedAt: 10, lastSeenAt: 20, enrolledUnder: 'a' };
    await Promise.all([
      put(store, peer(1, olds)),
      put(store, peer(2, { ...olds, lastSeenAt: 90 })),
      put(store, peer(3, { ...olds, admittedAt: 90, lastSeenAt: 0 })),
      put(store, peer(4, { ...olds, revokedAt: 30 })),
      put(store, peer(5, olds)),
      put(store, peer(6, { ...olds, enrolledUnder: undefined })),
    ]);
    const isFifth = ({ publicKey }: PeerRecord) => publicKey.join() === keyOf(5).join();
    expect(await expirePeers(store, { before: 90, spare: isFifth })).toEqual([keyOf(1)]);
    expect(await listed(store)).toHaveLength(5);
    expect(await expirePeers(store, { before: 90, spare: isFifth, added: true })).toEqual([keyOf(6)]);
  });

  it('one that is seen while others expire stays', async () => {
    await put(store, peer(1, { admittedAt: 10, enrolledUnder: 'a' }));
    const store2: PeerStore = Object.create(store, {
      list: {
        value: async function* () {
          for await (const record of store.list()) {
            await store.update(keyOf(1), known => known && { ...known, lastSeenAt: 100 });
            yield record;
          }
        },
      },
      update: { value: store.update.bind(store) },
    });
    expect(await expirePeers(store2, { before: 90 })).toEqual([]);
    expect(await store.count()).toBe(1);
  });

  it('does nothing any more when it is closed, and closing twice is closing once', async () => {
    await put(store, peer(1));
    const last = put(store, peer(2));
    await store.close();
    await expect(last).resolves.toBeDefined();
    await store.close();
    const asked = [
      async () => store.get(keyOf(1)),
      async () => store.ownerOf(addressOf(1)),
      async () => put(store, peer(3)),
      async () => listed(store),
      async () => store.count(),
    ];
    for (const ask of asked) await expect(ask()).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
  });
});
