import { describe, expect, it } from 'vitest';
import { toThreadEvent } from '../../../../tunnel/daemon/device-thread/messages.js';
import { EventTally, composeStatus } from '../../../../tunnel/daemon/device-thread/status.js';
import { encodeKey } from '../../../../tunnel/keys.js';
import type { LoopReport } from '../../../../tunnel/linux/device-loop.js';
import { LinuxUdpEndpoint } from '../../../../tunnel/linux/net/udp-endpoint.js';
import { MAX_EPOCHS, MAX_MOVES, parseStatus } from '../../../../tunnel/daemon/status.js';
import { newCounters } from '../../../../tunnel/transport.js';
import { peerStatus } from '../status.js';

const peer = new Uint8Array(32).fill(3);

const report: LoopReport = {
  name: 'wg0',
  mtu: 1_420,
  linkState: 'up',
  home: true,
  protection: 'immediate',
  clockBehindMs: 0,
  keyMemory: { bytes: 4_096, lockedBytes: 4_096, refused: null },
  publicKey: encodeKey(peer),
  listenPort: 51_820,
  suite: 'noble',
  offloads: ['UDP_GRO'],
  nonceHeadroom: '18446744073709543422',
  staleKeypairs: 0,
  settings: { forkPolicy: 'wipe', strict: true, holdBackMs: 0, tripwire: true },
  device: {
    drops: { badTag: 4 } as never,
    epoch: 2,
    held: false,
    forks: 1,
    drills: 2,
    wipedKeypairs: 3,
    handshakesCompleted: 7,
    discardedAtRelease: 5,
    waitingForFreshness: 0,
    sessionSlabBytes: 1,
    clonedPeers: 0,
    recovery: { epoch: 2, ageMs: 9, called: 2, back: 0, lastBackMs: undefined },
    admission: undefined,
  },
  peers: [],
  udp: {
    received: 1,
    sent: 2,
    malformed: 1,
    noFamily: 2,
    badLength: 3,
    queueFull: 4,
    sendFailed: 5,
    sourcesForgotten: 0,
    waitingErrors: 0,
    runsRefused: 0,
  },
  lastUdpError: undefined,
  enrolment: undefined,
  loop: {
    packetsIn: 0,
    packetsOut: 0,
    reads: 0,
    writes: 0,
    unsplittable: 7,
    undeliverable: 8,
    noSocket: 6,
    noRelayRoom: 2,
    turns: 0,
  },
};

const parts = {
  report,
  vmgenid: { sources: [] },
  version: '1.2.3',
  uptimeMs: 10,
  wallClock: 1_000_000,
  privileges: null,
  openssl: null,
  webSockets: [],
  gateway: undefined,
  enrolment: null,
};

describe('the status of a device thread', () => {
  it('is what a client reads, with the drops of socket, loop and relays added up', () => {
    const relay = newCounters();
    relay.dropped.queueFull = 10;
    const status = composeStatus({ ...parts, tally: new EventTally(), relayCounters: [relay] });
    expect(parseStatus(JSON.stringify(status))).toEqual(status);
    expect(status.transportDrops).toMatchObject({
      malformed: 1,
      noFamily: 2,
      badLength: 3,
      queueFull: 16,
      sendFailed: 5,
      notConnected: 6,
    });
    expect(status.interfaceDrops).toEqual({ unsplittable: 7, undeliverable: 8 });
    expect(status.hints).toEqual([]);
  });

  it('hints at a clock when nobody has answered since a fork, and not when that was a drill', () => {
    const tally = new EventTally();
    const tell = (event: Parameters<EventTally['count']>[0]) => tally.count(event, () => 99);
    const initiated = { type: 'handshakeInitiated', peer, attempt: 1 } as const;
    const ended = { policy: 'wipe', wipedKeypairs: 1, wipedHandshakes: 0 } as const;
    const { device } = report;
    const composed = (back: number) => {
      const recovery = { epoch: 2, ageMs: 9, called: 2, back, lastBackMs: undefined };
      const peers = [
        peerStatus({ publicKey: encodeKey(peer), recovery: { backAfterMs: back > 0 ? 5 : null } }),
      ];
      return composeStatus({
        ...parts,
        report: { ...report, device: { ...device, recovery }, peers },
        tally,
        relayCounters: [],
      });
    };
    tell({ type: 'vmFork', epoch: 2, ...ended });
    for (let i = 0; i < 3; i++) tell(initiated);
    const silence = composed(0);
    expect(silence.handshakes).toEqual({ completed: 7 });
    expect(silence.hints.join()).toContain('clock may be behind');
    tell({ type: 'vmFork', epoch: 3, isDrill: true, ...ended });
    expect(composed(0).hints.join()).not.toContain('clock may be behind');
    tell({ type: 'handshakeComplete', peer, role: 'responder' });
    expect(composed(1).hints).toEqual([]);
  });

  it('counts what peers took to come back, after forks and drills apart, and when these were', () => {
    const tally = new EventTally();
    let now = 50;
    const tell = (event: Parameters<EventTally['count']>[0]) => tally.count(event, () => now);
    const back = (afterForkMs?: number) =>
      tell({ type: 'handshakeComplete', peer, role: 'initiator', afterForkMs });
    const ended = { policy: 'wipe', wipedKeypairs: 1, wipedHandshakes: 0 } as const;
    expect(tally.forks).toMatchObject({ lastForkAt: null, lastDrillAt: null });
    back();
    tell({ type: 'vmFork', epoch: 2, ...ended });
    for (const ms of [3, 3, 400]) back(ms);
    now = 70;
    tell({ type: 'vmFork', epoch: 3, isDrill: true, ...ended });
    back(70_000);
    back();
    const { lastForkAt, lastDrillAt, epochs, recoveries } = composeStatus({
      ...parts,
      tally,
      relayCounters: [],
    });
    expect([lastForkAt, lastDrillAt]).toEqual([50, 70]);
    expect(epochs).toEqual([
      { epoch: 2, at: 50, cause: 'fork' },
      { epoch: 3, at: 70, cause: 'drill' },
    ]);
    expect([recoveries.fork.sumMs, recoveries.fork.counts[0]]).toEqual([406, 2]);
    expect([recoveries.drill.sumMs, recoveries.drill.counts.at(-1)]).toEqual([70_000, 1]);
    expect(recoveries.drill.counts.reduce((sum, each) => sum + each)).toBe(1);
  });

  it('keeps the latest epochs, and no more of them than it may', () => {
    const tally = new EventTally();
    const ended = { policy: 'wipe', wipedKeypairs: 1, wipedHandshakes: 0 } as const;
    for (let epoch = 2; epoch < 2 + 3 * MAX_EPOCHS; epoch++)
      tally.count({ type: 'vmFork', epoch, ...ended }, () => epoch);
    const { epochs } = composeStatus({ ...parts, tally, relayCounters: [] });
    expect(epochs).toHaveLength(MAX_EPOCHS);
    expect(epochs.at(-1)).toEqual({ epoch: 1 + 3 * MAX_EPOCHS, at: 1 + 3 * MAX_EPOCHS, cause: 'fork' });
  });

  it('tells how far it has come back from a fork, in JSON', () => {
    const { recovery } = composeStatus({ ...parts, report, tally: new EventTally(), relayCounters: [] });
    expect(recovery).toEqual({ epoch: 2, ageMs: 9, called: 2, back: 0, lastBackMs: null });
    const unforked = { ...report, device: { ...report.device, recovery: undefined } };
    expect(
      composeStatus({ ...parts, report: unforked, tally: new EventTally(), relayCounters: [] }).recovery,
    ).toBeNull();
  });

  it('counts by peer what was not answered and how often it moved, and forgets those that are gone', () => {
    const tally = new EventTally();
    const listed = {
      publicKey: encodeKey(peer),
      allowedIps: [],
      endpoint: null,
      lastHandshakeAt: 0,
      rxBytes: 0,
      txBytes: 0,
      hasSession: false,
      sessionEpoch: null,
      sessionIndex: null,
      recovery: null,
    };
    const seen = (peers = [listed]) =>
      composeStatus({ ...parts, report: { ...report, peers }, tally, relayCounters: [] }).peers;
    const moved = (at: number) => tally.count({ type: 'roamed', peer, endpoint: 'x' }, () => at);
    for (let attempt = 1; attempt <= 4; attempt++)
      tally.count({ type: 'handshakeInitiated', peer, attempt }, () => 0);
    moved(parts.wallClock - 60_000);
    for (let i = 0; i < 3; i++) moved(parts.wallClock - i);
    expect(seen()).toEqual([{ ...listed, unanswered: 4, moves: 3 }]);
    for (let i = 0; i < 100; i++) moved(parts.wallClock);
    expect(seen()[0].moves).toBe(MAX_MOVES);
    tally.count({ type: 'handshakeComplete', peer, role: 'responder' }, () => 0);
    expect(seen()[0].unanswered).toBe(0);
    expect(seen([])).toEqual([]);
    expect(seen()).toEqual([{ ...listed, unanswered: 0, moves: 0 }]);
  });

  it('of a gateway is what it counts and what its device does', () => {
    const refused = { revoked: 1, notEnrolled: 2, addressTaken: 3, full: 4, storeFailed: 5 };
    const gateway = { refused, lookups: 6, expired: 7, known: 8 };
    const admission = { awaited: 9, provisional: 10, present: 11, admitted: 12, expired: 13, evicted: 14 };
    const device = { ...report.device, admission };
    const tally = new EventTally();
    const status = composeStatus({
      ...parts,
      report: { ...report, device },
      gateway,
      tally,
      relayCounters: [],
    });
    expect(parseStatus(JSON.stringify(status))).toEqual(status);
    expect(status.gateway).toEqual({
      refused,
      lookups: 6,
      known: 8,
      expired: 7,
      awaited: 9,
      provisional: 10,
      present: 11,
      admitted: 12,
      unproven: 13,
      evicted: 14,
    });
    expect(composeStatus({ ...parts, tally, relayCounters: [] }).gateway).toBeNull();
  });

  it('remembers the last peer that was found cloned', () => {
    const tally = new EventTally();
    const from = LinuxUdpEndpoint.of(Uint8Array.of(192, 0, 2, 1), 7);
    const event = toThreadEvent({
      type: 'peerCloned',
      peer,
      counter: 5n,
      from,
      knownEndpoint: undefined,
      wipedKeypairs: 1,
    } as never);
    expect(event).toMatchObject({ from: '192.0.2.1:7', knownEndpoint: undefined });
    tally.count(event, () => 99);
    expect(tally.lastTripwire).toEqual({ peer: encodeKey(peer), at: 99 });
  });
});
