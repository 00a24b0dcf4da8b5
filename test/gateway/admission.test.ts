// Who is admitted, and what the store is told of it: by the record, by the secret, by what there is room for.

import { bytesToHex } from '@noble/hashes/utils.js';
import { describe, expect, test } from 'vitest';
import { derivePresharedKey, secretName } from '../../gateway/derive.js';
import { LOOKUP_TIMEOUT_MS } from '../../gateway/store-lookups.js';
import type { PeerRecord, PeerStore } from '../../gateway/store.js';
import { MemoryPeerStore } from '../../gateway/stores/memory.js';
import { MAX_AWAITED } from '../../sessions/admissions.js';
import { DAY_MS, GATEWAY, key, OLDER, rangeOf, SECRET, TestGateway } from './gateway.js';

const C = key(1);
const D = key(2);
const psk = (secret: Uint8Array, publicKey = C) => derivePresharedKey(secret, GATEWAY, publicKey);
const EXPIRED = { type: 'admissionExpired' } as const;

describe('somebody whom the store does not know', () => {
  test('is answered under what the secret derives, and at once', () => {
    const { admission } = new TestGateway();
    expect(admission.admit(C, GATEWAY)).toEqual({ presharedKey: psk(SECRET), allowedIps: [rangeOf(C)] });
  });

  test('stands in the store when he has proven himself, and not before', async () => {
    const gateway = new TestGateway();
    await gateway.call(C);
    await gateway.settled();
    expect(await gateway.record(C)).toBeUndefined();
    await gateway.prove(C);
    expect(await gateway.record(C)).toMatchObject({
      publicKey: C,
      allowedIps: [rangeOf(C)],
      enrolledUnder: secretName(SECRET),
      admittedAt: gateway.wallMs,
      lastSeenAt: gateway.wallMs,
      latestTimestamp: new Uint8Array(12).fill(1),
    });
    expect(gateway.events).toEqual([{ type: 'admitted', publicKey: C, isNew: true }]);
  });

  test('is put out of the device when nobody knows any more with what he was answered', async () => {
    const gateway = new TestGateway();
    await gateway.prove(C);
    expect(gateway.evicted).toEqual([bytesToHex(C)]);
    expect(await gateway.record(C)).toBeUndefined();
    // Nor is it known what he did not prove.
    gateway.admission.hear({ ...EXPIRED, peer: D });
    expect(gateway.events).toEqual([{ type: 'unproven', publicKey: D }]);
    expect(await gateway.call(D)).toMatchObject({ presharedKey: psk(SECRET, D) });
  });

  test('is refused without a secret', async () => {
    const gateway = new TestGateway({ secrets: [] });
    expect(await gateway.call(C)).toBe('no');
    expect(gateway.refused.notEnrolled).toBe(1);
  });

  test('is refused where his address is another peer of the store', async () => {
    const gateway = new TestGateway();
    await gateway.keep(D, { allowedIps: [rangeOf(C)] });
    expect(await gateway.call(C)).toBe('no');
    expect(gateway.refused.addressTaken).toBe(1);
  });

  test('may not stay where somebody has taken his address since he called', async () => {
    const gateway = new TestGateway();
    await gateway.call(C);
    await gateway.keep(D, { allowedIps: [rangeOf(C)] });
    await gateway.prove(C);
    expect(gateway.evicted).toEqual([bytesToHex(C)]);
    expect(await gateway.record(C)).toBeUndefined();
    expect(gateway.events).toEqual([{ type: 'refused', publicKey: C, reason: 'addressTaken' }]);
  });
});

describe('somebody whom the store knows', () => {
  test('has the settings that an operator gave him, and his last timestamp', async () => {
    const gateway = new TestGateway({ secrets: [] });
    const allowedIps = [{ ip: Uint8Array.of(10, 0, 0, 7), prefix: 32 }];
    await gateway.keep(C, { allowedIps, presharedKey: key(7), latestTimestamp: new Uint8Array(12).fill(3) });
    const answer = await gateway.call(C);
    expect(answer).toEqual({
      allowedIps,
      presharedKey: key(7),
      latestTimestamp: new Uint8Array(12).fill(3),
    });
    await gateway.prove(C, allowedIps);
    const record = await gateway.record(C);
    expect(record?.enrolledUnder).toBeUndefined();
    expect(record?.presharedKey).toEqual(key(7));
    expect(record?.lastSeenAt).toBe(gateway.wallMs);
    expect(gateway.events).toEqual([{ type: 'admitted', publicKey: C, isNew: false }]);
  });

  test('has no preshared key where none was given him', async () => {
    const gateway = new TestGateway();
    await gateway.keep(C, { allowedIps: [rangeOf(C)] });
    expect(await gateway.call(C)).toEqual({ allowedIps: [rangeOf(C)] });
  });

  test('is given a copy of his preshared key, which whoever has it may erase', async () => {
    const presharedKey = key(7);
    const known = { publicKey: C, allowedIps: [], admittedAt: 1, lastSeenAt: 0, presharedKey };
    const gateway = new TestGateway({ store: { get: () => known, close: async () => {} } });
    const answer = await gateway.call(C);
    if (typeof answer === 'object') answer.presharedKey?.fill(0);
    expect(presharedKey).toEqual(key(7));
  });

  test('and was taken out of the store before he proved himself may not stay, and is not written', async () => {
    const gateway = new TestGateway();
    await gateway.keep(C, { presharedKey: key(7) });
    await gateway.call(C);
    await gateway.store.update(C, () => undefined);
    await gateway.prove(C, []);
    expect(gateway.evicted).toEqual([bytesToHex(C)]);
    expect(gateway.refused.notEnrolled).toBe(1);
    expect(await gateway.record(C)).toBeUndefined();
  });

  test('since an operator added him while he proved the secret, is the operator’s', async () => {
    const gateway = new TestGateway();
    await gateway.call(C);
    await gateway.keep(C, { presharedKey: key(7) });
    await gateway.prove(C);
    expect(await gateway.record(C)).toMatchObject({ presharedKey: key(7), lastSeenAt: gateway.wallMs });
    expect((await gateway.record(C))?.enrolledUnder).toBeUndefined();
  });

  test('and is taken out of the store alone is not brought back when he is put out of memory', async () => {
    const gateway = new TestGateway();
    await gateway.join(C);
    await gateway.store.update(C, () => undefined);
    gateway.admission.hear({
      type: 'peerEvicted',
      peer: C,
      lastHandshakeAt: 9,
      timestamp: new Uint8Array(12),
    });
    await gateway.settled();
    expect(await gateway.record(C)).toBeUndefined();
    expect(gateway.events.map(({ type }) => type)).toEqual(['admitted']);
  });

  test('goes on to be known under his secret, however often he comes and goes', async () => {
    const gateway = new TestGateway();
    for (let round = 1; round <= 3; round++) {
      gateway.wallMs += DAY_MS;
      await gateway.join(C);
      gateway.admission.hear({
        type: 'peerEvicted',
        peer: C,
        lastHandshakeAt: gateway.wallMs,
        timestamp: new Uint8Array(12).fill(round),
      });
      await gateway.settled();
      const { wallMs } = gateway;
      expect(await gateway.record(C)).toMatchObject({
        enrolledUnder: secretName(SECRET),
        admittedAt: wallMs - (round - 1) * DAY_MS,
        lastSeenAt: wallMs,
      });
    }
    expect(gateway.events.map(event => event.type === 'admitted' && event.isNew)).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('is written of only as long as he is there', async () => {
    const gateway = new TestGateway();
    const seen = async () => {
      gateway.wallMs += DAY_MS;
      gateway.admission.hear({ type: 'handshakeComplete', peer: C, role: 'responder' });
      gateway.admission.hear({
        type: 'peerEvicted',
        peer: C,
        lastHandshakeAt: 9,
        timestamp: new Uint8Array(12),
      });
      await gateway.settled();
      return (await gateway.record(C))?.lastSeenAt;
    };
    await gateway.join(C);
    const { wallMs } = gateway;
    gateway.admission.removed(C);
    expect(await seen()).toBe(wallMs);
    await gateway.join(C);
    const later = gateway.wallMs;
    gateway.admission.removedAll();
    expect(await seen()).toBe(later);
  });

  test('is refused when he was revoked', async () => {
    const gateway = new TestGateway();
    await gateway.join(C);
    const record = await gateway.record(C);
    await gateway.keep(C, { ...record, revokedAt: gateway.wallMs });
    expect(await gateway.call(C)).toBe('no');
    expect(gateway.refused.revoked).toBe(1);
  });

  test.each([
    ['he was answered and had not proven himself', 'prove'],
    ['he was a peer, and it is seen at the next writing', 'sighting'],
    ['he was a peer, and is put out of memory', 'evict'],
  ])('stays revoked when that came while %s', async (_, then) => {
    const gateway = new TestGateway();
    await gateway.call(C);
    if (then !== 'prove') await gateway.prove(C);
    await gateway.keep(C, { revokedAt: 5, enrolledUnder: secretName(SECRET) });
    if (then === 'prove') await gateway.prove(C);
    else if (then === 'evict') {
      const timestamp = new Uint8Array(12);
      gateway.admission.hear({ type: 'peerEvicted', peer: C, lastHandshakeAt: gateway.wallMs, timestamp });
    } else {
      gateway.wallMs += DAY_MS;
      gateway.admission.hear({ type: 'handshakeComplete', peer: C, role: 'responder' });
    }
    await gateway.settled();
    expect((await gateway.record(C))?.revokedAt).toBe(5);
    expect(gateway.evicted).toEqual(then === 'evict' ? [] : [bytesToHex(C)]);
    expect(gateway.refused.revoked).toBe(then === 'evict' ? 0 : 1);
    const events = gateway.events.map(({ type }) => type);
    expect(events).toEqual(
      then === 'prove' ? ['refused'] : then === 'evict' ? ['admitted'] : ['admitted', 'refused'],
    );
  });

  test('is not brought back by what is written of him when an operator has removed him', async () => {
    const gateway = new TestGateway();
    await gateway.join(C);
    await gateway.store.update(C, () => undefined);
    gateway.admission.removed(C);
    gateway.wallMs += DAY_MS;
    gateway.admission.hear({ type: 'handshakeComplete', peer: C, role: 'responder' });
    gateway.admission.hear({
      type: 'peerEvicted',
      peer: C,
      lastHandshakeAt: 9,
      timestamp: new Uint8Array(12),
    });
    await gateway.settled();
    expect(await gateway.record(C)).toBeUndefined();
    // He may call again.
    expect(await gateway.call(C)).toMatchObject({ presharedKey: psk(SECRET) });
  });

  test('is asked for his timestamp of last time: what he sent before is a replay', async () => {
    const gateway = new TestGateway();
    await gateway.join(C);
    const timestamp = new Uint8Array(12).fill(9);
    gateway.admission.hear({ type: 'peerEvicted', peer: C, lastHandshakeAt: 77, timestamp });
    await gateway.settled();
    expect(await gateway.record(C)).toMatchObject({ lastSeenAt: 77, latestTimestamp: timestamp });
    expect(await gateway.call(C)).toMatchObject({ latestTimestamp: timestamp });
  });
});

describe('two secrets, during a change', () => {
  const both = () => new TestGateway({ secrets: [SECRET, OLDER] });

  test('who has proven nothing under one is answered under the other when he calls again', async () => {
    const gateway = both();
    const secrets = [SECRET, OLDER, SECRET];
    for (const secret of secrets) {
      expect(await gateway.call(C)).toMatchObject({ presharedKey: psk(secret) });
      gateway.admission.hear({ ...EXPIRED, peer: C });
    }
  });

  test('who has proven himself under the older one is answered under it from then on', async () => {
    const gateway = both();
    await gateway.call(C);
    gateway.admission.hear({ ...EXPIRED, peer: C });
    await gateway.join(C);
    expect((await gateway.record(C))?.enrolledUnder).toBe(secretName(OLDER));
    // Somebody with the newer one between them.
    await gateway.call(D);
    gateway.admission.hear({ ...EXPIRED, peer: D });
    await gateway.join(D);
    expect((await gateway.record(D))?.enrolledUnder).toBe(secretName(SECRET));
    expect(await gateway.call(C)).toMatchObject({ presharedKey: psk(OLDER) });
  });

  test('newcomers are answered first under the one that the last of them has proven', async () => {
    const gateway = both();
    await gateway.call(C);
    gateway.admission.hear({ ...EXPIRED, peer: C });
    await gateway.join(C);
    expect(await gateway.call(D)).toMatchObject({ presharedKey: psk(OLDER, D) });
  });

  test('who is known under the newer one is answered under it, whatever others have proven since', async () => {
    const gateway = both();
    await gateway.join(C);
    await gateway.call(D);
    gateway.admission.hear({ ...EXPIRED, peer: D });
    await gateway.join(D);
    expect((await gateway.record(D))?.enrolledUnder).toBe(secretName(OLDER));
    expect(await gateway.call(C)).toMatchObject({ presharedKey: psk(SECRET) });
  });

  test('who was enrolled under one that is gone has to prove one that is there', async () => {
    const before = both();
    await before.call(C);
    before.admission.hear({ ...EXPIRED, peer: C });
    await before.join(C);
    const { store } = before;
    const after = new TestGateway({ store, secrets: [SECRET] });
    expect(await after.call(C)).toMatchObject({ presharedKey: psk(SECRET) });
    await after.prove(C);
    expect((await after.record(C))?.enrolledUnder).toBe(secretName(SECRET));
    const none = new TestGateway({ store, secrets: [] });
    expect(await none.call(C)).toBe('no');
    expect(none.refused.notEnrolled).toBe(1);
  });
});

describe('maxPeers', () => {
  test('counts who has proven himself, and not who was only answered', async () => {
    const gateway = new TestGateway({ maxPeers: 2 });
    for (let stranger = 10; stranger < 20; stranger++)
      expect(await gateway.call(key(stranger))).not.toBe('no');
    await gateway.join(C);
    await gateway.join(D);
    expect(await gateway.call(key(3))).toBe('no');
    expect(gateway.refused.full).toBe(1);
    expect(await gateway.store.count()).toBe(2);
    // Whom the store knows is no newcomer.
    gateway.admission.removed(C);
    await gateway.join(C);
    expect(gateway.evicted).toEqual([]);
    expect(await gateway.admission.known()).toBe(2);
  });

  test('puts nobody out whom the store knows, though there are more than there may be', async () => {
    const gateway = new TestGateway({ maxPeers: 1 });
    for (const known of [C, D]) await gateway.keep(known, { enrolledUnder: secretName(SECRET) });
    await gateway.join(C);
    expect(gateway.evicted).toEqual([]);
    expect(await gateway.call(key(3))).toBe('no');
  });

  test('who proves himself when the last place has gone may not stay, and is not written', async () => {
    const gateway = new TestGateway({ maxPeers: 2 });
    const callers = [1, 2, 3, 4].map(key);
    for (const caller of callers) await gateway.call(caller);
    // All in one turn, before any of them is written.
    await Promise.all(callers.map(caller => gateway.prove(caller)));
    expect(await gateway.store.count()).toBe(2);
    expect(gateway.evicted).toHaveLength(2);
    expect(gateway.refused.full).toBe(2);
  });
});

describe('a store that fails', () => {
  /** `silent`: never answers. `failing`: rejects. */
  function broken() {
    const good = new MemoryPeerStore();
    const store: PeerStore & { mode: 'silent' | 'failing' | 'well' } = {
      mode: 'silent',
      get: publicKey => {
        if (store.mode === 'silent') return new Promise<never>(() => {});
        return store.mode === 'failing' ? Promise.reject(new Error('no route')) : good.get(publicKey);
      },
      ownerOf: range => good.ownerOf(range),
      update: (...args) => good.update(...args),
      list: () => good.list(),
      count: () => good.count(),
      close: () => good.close(),
    };
    return store;
  }

  test('is no answer, and is counted and told', async () => {
    const store = broken();
    store.mode = 'failing';
    const gateway = new TestGateway({ store });
    expect(await gateway.call(C)).toBe('failed');
    expect(gateway.refused.storeFailed).toBe(1);
    expect(gateway.events).toContainEqual({ type: 'storeFailed', error: new Error('no route') });
    expect(gateway.timers).toBe(0);
    store.mode = 'well';
    expect(await gateway.call(C)).toMatchObject({ presharedKey: psk(SECRET) });
  });

  test('and is silent is waited for no longer than a device waits', async () => {
    const gateway = new TestGateway({ store: broken() });
    const call = gateway.call(C);
    gateway.advance(LOOKUP_TIMEOUT_MS);
    expect(await call).toBe('failed');
    const told = { type: 'storeFailed', error: expect.objectContaining({ code: 'ERR_STORE_SILENT' }) };
    expect(gateway.events).toContainEqual(told);
  });

  test('is not waited for by whoever asks how many there are', async () => {
    const store = broken();
    store.count = () => new Promise<never>(() => {});
    const gateway = new TestGateway({ store });
    const known = gateway.admission.known();
    gateway.advance(1_000);
    expect(await known).toBeUndefined();
  });

  test('and answers after all, when its lookups have long been given up, earns no more of them', async () => {
    const late: (() => void)[] = [];
    const store = broken();
    store.get = () => new Promise(resolve => late.push(() => resolve(undefined)));
    const gateway = new TestGateway({ store });
    const ask = () => Array.from({ length: 2 * MAX_AWAITED }, (_, i) => gateway.call(key(i & 255)));
    const given = ask();
    expect(late).toHaveLength(MAX_AWAITED);
    gateway.advance(LOOKUP_TIMEOUT_MS);
    await Promise.all(given);
    gateway.advance(60_000);
    for (const answer of late.splice(0)) answer();
    await gateway.settled();
    const again = ask();
    expect(late).toHaveLength(MAX_AWAITED);
    for (const answer of late) answer();
    await Promise.all(again);
  });

  test('and is silent has a bounded number of lookups under way, however many call and however long', async () => {
    const store = broken();
    const gateway = new TestGateway({ store });
    for (let round = 0; round < 3; round++) {
      const calls = Array.from({ length: MAX_AWAITED }, (_, i) => gateway.call(key(i & 255)));
      gateway.advance(LOOKUP_TIMEOUT_MS);
      expect(new Set(await Promise.all(calls))).toEqual(new Set(['failed']));
    }
    expect(gateway.admission.stats().lookups).toBe(MAX_AWAITED);
    const told = { type: 'storeFailed', error: expect.objectContaining({ code: 'ERR_STORE_BUSY' }) };
    expect(gateway.events).toContainEqual(told);
    // Then it is asked again.
    gateway.advance(60_000);
    store.mode = 'well';
    expect(await gateway.call(C)).toMatchObject({ presharedKey: psk(SECRET) });
    expect(gateway.timers).toBe(0);
  });

  test('when somebody is to be written does not take him away, and hears of him at his next handshake', async () => {
    const store = new MemoryPeerStore();
    const gateway = new TestGateway({ store, maxPeers: 1 });
    const update = store.update.bind(store);
    store.update = () => Promise.reject(new Error('disk full'));
    await gateway.join(C);
    expect(gateway.evicted).toEqual([]);
    expect(gateway.events).toContainEqual({ type: 'storeFailed', error: new Error('disk full') });
    // He has the place, though it is not written.
    expect(await gateway.call(D)).toBe('no');
    store.update = update;
    gateway.admission.hear({ type: 'handshakeComplete', peer: C, role: 'responder' });
    await gateway.settled();
    expect(await gateway.record(C)).toMatchObject({ enrolledUnder: secretName(SECRET) });
  });

  test('when somebody whom it knows is to be written does not count him twice', async () => {
    const store = new MemoryPeerStore();
    const gateway = new TestGateway({ store, maxPeers: 2 });
    await gateway.keep(C, { presharedKey: key(7) });
    store.update = () => Promise.reject(new Error('disk full'));
    await gateway.join(C);
    expect(await gateway.call(D)).toMatchObject({ presharedKey: psk(SECRET, D) });
  });
});

describe('a store that can only be asked', () => {
  const asked = (record: Partial<PeerRecord>) => {
    const known = { publicKey: D, allowedIps: [], admittedAt: 1, lastSeenAt: 0, ...record };
    const store = { get: (of: Uint8Array) => (of[0] === D[0] ? known : undefined), close: async () => {} };
    return new TestGateway({ store, expireAfterMs: DAY_MS });
  };

  test('has the last word: whom it does not know is refused, though he has the secret', async () => {
    const gateway = asked({});
    expect(await gateway.call(C)).toBe('no');
    expect(gateway.refused.notEnrolled).toBe(1);
  });

  test('is told nothing of those that it knows', async () => {
    const gateway = asked({ presharedKey: key(7) });
    expect(await gateway.call(D)).toMatchObject({ presharedKey: key(7) });
    await gateway.prove(D, []);
    gateway.wallMs += 2 * DAY_MS;
    gateway.admission.hear({ type: 'handshakeComplete', peer: D, role: 'responder' });
    gateway.admission.hear({
      type: 'peerEvicted',
      peer: D,
      lastHandshakeAt: 1,
      timestamp: new Uint8Array(12),
    });
    await gateway.admission.sweep();
    await gateway.settled();
    expect(gateway.events).toEqual([{ type: 'admitted', publicKey: D, isNew: false }]);
    expect(await gateway.admission.known()).toBeUndefined();
  });

  test('may leave the preshared key to the secret', async () => {
    const gateway = asked({ enrolledUnder: 'any' });
    expect(await gateway.call(D)).toMatchObject({ presharedKey: psk(SECRET, D), allowedIps: [] });
  });
});

describe('sweep', () => {
  test('forgets who was not seen for too long, and nobody who is there or was not enrolled', async () => {
    const gateway = new TestGateway({ expireAfterMs: DAY_MS });
    await gateway.join(C);
    await gateway.join(D);
    await gateway.keep(key(3));
    gateway.admission.hear({
      type: 'peerEvicted',
      peer: D,
      lastHandshakeAt: gateway.wallMs,
      timestamp: new Uint8Array(12),
    });
    gateway.wallMs += DAY_MS;
    await gateway.admission.sweep();
    expect(gateway.admission.stats().expired).toBe(0);
    expect(gateway.events.map(({ type }) => type)).toEqual(['admitted', 'admitted']);
    gateway.wallMs += 1_000;
    await gateway.admission.sweep();
    expect(await gateway.record(C)).toBeDefined();
    expect(await gateway.record(D)).toBeUndefined();
    expect(await gateway.record(key(3))).toBeDefined();
    expect(gateway.admission.stats().expired).toBe(1);
    expect(gateway.events).toContainEqual({ type: 'expired', peers: 1 });
  });

  test('looks at nobody where nobody expires', async () => {
    for (const expireAfterMs of [undefined, Number.POSITIVE_INFINITY]) {
      const gateway = new TestGateway({ expireAfterMs });
      await gateway.join(C);
      gateway.store.list = () => {
        throw new Error('nobody is to be looked at');
      };
      await gateway.admission.sweep();
    }
  });

  test('who is there is written often enough to be found there after a crash', async () => {
    const gateway = new TestGateway({ expireAfterMs: DAY_MS });
    await gateway.join(C);
    const start = gateway.wallMs;
    let writes = 0;
    const update = gateway.store.update.bind(gateway.store);
    gateway.store.update = (...args) => {
      writes++;
      return update(...args);
    };
    for (let minutes = 0; minutes < 24 * 60; minutes += 2) {
      gateway.wallMs += 120_000;
      gateway.admission.hear({ type: 'handshakeComplete', peer: C, role: 'responder' });
    }
    await gateway.settled();
    expect((await gateway.record(C))?.lastSeenAt).toBeGreaterThan(start + 20 * 3_600_000);
    expect(writes).toBeLessThan(30);
  });

  test.each([
    [10 * DAY_MS, 3_600_000],
    [undefined, 3_600_000],
    [8_000, 1_000],
  ])(
    'with %s as the time to expire is written after %s milliseconds, and not before',
    async (time, every) => {
      const gateway = new TestGateway({ expireAfterMs: time });
      await gateway.join(C);
      const start = gateway.wallMs;
      for (const [after, seen] of [
        [every - 1, 0],
        [every, every],
      ]) {
        gateway.wallMs = start + after;
        gateway.admission.hear({ type: 'handshakeComplete', peer: C, role: 'responder' });
        await gateway.settled();
        expect((await gateway.record(C))?.lastSeenAt).toBe(start + seen);
      }
    },
  );
});

test('nobody is admitted after close, by a secret of zeros either', async () => {
  const gateway = new TestGateway();
  await gateway.admission.close();
  expect(await gateway.call(C)).toBe('no');
});

test('all of it goes on where nobody listens', async () => {
  const store = new MemoryPeerStore();
  const gateway = new TestGateway({ store, onEvent: undefined, expireAfterMs: DAY_MS, maxPeers: 1 });
  await gateway.join(C);
  expect(await gateway.call(D)).toBe('no');
  gateway.admission.hear({ ...EXPIRED, peer: D });
  gateway.admission.hear({ type: 'peerEvicted', peer: C, lastHandshakeAt: 1, timestamp: new Uint8Array(12) });
  await gateway.settled();
  gateway.wallMs += 2 * DAY_MS;
  await gateway.admission.sweep();
  expect(gateway.admission.stats()).toMatchObject({ expired: 1, lookups: 2 });
  await store.close();
  expect(await gateway.call(D)).toBe('failed');
  expect(gateway.refused).toMatchObject({ full: 1, storeFailed: 1 });
});
