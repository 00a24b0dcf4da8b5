import { expect, it, test } from 'vitest';
import {
  formatHostPort,
  isLoopback,
  parseAddressPort,
  parsePort,
  splitHostPort,
} from '../../native/host-port.js';

it.each([
  ['a.example:51820', 'a.example', false, '51820'],
  ['[::1%eth0]:ntp', '::1%eth0', true, 'ntp'],
  ['::1:80', '::1', false, '80'],
  ['[]:1', '', true, '1'],
  [':1', '', false, '1'],
])('%s: what precedes the last colon is the host', (text, host, isBracketed, port) => {
  expect(splitHostPort(text)).toEqual({ host, isBracketed, port });
});

it.each(['', 'a', 'a:', '[::1]', '[::1]80', '[::1:80', '::1]', 'a:[1]'])('%j has no port', text => {
  expect(splitHostPort(text)).toBeUndefined();
});

it.each([
  ['192.0.2.1:0', '192.0.2.1', 0],
  ['[fe80::1%eth0]:65535', 'fe80::1%eth0', 65_535],
])('%s is an address and a port, and is written so', (text, host, port) => {
  expect(parseAddressPort(text)).toEqual({ host, port });
  expect(formatHostPort(host, port)).toBe(text);
});

it.each([
  '[192.0.2.1]:1',
  '::1:1',
  'localhost:1',
  '192.0.2.1:65536',
  '192.0.2.1:-1',
  '192.0.2.1:1e1',
  '192.0.2.1: 1',
  '192.0.2.1:000001',
  '192.0.2.1:',
  '192.0.2.1',
  '',
])('%j is none', text => {
  expect(parseAddressPort(text)).toBeUndefined();
});

test('a port is a decimal number of 16 bits', () => {
  expect(['0', '00080', '65535'].map(parsePort)).toEqual([0, 80, 65_535]);
  for (const none of ['', '65536', '-1', '1.5', ' 1', 'ntp']) expect(parsePort(none)).toBeNaN();
});

test('this machine is all of 127.0.0.0/8, and ::1', () => {
  expect(['127.0.0.1', '127.9.9.9', '::1'].every(isLoopback)).toBe(true);
  expect(['', '0.0.0.0', '128.0.0.1', '::', '::2'].some(isLoopback)).toBe(false);
});
