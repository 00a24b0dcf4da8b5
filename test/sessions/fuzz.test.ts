// 100,000 mutated messages of each type into a device with live sessions and handshakes in flight: nothing throws,
// nothing changes that authentication did not earn, each is counted once. Then the true messages are taken.

import { afterEach, expect, it, vi } from 'vitest';
import { cookieKey, createCookieReply, mac1Key, writeMac1 } from '../../protocol/cookie.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { watchKeyBlocks } from '../support/key-blocks.js';
import { type Datagram, type End, Pair } from '../support/pair.js';

const suite = await fastestSuite();
const MESSAGES = 100_000;
/** A full snapshot is compared this often. */
const BATCH = 500;

afterEach(() => {
  vi.restoreAllMocks();
});

/** Mulberry32: small, seeded, good enough to vary tests. */
function generator(seed: number) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
  return { next, below: (bound: number) => next() % bound };
}
type Random = ReturnType<typeof generator>;

interface Scene {
  readonly pair: Pair;
  /** The device that is attacked. */
  readonly target: End;
  /** Key memory of the target. */
  readonly blocks: Uint8Array[];
  /** True messages that it has not seen yet, by type. */
  readonly fresh: Readonly<Record<number, Datagram>>;
  /** Messages that it has consumed. */
  readonly seen: Datagram[];
}

/** B has a session with A, an initiation of its own in flight, and everything true is still on its way. */
function scene(): Scene {
  const blocks = watchKeyBlocks();
  const seen: Datagram[] = [];
  const pair = new Pair({
    a: { onDatagram: datagram => seen.push(datagram) },
    // Load is another test's matter.
    b: { device: { underLoadThreshold: 10 ** 9 } },
  });
  pair.connect();
  pair.send(pair.a);
  pair.settle();
  pair.advance(6_000);
  const consumed = seen.splice(0);

  pair.send(pair.a, 'true data');
  pair.a.device.initiateHandshake(pair.b.publicKey);
  pair.b.device.initiateHandshake(pair.a.publicKey);
  const [ours] = pair.b.take();
  pair.a.receive(ours);
  const [data, initiation, response] = pair.a.take();
  const cookie = createCookieReply(suite, {
    receiverIndex: new DataView(ours.bytes.buffer).getUint32(4, true),
    cookieKey: cookieKey(suite, pair.a.publicKey),
    cookie: new Uint8Array(16).fill(3),
    nonce: new Uint8Array(24).fill(4),
    mac1: ours.bytes.subarray(116, 132),
  });
  return {
    pair,
    target: pair.b,
    blocks,
    fresh: { 1: initiation, 2: response, 3: { ...data, bytes: cookie }, 4: data },
    seen: consumed,
  };
}

/** Bytes that authentication covers, or that choose its key. Not the index in an initiation or a cookie reply. */
const AUTHENTICATED: Readonly<Record<number, readonly [number, number]>> = {
  1: [8, 116],
  2: [8, 60],
  3: [8, 64],
  4: [4, Number.POSITIVE_INFINITY],
};

function mutate(type: number, { fresh, seen }: Scene, random: Random, macKey: Uint8Array): Uint8Array {
  const { bytes } = fresh[type];
  const [from, to] = AUTHENTICATED[type];
  const end = Math.min(to, bytes.length);
  const message = bytes.slice();
  const flip = () => {
    message[from + random.below(end - from)] ^= 1 << random.below(8);
  };
  switch (random.below(8)) {
    case 0:
      return message.subarray(0, random.below(message.length));
    case 1: {
      const longer = new Uint8Array(message.length + 1 + random.below(64)).map(() => random.next());
      longer.set(message);
      return longer;
    }
    case 2: {
      // A field of another message in its place.
      const other = random.below(2) ? fresh[1 + random.below(4)] : seen[random.below(seen.length)];
      const at = from + random.below(end - from);
      message.set(other.bytes.subarray(at, Math.min(at + 1 + random.below(48), other.bytes.length, end)), at);
      break;
    }
    case 3:
      // A true one, replayed.
      return seen[random.below(seen.length)].bytes.slice();
    case 4:
      for (let i = 4; i < message.length; i++) message[i] = random.next();
      break;
    case 5:
      message[random.below(4)] ^= 1 << random.below(8);
      flip();
      break;
    default:
      for (let i = random.below(4); i >= 0; i--) flip();
  }
  if (message.subarray(from, end).every((byte, i) => byte === bytes[from + i])) flip();
  // A true mac1, which anybody can make, opens the way to the costly part.
  if (type <= 2 && random.below(6) === 0) writeMac1(suite, macKey, message);
  return message;
}

function snapshot({ target, blocks }: Scene): string {
  const { drops: _drops, ...stats } = target.device.stats();
  const peers = target.device.peers().map(peer => ({ ...peer, endpoint: String(peer.endpoint) }));
  return JSON.stringify([
    stats,
    peers,
    target.events.length,
    target.received.length,
    target.device.nextDeadline(),
    blocks.map(block => Buffer.from(block).toString('base64')),
  ]);
}

const total = (end: End) => Object.values(end.drops).reduce((sum, count) => sum + count, 0);

it.each([
  ['initiations', 1, 'handshake'],
  ['responses', 2, 'handshake'],
  ['cookie replies', 3, 'cookie'],
  ['data messages', 4, 'data'],
])('mutated %s change nothing, and the true one is taken afterwards', (_name, type, verdict) => {
  const stage = scene();
  const { target } = stage;
  const random = generator(type);
  const macKey = mac1Key(suite, target.publicKey);
  const from = stage.fresh[type].from;
  const reasons: Record<string, number> = {};
  const before = snapshot(stage);
  const already = total(target);
  for (let i = 1; i <= MESSAGES; i++) {
    const message = mutate(type, stage, random, macKey);
    const result = target.device.receiveDatagram(message, from);
    if (typeof result === 'string') expect.fail(`taken as ${result} after ${i}`);
    reasons[result.drop] = (reasons[result.drop] ?? 0) + 1;
    if (target.sent.length > 0) expect.fail(`answered after ${i}: ${result.drop}`);
    if (i % BATCH === 0) expect(snapshot(stage) === before, `state after ${i} messages`).toBe(true);
  }
  expect(total(target) - already).toBe(MESSAGES);
  for (const [reason, count] of Object.entries(reasons)) {
    expect(count, reason).toBeLessThanOrEqual(target.drops[reason as keyof typeof target.drops]);
  }
  expect(reasons['malformed']).toBeGreaterThan(0);
  expect(reasons['badTag']).toBeGreaterThan(0);
  expect(target.receive(stage.fresh[type])).toBe(verdict);
  expect(snapshot(stage)).not.toBe(before);
});

it('under load, mutated handshake messages bring cookie replies and nothing else', () => {
  const pair = new Pair({ b: { device: { underLoadThreshold: 0 } } });
  pair.send(pair.a);
  const [initiation] = pair.a.take();
  const random = generator(9);
  const macKey = mac1Key(suite, pair.b.publicKey);
  const before = JSON.stringify(pair.b.device.peers());
  for (let i = 0; i < 2_000; i++) {
    const bytes = initiation.bytes.slice();
    bytes[4 + random.below(112)] ^= 1 << random.below(8);
    writeMac1(suite, macKey, bytes);
    expect(pair.b.device.receiveDatagram(bytes, initiation.from)).toEqual({ drop: 'underLoad' });
  }
  expect(pair.b.types).toEqual(Array(2_000).fill(3));
  expect(JSON.stringify(pair.b.device.peers())).toBe(before);
  expect(pair.b.events).toEqual([]);
});
