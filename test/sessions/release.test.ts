// The release gate under a device: batches, sinks that call back, sinks that fail.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { bytesOf } from '../../native/room.js';
import type { Sealer, Suite } from '../../protocol/suite.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { ReleaseGate } from '../../sessions/release.js';
import { VmGenId } from '../../vmgenid/index.js';
import { Announcer } from '../crng/machine.js';
import { SimEndpoint } from '../support/machine.js';
import { type Datagram, Pair, packetBetween, payloadOf } from '../support/pair.js';

const ID = new Uint8Array(16).fill(0xf0);
const counterOf = ({ bytes }: Datagram) => new DataView(bytes.buffer).getBigUint64(8, true);

describe('a corked device', () => {
  it('reads the generation once for a whole batch, after the last was sealed', () => {
    const pair = new Pair().connect();
    pair.send(pair.a);
    pair.a.take();
    pair.a.device.cork();
    for (let i = 0; i < 50; i++) expect(pair.send(pair.a, `${i}`)).toBe('sent');
    expect(pair.a.types).toEqual([]);
    expect(pair.a.device.nextDeadline()).toBeGreaterThan(pair.clock.ms);
    const before = pair.a.reads;
    pair.a.device.uncork();
    expect(pair.a.reads - before).toBe(1);
    expect(pair.a.sent.length).toBe(50);
    pair.settle();
    expect(pair.b.received.slice(-50).map(payloadOf)).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`));
  });

  it('reads the clock no more often for a batch than for one packet', () => {
    const state = { reads: 0, ms: 1_000_000 };
    const now = () => {
      state.reads++;
      return state.ms;
    };
    const clock = { now, wallClock: () => 1_700_000_000_000 + state.ms };
    const pair = new Pair({ a: { device: { clock } } }).connect();
    const readsFor = (packets: number) => {
      const before = state.reads;
      pair.a.device.cork();
      for (let i = 0; i < packets; i++) expect(pair.send(pair.a)).toBe('sent');
      pair.a.device.uncork();
      return state.reads - before;
    };
    expect(readsFor(50)).toBe(readsFor(1));
  });

  it('discards the whole batch when the machine was forked before the reading', () => {
    const pair = new Pair().connect();
    pair.advance(1_000);
    pair.a.device.cork();
    for (let i = 0; i < 5; i++) pair.send(pair.a, `${i}`);
    pair.a.source.fork(ID);
    pair.a.device.uncork();
    expect(pair.a.types).not.toContain(4);
    expect(pair.a.device.stats().discardedAtRelease).toBe(5);
    expect(pair.a.drops.staleEpoch).toBe(5);
    pair.advance(10, true);
    expect(pair.a.count('handshakeComplete')).toBe(2);
  });

  it('control: forked after the reading, the batch leaves, the same in every clone', () => {
    const pair = new Pair().connect();
    pair.a.device.cork();
    for (let i = 0; i < 5; i++) pair.send(pair.a, `${i}`);
    pair.a.device.uncork();
    pair.a.source.fork(ID);
    expect(pair.a.sent.length).toBe(5);
  });

  it('corks nest, and one uncork too many does no harm', () => {
    const pair = new Pair().connect();
    const { device } = pair.a;
    device.cork();
    device.cork();
    pair.send(pair.a);
    device.uncork();
    expect(pair.a.types).toEqual([]);
    device.uncork();
    device.uncork();
    expect(pair.a.types).toEqual([4]);
    device.cork();
    pair.send(pair.a);
    expect(pair.a.types).toEqual([4]);
    device.uncork();
    expect(pair.a.types).toEqual([4, 4]);
  });
});

describe('a device that holds back', () => {
  /** A source that tells of a fork when it is asked, and not before. */
  function asked(holdBackMs: number) {
    const announcer = new Announcer();
    const pair = new Pair({ a: { device: { holdBackMs }, sources: [announcer] } }).connect();
    pair.advance(6_000, true);
    const state = { polls: 0, isForked: false };
    announcer.poll = () => {
      state.polls++;
      if (state.isForked) announcer.announce({ vmGenId: ID });
    };
    return { pair, state };
  }

  it('asks the delayed sources before anything leaves, and what one of them has shown discards it', () => {
    const { pair, state } = asked(20);
    pair.send(pair.a, 'sealed before the fork');
    state.isForked = true;
    pair.clock.ms += 20;
    pair.a.device.runTimers();
    expect(pair.a.types).not.toContain(4);
    expect(pair.a.device.stats().discardedAtRelease).toBe(1);
  });

  it('control: one that holds nothing back does not ask them, and it leaves', () => {
    const { pair, state } = asked(0);
    state.isForked = true;
    pair.send(pair.a, 'sealed after the fork');
    expect([pair.a.types, state.polls]).toEqual([[4], 0]);
  });

  it('lets every datagram of a stream that never pauses leave once, in order, after its time', () => {
    const holdBackMs = 20;
    const pair = new Pair({ a: { device: { holdBackMs } } });
    pair.connect();
    pair.advance(100, true);
    const before = pair.a.sent.length;
    const packets = 4_000;
    for (let i = 0; i < packets; i++) {
      pair.send(pair.a, `${i}`);
      pair.clock.ms += 1;
      pair.a.device.runTimers();
    }
    expect(pair.a.sent.length - before).toBe(packets - holdBackMs + 1);
    pair.clock.ms += holdBackMs;
    pair.a.device.runTimers();
    const counters = pair.a.sent.slice(before).map(counterOf);
    expect(counters.slice(1).every((counter, i) => counter === counters[i] + 1n)).toBe(true);
    expect(counters.length).toBe(packets);
  });
});

describe('a sink that calls back', () => {
  /** Whatever one device sends, the other has received before the call returns. */
  function shortCircuit(): Pair {
    const pair: Pair = new Pair({
      a: { onDatagram: datagram => pair.b.receive(datagram) },
      b: { onDatagram: datagram => pair.a.receive(datagram) },
    });
    return pair;
  }

  it('handshakes and delivers within one call', () => {
    const pair = shortCircuit();
    pair.send(pair.a, 'at once');
    expect(pair.b.received.map(payloadOf)).toEqual(['at once']);
    for (let i = 0; i < 20; i++) pair.send(i % 2 ? pair.a : pair.b, `${i}`);
    expect(pair.a.received.length + pair.b.received.length).toBe(21);
    pair.advance(130_000);
    pair.send(pair.a, 'rekeys');
    expect(pair.a.count('handshakeComplete')).toBe(2);
    expect(pair.b.received.map(payloadOf).at(-1)).toBe('rekeys');
  });

  it('keeps the order of counters when it sends from within', () => {
    let echo = 0;
    const pair: Pair = new Pair({
      a: {
        onDatagram: ({ bytes }) => {
          if (bytes[0] === 4 && echo-- > 0) pair.send(pair.a, 'from within');
        },
      },
    });
    pair.connect();
    echo = 5;
    pair.a.device.cork();
    pair.send(pair.a, 'one');
    pair.send(pair.a, 'two');
    pair.a.device.uncork();
    const counters = pair.a.sent.map(counterOf);
    expect(counters.length).toBe(7);
    expect(counters).toEqual(counters.toSorted((x, y) => (x < y ? -1 : 1)));
  });

  it('never releases what it sealed from within before a reading of its own', () => {
    let inner: unknown;
    const pair: Pair = new Pair({
      a: {
        onDatagram: ({ bytes }) => {
          if (bytes[0] !== 4 || inner !== undefined || pair.b.received.length === 0) return;
          inner = pair.send(pair.a, 'from within');
          // The fork falls between the outer release and the inner one.
          pair.a.source.fork(ID);
        },
      },
    });
    pair.connect();
    pair.send(pair.a, 'outer');
    expect(inner).toBe('sent');
    expect(pair.a.sent.filter(({ bytes }) => bytes[0] === 4).length).toBe(1);
    expect(pair.a.device.stats().discardedAtRelease).toBe(1);
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'outer']);
  });

  it('may remove the peer: no timer goes on for it', () => {
    const pair: Pair = new Pair({
      a: {
        peer: { persistentKeepalive: 5 },
        onDatagram: ({ bytes }) => {
          if (bytes[0] === 4) pair.a.device.removePeer(pair.b.publicKey);
        },
      },
    });
    pair.settle();
    expect(pair.a.device.peers()).toEqual([]);
    pair.advance(600_000);
    expect(pair.a.device.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
    expect(pair.a.types).toEqual([]);
  });

  it('may remove the peer that a packet came from', () => {
    const pair: Pair = new Pair({
      a: { onPacket: () => pair.a.device.removePeer(pair.b.publicKey) },
    });
    pair.connect();
    pair.send(pair.b);
    pair.settle();
    pair.advance(600_000);
    expect(pair.a.device.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
  });

  it('may close the device: nothing of what waits behind leaves', () => {
    const pair: Pair = new Pair({
      a: {
        onDatagram: ({ bytes }) => {
          if (bytes[0] === 4 && pair.b.received.length > 0) pair.a.device.close();
        },
      },
    });
    pair.connect();
    pair.a.device.cork();
    for (const text of ['one', 'two', 'three']) pair.send(pair.a, text);
    pair.a.device.uncork();
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'one']);
  });

  it('may wipe the device while staged packets go out', () => {
    let wipe = false;
    const pair: Pair = new Pair({
      a: {
        onDatagram: ({ bytes }) => {
          if (wipe && bytes[0] === 4) pair.a.device.wipe();
        },
      },
    });
    for (let i = 0; i < 5; i++) pair.send(pair.a, `${i}`);
    wipe = true;
    pair.settle();
    wipe = false;
    pair.advance(6_000, true);
    pair.send(pair.a, 'and on');
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['0', '1', '2', '3', '4', 'and on']);
  });
});

describe('a sealer that fails', () => {
  /** It seals nothing until it is told to settle, as a native one, and zeroes what it could not seal. */
  function failing() {
    const batch: (() => void)[] = [];
    const plaintexts: Uint8Array[] = [];
    const state = { fails: false, plaintexts };
    const sealer: Sealer = {
      seal: (key, low, high, memory, offset, length) => {
        const [copy, buffer] = [key.slice(), bytesOf(memory)];
        plaintexts.push(buffer);
        batch.push(() => nobleSuite.seal(copy, low, high, buffer, offset, length));
      },
      settle: () => {
        const work = batch.splice(0);
        if (state.fails) throw new Error('no memory for this');
        for (const seal of work) seal();
      },
    };
    const suite = Object.assign(Object.create(nobleSuite) as Suite, { sealer: () => sealer });
    return { state, pair: new Pair({ a: { device: { suite } } }).connect() };
  }

  it('has all that waits for it discarded, zeroed and counted, and takes on what comes after', () => {
    const { state, pair } = failing();
    state.plaintexts.length = 0;
    state.fails = true;
    pair.a.device.cork();
    for (const text of ['one', 'two', 'three']) pair.send(pair.a, text);
    expect(() => pair.a.device.uncork()).toThrow('no memory for this');
    expect(pair.a.types).toEqual([]);
    expect(state.plaintexts.map(bytes => bytes.some(byte => byte !== 0))).toEqual([false, false, false]);
    expect(pair.a.device.stats().discardedAtRelease).toBe(3);
    state.fails = false;
    pair.clock.ms += 6_000;
    pair.send(pair.a, 'four');
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'four']);
  });
});

describe('a sink that fails', () => {
  it('loses its datagram, not those behind it, and leaves the gate working', () => {
    let failures = 1;
    const pair: Pair = new Pair({
      a: {
        onDatagram: ({ bytes }) => {
          if (bytes[0] === 4 && pair.b.received.length > 0 && failures-- > 0) throw new Error('no route');
        },
      },
    });
    pair.connect();
    pair.a.device.cork();
    for (const text of ['one', 'two', 'three']) pair.send(pair.a, text);
    expect(() => pair.a.device.uncork()).toThrow('no route');
    pair.send(pair.a, 'four');
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'two', 'three', 'four']);
  });

  it('a failing listener of events does not leave the device corked', () => {
    let fail = false;
    const pair: Pair = new Pair({
      a: {
        device: {
          onEvent: () => {
            if (fail) throw new Error('listener');
          },
        },
      },
    });
    pair.connect();
    fail = true;
    pair.clock.ms += 6_000;
    expect(() => pair.a.device.initiateHandshake(pair.b.publicKey)).toThrow('listener');
    fail = false;
    pair.settle();
    expect(pair.a.device.sendPacket(packetBetween(pair.a, pair.b, 'on'))).toBe('sent');
    pair.settle();
    expect(pair.b.received.map(payloadOf)).toEqual(['connect', 'on']);
  });
});

describe('a gate', () => {
  function gateTo(sendDatagram: () => void): ReleaseGate {
    return new ReleaseGate({
      sealer: { settle: () => {} },
      vmgenid: new VmGenId([]),
      clock: { now: () => 0, wallClock: () => 0 },
      sink: { sendDatagram, deliverPacket: () => {} },
      holdBackMs: 0,
      onReleased: () => {},
      onDiscarded: () => {},
    });
  }

  it('has room for each datagram, long or short, whatever memory it has taken back', () => {
    const gate = gateTo(() => {});
    for (const length of [100, 2_048, 2_049, 65_535, 148, 9_000]) {
      const output = gate.output(length);
      expect(output.bytes.length).toBe(length);
      gate.abandon(output);
    }
    const another = gateTo(() => {});
    const short = another.output(100);
    another.abandon(another.output(3_000));
    another.abandon(short);
    expect([another.output(3_000), another.output(3_000)].map(({ bytes }) => bytes.length)).toEqual([
      3_000, 3_000,
    ]);
  });

  it.each([
    ['first', [2, 1]],
    ['last', [1, 2]],
  ])('says that something was discarded, be it the %s', (_, epochs) => {
    let left = 0;
    const gate = gateTo(() => void left++);
    for (const epoch of epochs) gate.push(gate.output(100), 'data', new SimEndpoint(1), undefined, epoch);
    expect([gate.flush(), left]).toEqual([false, 1]);
    gate.push(gate.output(100), 'data', new SimEndpoint(1), undefined, 1);
    expect([gate.flush(), left]).toEqual([true, 2]);
  });
});

describe('a gate through which very many datagrams have gone', () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const DATAGRAMS = 400_000;

  function heapBytes(): number {
    collectGarbage();
    return process.memoryUsage().heapUsed;
  }

  /** How much the heap grows while so many pass; `held`: this many are always waiting to leave. */
  function growth(held: number): number {
    const clock = { ms: 0 };
    let left = 0;
    const gate = new ReleaseGate({
      sealer: { settle: () => {} },
      vmgenid: new VmGenId([]),
      clock: { now: () => clock.ms, wallClock: () => 0 },
      sink: { sendDatagram: () => void left++, deliverPacket: () => {} },
      holdBackMs: held,
      onReleased: () => {},
      onDiscarded: () => {},
    });
    const to = new SimEndpoint(1);
    const pass = (count: number) => {
      for (let i = 0; i < count; i++) {
        clock.ms++;
        gate.push(gate.output(100), 'data', to, undefined, 1);
        gate.flush();
      }
    };
    // Many at once, too.
    for (let i = 0; i < 2_000; i++) gate.push(gate.output(100), 'data', to, undefined, 1);
    pass(5_000);
    const before = heapBytes();
    pass(DATAGRAMS);
    const after = heapBytes();
    expect(left).toBe(7_000 + DATAGRAMS - held);
    return after - before;
  }

  it.each([
    ['at once', 0],
    ['after a while', 20],
  ])('%s keeps nothing of them', (_, held) => {
    // One word for each of them would be twice as much.
    expect(growth(held)).toBeLessThan(4 * DATAGRAMS);
  });
});
