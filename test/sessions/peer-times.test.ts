import { describe, expect, test } from 'vitest';
import { PeerRecords, PeerTimes } from '../../sessions/peer-times.js';

const OFF = Number.POSITIVE_INFINITY;
const NEVER = Number.NEGATIVE_INFINITY;

const NAMES = [
  'keepaliveAt',
  'newHandshakeAt',
  'retransmitAt',
  'eraseAt',
  'scheduledFor',
  'lastSentHandshake',
  'cookieReceivedAt',
  'lastTraffic',
  'persistentAt',
  'persistentKeepaliveMs',
  'txBytes',
  'rxBytes',
  'newHandshakeJitterMs',
  'lastConsumedInitiation',
  'lastHandshakeAt',
] as const;
const FRESH = [OFF, OFF, OFF, OFF, OFF, NEVER, NEVER, NEVER, OFF, 0, 0, 0, 0, NEVER, 0];

const read = (times: PeerTimes) => NAMES.map(name => times[name]);
const write = (times: PeerTimes, from: number) => {
  NAMES.forEach((name, i) => {
    times[name] = from + i;
  });
};
const from = (first: number) => NAMES.map((_, i) => first + i);

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
