// A gateway's admission at a device: what a clone, a stock client or an attacker gets from both together.

import { bytesToHex } from '@noble/hashes/utils.js';
import { describe, expect, it } from 'vitest';
import { derivePresharedKey } from '../../gateway/derive.js';
import { PROVISIONAL_MS, REFUSED_MS } from '../../sessions/admissions.js';
import { Pair } from '../support/pair.js';
import { SimEndpoint } from '../support/machine.js';
import { DAY_MS, OLDER, SECRET, TestGateway } from './gateway.js';

const ERASE_MS = 540_000;
/** A second call comes so long after the first. */
const RETRY_MS = 5_400;

interface Setting {
  readonly gateway?: TestGateway;
  /** Of the clone; none: it derives no preshared key. */
  readonly secret?: Uint8Array | undefined;
  /** A gateway that forgets to ask for the preshared key. */
  readonly unchecked?: boolean;
}

/** A clone `a` of the template, and a gateway `b` that knows nobody. */
function setting({ gateway = new TestGateway(), secret = SECRET, unchecked = false }: Setting = {}) {
  const pair: Pair = new Pair({
    b: {
      device: {
        admission: {
          admit: async publicKey => {
            const answer = await gateway.admission.admit(publicKey, pair.b.publicKey);
            return answer && (unchecked ? { allowedIps: answer.allowedIps } : answer);
          },
        },
        onEvent: event => gateway.admission.hear(event),
      },
    },
  });
  gateway.admission.onEvict = publicKey => pair.b.device.removePeer(publicKey);
  pair.b.device.removePeer(pair.a.publicKey);
  const presharedKey = derivePresharedKey(secret, pair.b.publicKey, pair.a.publicKey);
  pair.a.device.setPeer({ publicKey: pair.b.publicKey, presharedKey });
  return { pair, gateway };
}

/** Delivers all there is, and lets the store answer. */
async function settle(pair: Pair): Promise<void> {
  for (let round = 0; round < 6; round++) {
    pair.settle();
    await new Promise(resolve => setImmediate(resolve));
  }
}

const origin = (pair: Pair) => pair.b.device.peer(pair.a.publicKey)?.origin;

async function call(pair: Pair): Promise<void> {
  pair.send(pair.a, 'hello');
  await settle(pair);
}

/** Lets time pass, in which all there is is delivered, and the store answers. */
async function pass(pair: Pair, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 500) {
    pair.advance(500);
    await settle(pair);
  }
}

describe('a clone with the secret', () => {
  it('is admitted by one initiation, and stands in the store', async () => {
    const { pair, gateway } = setting();
    await call(pair);
    expect(origin(pair)).toBe('admitted');
    expect(pair.a.count('handshakeInitiated')).toBe(1);
    expect(await gateway.record(pair.a.publicKey)).toBeDefined();
  });

  it('of an older template is admitted by its second call, and the next time by its first', async () => {
    const gateway = new TestGateway({ secrets: [SECRET, OLDER] });
    const { pair } = setting({ gateway, secret: OLDER });
    await call(pair);
    expect(origin(pair)).toBe('provisional');
    await pass(pair, RETRY_MS);
    expect(origin(pair)).toBe('admitted');
    expect(pair.a.count('handshakeInitiated')).toBe(2);
    pair.advance(ERASE_MS + 1);
    pair.a.take();
    await settle(pair);
    expect(origin(pair)).toBeUndefined();
    const before = pair.a.count('handshakeInitiated');
    await call(pair);
    expect(origin(pair)).toBe('admitted');
    expect(pair.a.count('handshakeInitiated')).toBe(before + 1);
  });

  it('that was revoked while its answer was under way is a peer for no longer than the store takes', async () => {
    const { pair, gateway } = setting();
    pair.send(pair.a, 'hello');
    const [initiation] = pair.a.take();
    pair.b.receive(initiation);
    await new Promise(resolve => setImmediate(resolve));
    expect(origin(pair)).toBe('provisional');
    await gateway.keep(pair.a.publicKey, { revokedAt: 1 });
    await settle(pair);
    expect(origin(pair)).toBeUndefined();
    // And is not answered again, however often it calls.
    pair.advance(RETRY_MS);
    pair.b.take();
    await call(pair);
    expect(pair.b.types).toEqual([]);
  });
});

describe('somebody without the secret', () => {
  const OTHERS = new Uint8Array(32).fill(0x66);

  it('never becomes a peer, is in no store, and is gone from memory', async () => {
    const { pair, gateway } = setting({ secret: OTHERS });
    for (let round = 0; round < 4; round++) {
      await call(pair);
      expect(origin(pair)).not.toBe('admitted');
      pair.advance(PROVISIONAL_MS);
    }
    await settle(pair);
    pair.advance(PROVISIONAL_MS);
    pair.a.take();
    expect(pair.b.received).toEqual([]);
    expect(await gateway.record(pair.a.publicKey)).toBeUndefined();
    expect(await gateway.store.count()).toBe(0);
  });

  it('the control: where the preshared key is not asked for, whoever has none is in', async () => {
    const { pair, gateway } = setting({ unchecked: true });
    pair.a.device.setPeer({ publicKey: pair.b.publicKey, presharedKey: new Uint8Array(32) });
    await call(pair);
    expect(origin(pair)).toBe('admitted');
    expect(await gateway.store.count()).toBe(1);
  });
});

describe('an initiation that was recorded', () => {
  it('of a peer that is in the store alone is a replay: it is not answered', async () => {
    const { pair, gateway } = setting();
    pair.send(pair.a, 'hello');
    const [initiation] = pair.a.take();
    pair.b.receive(initiation);
    await settle(pair);
    pair.advance(ERASE_MS + 1);
    pair.a.take();
    pair.b.take();
    await settle(pair);
    expect(pair.b.device.peers()).toEqual([]);
    expect(await gateway.record(pair.a.publicKey)).toMatchObject({ latestTimestamp: expect.any(Uint8Array) });
    const before = pair.b.drops.replayedInitiation;
    pair.b.receive(initiation, new SimEndpoint(66));
    await new Promise(resolve => setImmediate(resolve));
    expect(pair.b.drops.replayedInitiation).toBe(before + 1);
    expect(pair.b.types).toEqual([]);
    expect(pair.b.device.peers()).toEqual([]);
  });

  it('the control: of a store that keeps no timestamp it is answered', async () => {
    const { pair, gateway } = setting();
    pair.send(pair.a, 'hello');
    const [initiation] = pair.a.take();
    pair.b.receive(initiation);
    await settle(pair);
    pair.advance(ERASE_MS + 1);
    pair.a.take();
    pair.b.take();
    await settle(pair);
    const record = await gateway.record(pair.a.publicKey);
    await gateway.keep(pair.a.publicKey, { ...record, latestTimestamp: undefined });
    pair.b.receive(initiation, new SimEndpoint(66));
    await new Promise(resolve => setImmediate(resolve));
    expect(pair.b.types).toEqual([2]);
  });
});

describe('an operator', () => {
  const SILENCE_MS = 16_000;

  /** Takes the clone away as `wg set peer remove` does; it notices, as its next packet is not answered. */
  async function remove({ pair, gateway }: ReturnType<typeof setting>): Promise<void> {
    pair.b.device.removePeer(pair.a.publicKey);
    gateway.admission.removed(pair.a.publicKey);
    await call(pair);
    expect(origin(pair)).toBeUndefined();
    await pass(pair, SILENCE_MS);
  }

  it('who removes a clone ends its session; it comes again when it calls, unless it is revoked', async () => {
    const both = setting();
    const { pair, gateway } = both;
    await call(pair);
    await remove(both);
    expect(origin(pair)).toBe('admitted');
    await gateway.keep(pair.a.publicKey, { ...(await gateway.record(pair.a.publicKey)), revokedAt: 1 });
    await remove(both);
    expect(origin(pair)).toBeUndefined();
    expect(gateway.refused.revoked).toBeGreaterThan(0);
  });

  it('who lifts a revocation has it hold at once, if he says so', async () => {
    const { pair, gateway } = setting();
    await gateway.keep(pair.a.publicKey, { revokedAt: 1 });
    await call(pair);
    expect(pair.b.drops.notAdmitted).toBe(1);
    await gateway.store.update(pair.a.publicKey, () => undefined);
    await pass(pair, RETRY_MS);
    // It was refused a moment ago.
    expect(RETRY_MS).toBeLessThan(REFUSED_MS);
    expect(origin(pair)).toBeUndefined();
    pair.b.device.forgetRefusals();
    await pass(pair, RETRY_MS);
    expect(origin(pair)).toBe('admitted');
  });
});

it('who is there for days is not forgotten, though only his handshakes are heard of', async () => {
  const gateway = new TestGateway({ expireAfterMs: DAY_MS });
  const { pair } = setting({ gateway });
  await call(pair);
  const id = bytesToHex(pair.a.publicKey);
  const start = gateway.wallMs;
  for (let hour = 0; hour < 30; hour++) {
    gateway.wallMs += 3_600_000;
    pair.advance(121_000, true);
    await call(pair);
    await gateway.admission.sweep();
  }
  const record = await gateway.record(pair.a.publicKey);
  expect(record && bytesToHex(record.publicKey)).toBe(id);
  expect(record?.lastSeenAt).toBeGreaterThan(start + DAY_MS);
});
