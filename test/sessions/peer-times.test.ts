import { describe, expect, test } from 'vitest';
import { PeerRecords, PeerTimes, Timer } from '../../sessions/peer-times.js';

const OFF = Number.POSITIVE_INFINITY;
const NEVER = Number.NEGATIVE_INFINITY;

const NAMES = [
  'scheduledFor',
  'lastSentHandshake',
  'cookieReceivedAt',
  'lastTraffic',
  'persistentKeepaliveMs',
  'txBytes',
  'rxBytes',
  'newHandshakeJitterMs',
  'lastConsumedInitiation',
  'lastHandshakeAt',
] as const;
const SESSION_TIMERS = [Timer.keepalive, Timer.newHandshake, Timer.retransmit, Timer.erase] as const;
/** The session timers, what a wipe ends or forgets, and what outlives it. */
const FRESH = [OFF, OFF, OFF, OFF, OFF, NEVER, NEVER, NEVER, 0, 0, 0, 0, NEVER, 0, OFF];

const read = (times: PeerTimes) => [
  ...SESSION_TIMERS.map(timer => times.timer(timer)),
  ...NAMES.map(name => times[name]),
  times.timer(Timer.persistent),
];
const write = (times: PeerTimes, first: number) => {
  let value = first;
  for (const timer of SESSION_TIMERS) times.setTimer(timer, value++);
  for (const name of NAMES) times[name] = value++;
  times.setTimer(Timer.persistent, value);
};
const from = (first: number) => FRESH.map((_, i) => first + i);

describe('the times of peers', () => {
  test('each of 3,000 peers has words of its own', () => {
    const records = new PeerRecords();
    const all = Array.from({ length: 3_000 }, () => new PeerTimes(records));
    expect(all.every(times => read(times).every((value, i) => value === FRESH[i]))).toBe(true);
    all.forEach((times, i) => write(times, 100 * i));
    expect(all.map(read)).toEqual(all.map((_, i) => from(100 * i)));
  });

  test('a wipe ends the timers of all sessions, and keeps what is the peer’s', () => {
    const records = new PeerRecords();
    const all = Array.from({ length: 2_000 }, () => new PeerTimes(records));
    for (const times of all) write(times, 1);
    records.endSessions();
    const expected = [...FRESH.slice(0, 7), ...from(1).slice(7)];
    expect(all.every(times => read(times).every((value, i) => value === expected[i]))).toBe(true);
  });

  test('a removed peer keeps its times, and shares none with the peer that comes after it', () => {
    const records = new PeerRecords();
    const removed = new PeerTimes(records);
    write(removed, 1);
    removed.leave(records);
    const next = new PeerTimes(records);
    expect([read(removed), read(next)]).toEqual([from(1), FRESH]);
    write(removed, 1_000);
    expect(read(next)).toEqual(FRESH);
    write(next, 500);
    expect(read(removed)).toEqual(from(1_000));
  });

  test('control: one that stays in a record that was given away shares all', () => {
    const places: ReturnType<PeerRecords['allocate']>[] = [];
    const records = new PeerRecords();
    const allocate = records.allocate.bind(records);
    records.allocate = () => {
      const place = allocate();
      places.push(place);
      return place;
    };
    const removed = new PeerTimes(records);
    records.free(places[0]);
    const next = new PeerTimes(records);
    write(removed, 1_000);
    expect(read(next)).toEqual(from(1_000));
  });
});
