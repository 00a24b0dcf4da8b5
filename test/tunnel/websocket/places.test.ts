import { expect, test } from 'vitest';
import { Places } from '../../../tunnel/websocket/places.js';

const ip = (...bytes: number[]) => Uint8Array.from(bytes);
const ip6 = (network: number, host: number) => {
  const bytes = new Uint8Array(16);
  bytes[7] = network;
  bytes[15] = host;
  return bytes;
};

test('the oldest of the address that holds most has to go; of equals, of the one that came first', () => {
  const places = new Places<string>();
  expect(places.oldestOfMost()).toBeUndefined();
  places.add('a1', ip(10, 0, 0, 1));
  places.add('b1', ip(10, 0, 0, 2));
  expect(places.oldestOfMost()).toBe('a1');
  places.add('b2', ip(10, 0, 0, 2));
  expect(places.oldestOfMost()).toBe('b1');
  expect(places.delete('b1')).toBe(true);
  expect(places.delete('b1')).toBe(false);
  expect(places.oldestOfMost()).toBe('a1');
  expect([places.size, places.countOf(ip(10, 0, 0, 2)), places.oldestOf(ip(10, 0, 0, 2))]).toEqual([
    2,
    1,
    'b2',
  ]);
});

test('the addresses of an IPv6 /64 are one, those of IPv4 are not', () => {
  const places = new Places<number>();
  for (let i = 0; i < 3; i++) {
    places.add(i, ip6(1, i));
    places.add(10 + i, ip(10, 0, 0, i));
  }
  expect([places.countOf(ip6(1, 99)), places.countOf(ip6(2, 0)), places.countOf(ip(10, 0, 0, 1))]).toEqual([
    3, 0, 1,
  ]);
  expect(places.oldestOfMost()).toBe(0);
});

test('a newcomer from an address of its own outlasts a crowd from others', () => {
  const places = new Places<string>();
  const capacity = 64;
  const take = (item: string, from: Uint8Array) => {
    const gone = places.size >= capacity ? places.oldestOfMost() : undefined;
    if (gone !== undefined) places.delete(gone);
    places.add(item, from);
  };
  for (let i = 0; i < capacity; i++) take(`stranger ${i}`, ip(127, 0, 0, i % 8));
  take('newcomer', ip(192, 0, 2, 1));
  for (let i = 0; i < 1_000; i++) take(`stranger again ${i}`, ip(127, 0, 0, i % 8));
  expect(places.countOf(ip(192, 0, 2, 1))).toBe(1);
  expect(places.size).toBe(capacity);
});
