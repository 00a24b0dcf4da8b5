// The wall clock of a clone whose system clock stayed behind.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nobleSuite } from '../../../protocol/suites/noble.js';
import { ForkClock, readRtc } from '../../../tunnel/loop/fork-clock.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
import { End, introduce, Pair } from '../../support/pair.js';

const START = 1_700_000_000_000;

/** A machine with two clocks, or with its own alone. `reads`: how often the hardware clock was asked. */
function machine(rtcAheadMs: number | null = 400) {
  const state = { now: 5_000, system: START, rtc: START + (rtcAheadMs ?? 0), reads: 0 };
  const source = new MemorySource();
  const vmgenid = new VmGenId([source]);
  const clock = new ForkClock({
    vmgenid,
    clock: { now: () => state.now, wallClock: () => state.system },
    readHardware: () => {
      state.reads++;
      return rtcAheadMs === null ? undefined : Math.floor(state.rtc / 1_000) * 1_000;
    },
  });
  return {
    state,
    clock,
    pass(ms: number) {
      state.now += ms;
      state.system += ms;
      state.rtc += ms;
    },
    /** A restore so long after the snapshot; only what runs outside the machine has gone on. */
    fork(ms: number, id: number) {
      state.rtc += ms;
      source.fork(new Uint8Array(16).fill(id));
      vmgenid.check();
    },
  };
}

describe('the clock after a fork', () => {
  it('goes on with the hardware clock where the system’s stayed behind', () => {
    const { clock, pass, fork, state } = machine();
    pass(10_000);
    expect([clock.wallClock(), clock.behindMs]).toEqual([START + 10_000, 0]);
    fork(3_600_000, 1);
    const real = Math.floor(state.rtc / 1_000) * 1_000;
    expect(clock.wallClock()).toBe(real);
    expect(clock.behindMs).toBe(real - state.system);
    pass(1_234);
    expect(clock.wallClock()).toBe(real + 1_234);
    expect(clock.now()).toBe(16_234);
  });

  it('control: without a fork, or without a hardware clock, it stays behind with the system', () => {
    const quiet = machine();
    quiet.state.rtc += 3_600_000;
    expect(quiet.clock.wallClock()).toBe(START);
    const without = machine(null);
    without.fork(3_600_000, 1);
    expect(without.clock.wallClock()).toBe(START);
  });

  it('asks the hardware once for each fork, and only when the time is wanted', () => {
    const { clock, fork, state } = machine();
    const before = state.reads;
    fork(60_000, 1);
    expect(state.reads).toBe(before);
    for (let i = 0; i < 5; i++) clock.wallClock();
    expect(state.reads).toBe(before + 1);
    fork(60_000, 2);
    expect(clock.behindMs).toBeGreaterThan(118_000);
    expect(state.reads).toBe(before + 2);
  });

  it('is the system’s again as soon as that one was set, and never behind it', () => {
    const { clock, fork, state } = machine();
    fork(60_000, 1);
    clock.wallClock();
    state.system = state.rtc;
    expect([clock.wallClock(), clock.behindMs]).toEqual([state.rtc, 0]);
    state.system += 5_000_000;
    expect(clock.wallClock()).toBe(state.system);
  });

  it('takes a difference below two seconds for none', () => {
    const { clock, fork } = machine(0);
    fork(1_999, 1);
    expect(clock.behindMs).toBe(0);
    fork(1_000, 2);
    expect(clock.behindMs).toBe(2_000);
  });

  it.each([
    ['ahead by an hour, as local time is', 3_600_000],
    ['behind', -61_000],
  ])('leaves a hardware clock alone that was %s at the start', (_name, ahead) => {
    const { clock, fork } = machine(ahead);
    fork(86_400_000, 1);
    expect(clock.wallClock()).toBe(START);
  });

  it('closed, it hears of no fork', () => {
    const { clock, fork } = machine();
    clock.close();
    fork(60_000, 1);
    expect(clock.behindMs).toBe(0);
  });
});

describe('a peer that has heard from a sibling meanwhile', () => {
  /** What it makes of the handshake of a clone, an hour after the snapshot, by this clock. */
  function answerTo(rtc: boolean) {
    const HOUR_MS = 3_600_000;
    const held: { clock?: ForkClock; pair?: Pair } = {};
    const pair = new Pair({
      a: {
        device: {
          clock: { now: () => held.pair?.clock.ms ?? 1_000_000, wallClock: () => held.clock!.wallClock() },
        },
      },
    });
    held.pair = pair;
    const { a, b, clock } = pair;
    const system = { now: () => clock.ms, wallClock: () => START + clock.ms };
    const outside = { aheadMs: 0 };
    held.clock = new ForkClock({
      vmgenid: a.vmgenid,
      clock: system,
      readHardware: () => (rtc ? system.wallClock() + outside.aheadMs : undefined),
    });
    pair.connect();
    clock.ms += 1_000;

    // The snapshot. A sibling with the same key and the right time talks to the peer; then this clone is started.
    const sibling = new End(1, { ms: clock.ms, wallMs: HOUR_MS }, nobleSuite, {});
    introduce(sibling, b);
    sibling.device.initiateHandshake(b.publicKey);
    expect(sibling.take().map(datagram => b.receive(datagram))).toEqual(['handshake']);
    clock.ms += 1_000;
    outside.aheadMs = HOUR_MS;
    a.source.fork(new Uint8Array(16).fill(1));
    pair.send(a);
    a.device.runTimers();
    return a.take().map(datagram => b.receive(datagram));
  }

  it('accepts the handshake of a clone that takes the hardware clock’s time', () => {
    expect(answerTo(true)).toEqual(['handshake']);
  });

  it('control: takes it for a replay when the clone’s clock stayed behind', () => {
    expect(answerTo(false)).toEqual([{ drop: 'replayedInitiation' }]);
  });
});

describe('readRtc', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'wireonce-rtc-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('reads seconds as the kernel prints them, and says nothing of anything else', () => {
    const path = join(folder, 'since_epoch');
    expect(readRtc(path)).toBeUndefined();
    writeFileSync(path, '1700000000\n');
    expect(readRtc(path)).toBe(START);
    for (const text of ['', 'nonsense', '-5\n', '1e400']) {
      writeFileSync(path, text);
      expect(readRtc(path)).toBeUndefined();
    }
  });
});
