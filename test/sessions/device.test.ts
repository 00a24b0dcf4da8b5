// A device and its peers: keypairs and who confirms them, roaming, allowed IPs, what is counted, and what is erased.

import { afterEach, describe, expect, it, vi } from 'vitest';
import { REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES } from '../../protocol/constants.js';
import { PEER_SESSION_BYTES } from '../../sessions/peer.js';
import { watchKeyBlocks } from '../support/key-blocks.js';
import { SimEndpoint } from '../support/machine.js';
import { type End, Pair, introduce, packetBetween, payloadOf } from '../support/pair.js';
import { ipv4Packet, ipv6Packet } from '../support/packets.js';

const INITIATION = 1;
const RESPONSE = 2;
const DATA = 4;
const BLOCK = PEER_SESSION_BYTES;

afterEach(() => {
  vi.restoreAllMocks();
});

const isZero = (block: Uint8Array) => block.every(byte => byte === 0);

/** The two session blocks of peers (the others are cookie secrets and identities), A's first. */
function sessionBlocks(make: () => Pair): { pair: Pair; blocks: Uint8Array[]; peers: Uint8Array[] } {
  const blocks = watchKeyBlocks();
  const pair = make();
  return { pair, blocks, peers: blocks.filter(block => block.length === BLOCK).slice(-2) };
}

function receiveAll(end: End, from: End): unknown[] {
  return from.take().map(datagram => end.receive(datagram));
}

describe('a handshake', () => {
  it('takes one round trip, and the initiator confirms with what is staged', () => {
    const pair = new Pair();
    expect(pair.send(pair.a, 'first')).toBe('staged');
    expect(pair.send(pair.a, 'second')).toBe('staged');
    expect(pair.a.types).toEqual([INITIATION]);
    expect(receiveAll(pair.b, pair.a)).toEqual(['handshake']);
    expect(pair.b.types).toEqual([RESPONSE]);
    expect(pair.b.count('handshakeComplete')).toBe(0);
    expect(receiveAll(pair.a, pair.b)).toEqual(['handshake']);
    expect(pair.a.types).toEqual([DATA, DATA]);
    receiveAll(pair.b, pair.a);
    expect(pair.b.received.map(payloadOf)).toEqual(['first', 'second']);
    expect(pair.b.events.filter(e => e.type === 'handshakeComplete')).toMatchObject([{ role: 'responder' }]);
    expect(pair.a.events.filter(e => e.type === 'handshakeComplete')).toMatchObject([{ role: 'initiator' }]);
  });

  it('is not begun while the device is paused, by a keepalive, a packet, a timer or a fork, and begun after', () => {
    const pair = new Pair();
    const { device } = pair.a;
    device.paused = true;
    device.setPeer({ publicKey: pair.b.publicKey, persistentKeepalive: 1 });
    expect(pair.send(pair.a, 'waits')).toBe('staged');
    device.wipe();
    for (let second = 0; second < 30; second++) pair.advance(1_000);
    expect(pair.a.take()).toEqual([]);
    expect(device.peers()[0].txBytes).toBe(0);
    // And nobody has to look every few milliseconds whether it may be begun.
    expect(device.nextDeadline()).toBeGreaterThan(pair.clock.ms);
    device.paused = false;
    device.sendKeepalive(pair.b.publicKey);
    expect(pair.a.types).toEqual([INITIATION]);
  });

  it('is begun for what was staged meanwhile when a pause ends, without another word', () => {
    const pair = new Pair();
    pair.a.device.paused = true;
    expect(pair.send(pair.a, 'waits')).toBe('staged');
    pair.a.device.paused = false;
    expect(pair.a.types).toEqual([INITIATION]);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['waits']);
  });

  it('is answered though a pause begins before the turn is over, and what it stages is kept', () => {
    const pair = new Pair();
    pair.a.device.initiateHandshake(pair.b.publicKey);
    const { device } = pair.b;
    device.cork();
    receiveAll(pair.b, pair.a);
    pair.send(pair.b, 'early');
    device.paused = true;
    device.uncork();
    expect(pair.b.types).toEqual([RESPONSE]);
    pair.settle();
    expect(pair.a.received.map(payloadOf)).toEqual(['early']);
  });

  it('is confirmed by a keepalive where nothing is staged', () => {
    const pair = new Pair();
    pair.a.device.initiateHandshake(pair.b.publicKey);
    receiveAll(pair.b, pair.a);
    receiveAll(pair.a, pair.b);
    expect(pair.a.sent.map(({ bytes }) => bytes.length)).toEqual([32]);
    expect(receiveAll(pair.b, pair.a)).toEqual(['keepalive']);
  });

  it('lets the responder send nothing before it is confirmed', () => {
    const pair = new Pair();
    pair.send(pair.a, 'hello');
    receiveAll(pair.b, pair.a);
    expect(pair.send(pair.b, 'early')).toBe('staged');
    expect(pair.b.types).toEqual([RESPONSE]);
    expect(pair.b.device.peers()[0].hasSession).toBe(false);
    receiveAll(pair.a, pair.b);
    receiveAll(pair.b, pair.a);
    expect(pair.b.device.peers()[0].hasSession).toBe(true);
    pair.settle();
    expect(pair.a.received.map(payloadOf)).toEqual(['early']);
  });

  it('works when both begin at once, and both ways afterwards', () => {
    const pair = new Pair();
    pair.send(pair.a, 'from a');
    pair.send(pair.b, 'from b');
    pair.settle();
    expect(pair.a.received.map(payloadOf)).toEqual(['from b']);
    expect(pair.b.received.map(payloadOf)).toEqual(['from a']);
    pair.send(pair.a, 'again');
    pair.send(pair.b, 'again');
    pair.settle();
    expect(pair.a.received.length + pair.b.received.length).toBe(4);
  });

  it('keeps the previous keypair for what is still on its way', () => {
    const pair = new Pair().connect();
    pair.send(pair.b, 'late');
    const late = pair.b.take();
    pair.advance(6_000);
    pair.a.device.initiateHandshake(pair.b.publicKey);
    pair.settle();
    expect(late.map(datagram => pair.a.receive(datagram))).toEqual(['data']);
    // One more handshake, and it is gone.
    pair.send(pair.b, 'too late');
    pair.advance(6_000);
    pair.b.take();
    pair.a.device.initiateHandshake(pair.b.publicKey);
    pair.settle();
    expect(late.map(datagram => pair.a.receive(datagram))).toEqual([{ drop: 'unknownIndex' }]);
  });

  it('with a preshared key works, and fails where only one side has it', () => {
    const presharedKey = new Uint8Array(32).fill(9);
    const both = new Pair({ a: { peer: { presharedKey } }, b: { peer: { presharedKey } } }).connect();
    expect(both.b.received.length).toBe(1);
    expect(both.a.device.peers()[0].hasPresharedKey).toBe(true);
    const one = new Pair({ a: { peer: { presharedKey } } });
    one.send(one.a);
    receiveAll(one.b, one.a);
    expect(receiveAll(one.a, one.b)).toEqual([{ drop: 'badTag' }]);
    // A key of zeros clears it, and the next try succeeds.
    one.a.device.setPeer({ publicKey: one.b.publicKey, presharedKey: new Uint8Array(32) });
    one.advance(5_400);
    one.settle();
    expect(one.b.received.length).toBe(1);
  });

  it('may come in a Node Buffer, and keys may too', () => {
    const pair = new Pair();
    pair.a.device.removePeer(pair.b.publicKey);
    const publicKey = Buffer.from(pair.b.publicKey);
    introduce(pair.a, pair.b, { publicKey });
    publicKey.fill(0);
    pair.send(pair.a);
    for (let i = 0; i < 3; i++) {
      for (const { bytes, from } of pair.a.take()) pair.b.device.receiveDatagram(Buffer.from(bytes), from);
      for (const { bytes, from } of pair.b.take()) pair.a.device.receiveDatagram(Buffer.from(bytes), from);
    }
    expect(pair.b.received.length).toBe(1);
    pair.a.device.peers()[0].publicKey.fill(0);
    expect(pair.a.device.peers()[0].publicKey).toEqual(pair.b.publicKey);
  });
});

describe('initiations', () => {
  it('that are replayed are refused, and so are older ones', () => {
    const pair = new Pair();
    pair.send(pair.a);
    const [first] = pair.a.take();
    pair.advance(5_400);
    const [second] = pair.a.take();
    expect(pair.b.receive(second)).toBe('handshake');
    pair.clock.ms += 1_000;
    expect(pair.b.receive(second)).toEqual({ drop: 'replayedInitiation' });
    expect(pair.b.receive(first)).toEqual({ drop: 'replayedInitiation' });
    expect(pair.b.types).toEqual([RESPONSE]);
  });

  it('are consumed at most every 20 ms for one peer', () => {
    const pair = new Pair();
    pair.send(pair.a);
    const [first] = pair.a.take();
    pair.advance(5_400);
    const [second] = pair.a.take();
    pair.advance(5_400);
    const [third] = pair.a.take();
    expect(pair.b.receive(first)).toBe('handshake');
    pair.clock.ms += 19;
    expect(pair.b.receive(second)).toEqual({ drop: 'flooded' });
    pair.clock.ms += 1;
    expect(pair.b.receive(third)).toBe('handshake');
  });

  it('from strangers are refused', () => {
    const pair = new Pair();
    pair.b.device.removePeer(pair.a.publicKey);
    pair.send(pair.a);
    expect(receiveAll(pair.b, pair.a)).toEqual([{ drop: 'unknownPeer' }]);
  });

  it('that end well are dated by the wall clock', () => {
    const pair = new Pair();
    pair.send(pair.a);
    pair.settle();
    expect(pair.a.device.peers()[0].lastHandshakeAt).toBe(1_700_000_000_000 + pair.clock.ms);
  });
});

describe('counters', () => {
  it('beyond REKEY_AFTER_MESSAGES bring a new handshake, by either side', () => {
    for (const side of [0, 1]) {
      const { pair, peers } = sessionBlocks(() => new Pair());
      pair.connect();
      pair.advance(10_001, true);
      const end = [pair.a, pair.b][side];
      const slot = [0, 80, 160].find(at => !isZero(peers[side].subarray(at, at + 32))) as number;
      new DataView(peers[side].buffer, peers[side].byteOffset).setBigUint64(
        slot + 64,
        REKEY_AFTER_MESSAGES,
        true,
      );
      pair.send(end);
      expect(end.types).toEqual([DATA, INITIATION]);
      vi.restoreAllMocks();
    }
  });

  it('beyond REJECT_AFTER_MESSAGES send nothing: packets wait for new keys', () => {
    const { pair, peers } = sessionBlocks(() => new Pair());
    pair.connect();
    pair.advance(10_001, true);
    const slot = [0, 80, 160].find(at => !isZero(peers[0].subarray(at, at + 32))) as number;
    const counter = new DataView(peers[0].buffer, peers[0].byteOffset + slot + 64);
    counter.setBigUint64(0, REJECT_AFTER_MESSAGES - 1n, true);
    expect(pair.send(pair.a, 'the last')).toBe('sent');
    expect(pair.send(pair.a, 'one more')).toBe('staged');
    expect(pair.send(pair.a, 'and one')).toBe('staged');
    expect(pair.a.types).toEqual([DATA, INITIATION]);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'the last', 'one more', 'and one']);
  });

  it('that were accepted are not accepted again', () => {
    const pair = new Pair().connect();
    pair.send(pair.a);
    const [datagram] = pair.a.take();
    expect(pair.b.receive(datagram)).toBe('data');
    expect(pair.b.receive(datagram)).toEqual({ drop: 'replayedCounter' });
    expect(pair.b.received.length).toBe(2);
  });
});

describe('staged packets', () => {
  it('are 128, the oldest dropped first', () => {
    const pair = new Pair();
    for (let i = 0; i < 130; i++) pair.send(pair.a, `${i}`);
    expect(pair.a.drops.stagedOverflow).toBe(2);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(Array.from({ length: 128 }, (_, i) => `${i + 2}`));
  });

  it('are copied: the caller may use its buffer again', () => {
    const pair = new Pair();
    const packet = packetBetween(pair.a, pair.b, 'original');
    pair.a.device.sendPacket(packet);
    packet.fill(0, 20);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['original']);
  });
});

describe('roaming', () => {
  const elsewhere = new SimEndpoint(99, 7);

  it('follows authenticated data', () => {
    const pair = new Pair().connect();
    pair.send(pair.a);
    pair.b.receive(pair.a.take()[0], elsewhere);
    pair.send(pair.b);
    expect(String(pair.b.sent[0].to)).toBe('192.0.2.99:7');
    expect(pair.b.count('roamed')).toBe(1);
  });

  it('follows initiations and responses', () => {
    const pair = new Pair();
    pair.send(pair.a);
    pair.b.receive(pair.a.take()[0], elsewhere);
    expect(String(pair.b.sent[0].to)).toBe('192.0.2.99:7');
    pair.a.receive(pair.b.take()[0], elsewhere);
    expect(String(pair.a.device.peers()[0].endpoint)).toBe('192.0.2.99:7');
  });

  it('does not follow what is false or replayed', () => {
    const pair = new Pair();
    pair.send(pair.a);
    const [initiation] = pair.a.take();
    pair.b.receive(initiation);
    pair.clock.ms += 100;
    pair.b.receive(initiation, elsewhere);
    pair.settle();
    pair.send(pair.a);
    const [data] = pair.a.take();
    pair.b.receive(data);
    pair.b.receive(data, elsewhere);
    pair.b.receive({ ...data, bytes: data.bytes.with(40, data.bytes[40] ^ 1) }, elsewhere);
    expect(String(pair.b.device.peers()[0].endpoint)).toBe('192.0.2.1:51820');
  });

  it('a peer without an endpoint is reached once it has called', () => {
    const pair = new Pair();
    pair.b.device.removePeer(pair.a.publicKey);
    const allowedIps = [{ ip: Uint8Array.of(10, 0, 0, 1), prefix: 32 }];
    pair.b.device.setPeer({ publicKey: pair.a.publicKey, allowedIps });
    expect(pair.send(pair.b)).toEqual({ drop: 'noEndpoint' });
    pair.connect(pair.a);
    expect(pair.send(pair.b)).toBe('sent');
  });

  it('a keepalive that had nowhere to go leaves when an endpoint is set', () => {
    const pair = new Pair();
    pair.a.device.removePeer(pair.b.publicKey);
    pair.a.device.setPeer({ publicKey: pair.b.publicKey, persistentKeepalive: 25 });
    expect(pair.a.types).toEqual([]);
    pair.a.device.setPeer({ publicKey: pair.b.publicKey, endpoint: pair.b.endpoint });
    expect(pair.a.types).toEqual([INITIATION]);
  });
});

describe('allowed IPs', () => {
  const subnet = [{ ip: Uint8Array.of(10, 9, 0, 0), prefix: 16 }];

  it('a packet from an address that is not the sender is dropped, but the sender is heard', () => {
    const pair = new Pair().connect();
    const rx = pair.b.device.peers()[0].rxBytes;
    pair.a.device.sendPacket(ipv4Packet('10.0.0.77', '10.0.0.2', new Uint8Array(4)));
    expect(receiveAll(pair.b, pair.a)).toEqual([{ drop: 'disallowedSource' }]);
    expect(pair.b.received.length).toBe(1);
    expect(pair.b.device.peers()[0].rxBytes).toBe(rx + 64);
  });

  it('what is no IP packet, or lies about its length, is dropped', () => {
    const pair = new Pair().connect();
    const { device } = pair.a;
    const lies = packetBetween(pair.a, pair.b, 'x');
    lies[2] = 0x10;
    const short = packetBetween(pair.a, pair.b, 'x');
    short[3] = 19;
    const six = ipv6Packet(1, 2, new Uint8Array(0));
    six[4] = 0x40;
    device.setPeer({ publicKey: pair.b.publicKey, allowedIps: [{ ip: new Uint8Array(16), prefix: 0 }] });
    for (const packet of [lies, short, six]) device.sendPacket(packet);
    expect(receiveAll(pair.b, pair.a)).toEqual(Array(3).fill({ drop: 'malformed' }));
    for (const junk of [new Uint8Array(0), new Uint8Array(19), new Uint8Array(60).fill(0x55)]) {
      expect(device.sendPacket(junk)).toEqual({ drop: 'noRoute' });
    }
  });

  it('IPv6 goes through, padding removed', () => {
    const everything = [{ ip: new Uint8Array(16), prefix: 0 }];
    const pair = new Pair({
      a: { peer: { allowedIps: everything } },
      b: { peer: { allowedIps: everything } },
    });
    const packet = ipv6Packet(1, 2, new Uint8Array(5).fill(3));
    pair.a.device.sendPacket(packet);
    pair.settle();
    expect(pair.b.received).toEqual([packet]);
  });

  it('one that is given to another peer moves', () => {
    const pair = new Pair();
    pair.a.device.setPeer({ publicKey: pair.b.publicKey, allowedIps: subnet });
    const third = new Uint8Array(32).fill(0x77);
    pair.a.device.setPeer({ publicKey: third, endpoint: new SimEndpoint(3), allowedIps: subnet });
    expect(pair.a.device.peer(pair.b.publicKey)?.allowedIps.map(({ prefix }) => prefix)).toEqual([32]);
    expect(pair.a.device.peer(third)?.allowedIps).toEqual(subnet);
    pair.a.device.sendPacket(ipv4Packet('10.0.0.1', '10.9.1.1', new Uint8Array(4)));
    expect(String(pair.a.sent[0].to)).toBe('192.0.2.3:51820');
  });

  it('are replaced, removed and go with their peer', () => {
    const pair = new Pair();
    const { device } = pair.a;
    const publicKey = pair.b.publicKey;
    device.setPeer({ publicKey, replaceAllowedIps: true, allowedIps: subnet });
    expect(pair.send(pair.a)).toEqual({ drop: 'noRoute' });
    expect(device.removeAllowedIp(publicKey, subnet[0])).toBe(true);
    expect(device.removeAllowedIp(publicKey, subnet[0])).toBe(false);
    introduce(pair.a, pair.b);
    expect(pair.send(pair.a)).toBe('staged');
    expect(device.removePeer(publicKey)).toBe(true);
    expect(pair.send(pair.a)).toEqual({ drop: 'noRoute' });
  });
});

describe('what is counted', () => {
  it('bytes of every message, padding and overhead included, as Linux has them', () => {
    const pair = new Pair().connect();
    // 148 + 92, and a packet of 20 + 7 bytes, padded to 32.
    const [a] = pair.a.device.peers();
    const [b] = pair.b.device.peers();
    expect([a.txBytes, a.rxBytes]).toEqual([148 + 64, 92]);
    expect([b.txBytes, b.rxBytes]).toEqual([92, 148 + 64]);
    pair.a.device.sendKeepalive(pair.b.publicKey);
    pair.send(pair.a, new Uint8Array(1400));
    pair.settle();
    expect(pair.a.device.peers()[0].txBytes).toBe(148 + 64 + 32 + 1452);
    expect(pair.b.device.peers()[0].rxBytes).toBe(148 + 64 + 32 + 1452);
  });

  it('handshakes and drops, in the stats', () => {
    const pair = new Pair().connect();
    pair.a.receive({ bytes: new Uint8Array(3), from: pair.b.endpoint, to: pair.a.endpoint });
    const stats = pair.a.device.stats();
    expect(stats).toMatchObject({ handshakesCompleted: 1, forks: 0, held: false, epoch: 1 });
    expect(stats.drops.malformed).toBe(1);
    expect(Object.values(stats.drops).reduce((sum, n) => sum + n)).toBe(1);
  });
});

describe('identity', () => {
  it('a peer with our own key is ignored, and one that turns out to be us is removed', () => {
    const pair = new Pair();
    pair.a.device.setPeer({ publicKey: pair.a.publicKey });
    expect(pair.a.device.peers().length).toBe(1);
    pair.a.device.setPrivateKey(pair.b.privateKey);
    expect(pair.a.device.peers().length).toBe(0);
    expect(pair.a.device.publicKey).toEqual(pair.b.publicKey);
  });

  it('a new private key ends all sessions', () => {
    const { pair, peers } = sessionBlocks(() => new Pair());
    pair.connect();
    pair.send(pair.b);
    const [data] = pair.b.take();
    expect(isZero(peers[0])).toBe(false);
    pair.a.device.setPrivateKey(new Uint8Array(32).fill(0x13));
    expect(isZero(peers[0])).toBe(true);
    expect(pair.a.receive(data)).toEqual({ drop: 'unknownIndex' });
    expect(pair.send(pair.a)).toBe('staged');
    // B does not know who calls.
    expect(receiveAll(pair.b, pair.a)).toEqual([{ drop: 'unknownPeer' }]);
  });

  it('without a private key a device is silent', () => {
    const pair = new Pair().connect();
    pair.send(pair.b);
    pair.a.device.setPrivateKey();
    expect(pair.a.device.publicKey).toBeUndefined();
    expect(pair.send(pair.a)).toEqual({ drop: 'noPrivateKey' });
    pair.b.device.wipe();
    pair.b.take();
    pair.send(pair.b);
    expect(receiveAll(pair.a, pair.b)).toEqual([{ drop: 'noPrivateKey' }]);
    expect(pair.a.types).toEqual([]);
    pair.a.device.setPrivateKey(new Uint8Array(32));
    expect(pair.a.device.publicKey).toBeUndefined();
  });

  it('a peer whose key is a low-order point is never called', () => {
    const pair = new Pair();
    const publicKey = Uint8Array.of(1, ...new Uint8Array(31));
    const allowedIps = [{ ip: Uint8Array.of(10, 9, 0, 0), prefix: 16 }];
    pair.a.device.setPeer({ publicKey, endpoint: pair.b.endpoint, allowedIps });
    expect(pair.a.device.sendPacket(ipv4Packet('10.0.0.1', '10.9.0.1', new Uint8Array(1)))).toBe('staged');
    pair.advance(60_000);
    expect(pair.a.types).toEqual([]);
  });

  it.each([
    ['ERR_KEY_LENGTH', (p: Pair) => p.a.device.setPrivateKey(new Uint8Array(31))],
    ['ERR_KEY_LENGTH', (p: Pair) => p.a.device.setPeer({ publicKey: new Uint8Array(33) })],
    [
      'ERR_KEY_LENGTH',
      (p: Pair) => p.a.device.setPeer({ publicKey: p.b.publicKey, presharedKey: new Uint8Array(0) }),
    ],
    [
      'ERR_OPTION',
      (p: Pair) => p.a.device.setPeer({ publicKey: p.b.publicKey, persistentKeepalive: 65_536 }),
    ],
    ['ERR_OPTION', (p: Pair) => p.a.device.setPeer({ publicKey: p.b.publicKey, persistentKeepalive: 0.5 })],
    ['ERR_UNKNOWN_PEER', (p: Pair) => p.a.device.sendKeepalive(p.a.publicKey)],
    ['ERR_UNKNOWN_PEER', (p: Pair) => p.a.device.initiateHandshake(p.a.publicKey)],
    [
      'ERR_OPTION',
      (p: Pair) => {
        p.a.device.mtu = -1;
      },
    ],
  ])('misuse throws %s and changes nothing', (code, misuse) => {
    const pair = new Pair();
    const before = pair.a.device.peers();
    expect(() => misuse(pair)).toThrow(expect.objectContaining({ code }));
    expect(pair.a.device.peers()).toEqual(before);
  });

  it('an MTU of 0 pads to sixteen and no more', () => {
    const pair = new Pair({ a: { device: { mtu: 0 } } }).connect();
    expect(pair.send(pair.a, new Uint8Array(2000))).toBe('sent');
    expect(pair.a.sent[0].bytes.length).toBe(32 + 2032);
    pair.settle();
    expect(pair.b.received.length).toBe(2);
  });
});

describe('key memory', () => {
  it('holds the session, and nothing after a wipe', () => {
    const { pair, blocks } = sessionBlocks(() => new Pair());
    pair.connect();
    const slab = blocks.filter(block => block.length === BLOCK);
    expect(slab.filter(block => !isZero(block)).length).toBe(2);
    pair.advance(6_000);
    pair.a.device.initiateHandshake(pair.b.publicKey);
    pair.a.device.wipe();
    pair.b.device.wipe();
    expect(slab.every(isZero)).toBe(true);
    expect(pair.a.device.stats().wipedKeypairs).toBe(1);
    // Identities stay: the next packet finds a session.
    pair.a.take();
    pair.connect();
    expect(pair.b.received.length).toBe(2);
  });

  it('of a removed peer is zero at once', () => {
    const presharedKey = new Uint8Array(32).fill(5);
    const { pair, blocks, peers } = sessionBlocks(
      () => new Pair({ a: { peer: { presharedKey } }, b: { peer: { presharedKey } } }),
    );
    pair.connect();
    pair.advance(6_000);
    pair.a.device.initiateHandshake(pair.b.publicKey);
    const identity = blocks.find(block => block.length === 64 && block[0] === 5) as Uint8Array;
    expect(isZero(identity)).toBe(false);
    pair.a.device.removePeer(pair.b.publicKey);
    expect(isZero(peers[0])).toBe(true);
    expect(isZero(identity)).toBe(true);
    expect(pair.a.device.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
    expect(pair.a.device.removePeer(pair.b.publicKey)).toBe(false);
  });

  it('holds nothing of an identity that was replaced', () => {
    const presharedKey = new Uint8Array(32).fill(5);
    const { pair, blocks } = sessionBlocks(
      () => new Pair({ a: { peer: { presharedKey } }, b: { peer: { presharedKey } } }),
    );
    pair.connect();
    const peer = blocks.find(block => block.length === 64 && block[0] === 5) as Uint8Array;
    const staticShared = peer.subarray(32);
    expect(isZero(staticShared)).toBe(false);
    pair.a.device.setPrivateKey(new Uint8Array(32).fill(7));
    expect(isZero(staticShared)).toBe(true);
  });

  it('is all zero after close', () => {
    const { pair, blocks } = sessionBlocks(() => new Pair());
    pair.connect();
    pair.a.device.close();
    pair.b.device.close();
    expect(blocks.length).toBeGreaterThan(5);
    expect(blocks.every(isZero)).toBe(true);
    expect(pair.send(pair.a)).toEqual({ drop: 'noRoute' });
  });

  it('keys that are 540 s old are erased', () => {
    const { pair, peers } = sessionBlocks(() => new Pair());
    pair.connect();
    pair.advance(540_000, true);
    for (const block of peers) {
      for (const at of [0, 80, 160]) expect(isZero(block.subarray(at, at + 64))).toBe(true);
      expect(isZero(block.subarray(240))).toBe(true);
    }
  });
});
