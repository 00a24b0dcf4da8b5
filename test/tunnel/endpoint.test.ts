import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RelayTable } from '../../tunnel/daemon/relay-endpoint.js';
import { EndpointCache, UdpEndpoint, WebSocketEndpoint } from '../../tunnel/endpoint.js';
import { TunnelError } from '../../tunnel/errors.js';
import { formatIp, parseIp } from '../../tunnel/ip.js';

const ipBytes = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);

describe('UdpEndpoint', () => {
  test.each([
    ['192.0.2.1:51820', '192.0.2.1', 51820],
    ['[2001:DB8:0:0::1]:1', '2001:db8::1', 1],
    ['[fe80::1%eth0]:65535', 'fe80::1%eth0', 65535],
    ['[::ffff:192.0.2.1]:7', '192.0.2.1', 7],
    ['[::1.2.3.4]:80', '::102:304', 80],
    ['[64:ff9b::192.0.2.1%eth1.2.3.4]:7', '64:ff9b::c000:201%eth1.2.3.4', 7],
  ])('reads %s', (text, address, port) => {
    const endpoint = UdpEndpoint.parse(text);
    expect([endpoint.address, endpoint.port]).toEqual([address, port]);
    expect(UdpEndpoint.parse(endpoint.toString()).equals(endpoint)).toBe(true);
  });

  test.each([
    '',
    '192.0.2.1',
    '192.0.2.1:',
    '192.0.2.1:0',
    '192.0.2.1:65536',
    '192.0.2.1:1e3',
    '192.0.2.1: 80',
    '010.0.0.1:80',
    '10.1:80',
    '0x7f.0.0.1:80',
    '[192.0.2.1]:80',
    '2001:db8::1:80',
    '[2001:db8::1]',
    '[2001:db8::1%]:80',
    'example.com:80',
    '[::1]:80\n',
  ])('refuses %j', text => {
    expect(() => UdpEndpoint.parse(text)).toThrow(expect.objectContaining({ code: 'ERR_ENDPOINT' }));
  });

  test('text and bytes of any address round-trip, and endpoints compare by value', () => {
    fc.assert(
      fc.property(ipBytes, fc.integer({ min: 1, max: 65535 }), (ip, port) => {
        const endpoint = new UdpEndpoint(ip, port);
        const again = UdpEndpoint.parse(endpoint.toString());
        expect(again.equals(endpoint)).toBe(true);
        expect(again.ip).toEqual(endpoint.ip);
        expect(parseIp(formatIp(ip))?.ip).toEqual(ip);
      }),
    );
  });

  test('differs by port, by address, by zone and by kind', () => {
    const endpoint = UdpEndpoint.parse('[fe80::1%eth0]:80');
    for (const other of ['[fe80::1%eth1]:80', '[fe80::1]:80', '[fe80::2%eth0]:80', '[fe80::1%eth0]:81']) {
      expect(endpoint.equals(UdpEndpoint.parse(other))).toBe(false);
    }
    expect(endpoint.equals(WebSocketEndpoint.accepted('fe80::1', 80))).toBe(false);
  });

  test('keeps its own copy of the address', () => {
    const ip = Uint8Array.of(10, 0, 0, 1);
    const endpoint = new UdpEndpoint(ip, 1);
    ip[0] = 11;
    expect(endpoint.ip[0]).toBe(10);
  });

  test.each([
    [3, 1],
    [4, -1],
    [4, 65536],
    [16, 1.5],
  ])('refuses %i address bytes with port %d', (length, port) => {
    expect(() => new UdpEndpoint(new Uint8Array(length), port)).toThrow(TunnelError);
  });
});

describe('EndpointCache', () => {
  test('hands out one endpoint per address and port', () => {
    const cache = new EndpointCache();
    const first = cache.get('192.0.2.1', 1);
    cache.get('192.0.2.1', 2);
    expect(cache.get('192.0.2.1', 1)).toBe(first);
    expect(cache.get('::ffff:192.0.2.1', 1).equals(first)).toBe(true);
  });

  test('a flood of forged addresses neither grows it nor pushes out who keeps talking', () => {
    const cache = new EndpointCache(16);
    const regular = cache.get('192.0.2.1', 51820);
    for (let i = 0; i < 1000; i++) {
      cache.get(`10.0.${i >> 8}.${i & 255}`, 9);
      expect(cache.get('192.0.2.1', 51820)).toBe(regular);
      expect(cache.size).toBeLessThanOrEqual(32);
    }
  });
});

describe('WebSocketEndpoint', () => {
  test('of a URL: equal to the same URL, stable across connections, with the port of the URL at first', () => {
    const endpoint = WebSocketEndpoint.dial('WSS://Example.com/tunnel');
    expect([endpoint.port, endpoint.url]).toEqual([443, 'wss://example.com/tunnel']);
    expect(endpoint.equals(WebSocketEndpoint.dial('wss://example.com:443/tunnel'))).toBe(true);
    expect(endpoint.equals(WebSocketEndpoint.dial('ws://example.com/tunnel'))).toBe(false);
    endpoint.connected('::ffff:192.0.2.7', 443);
    expect(endpoint.ip).toEqual(Uint8Array.of(192, 0, 2, 7));
    expect(WebSocketEndpoint.dial('ws://h:8080').port).toBe(8080);
  });

  test('of a connection: equal to itself alone, even at the same address', () => {
    const one = WebSocketEndpoint.accepted('192.0.2.1', 1234);
    expect(one.equals(one)).toBe(true);
    expect(one.equals(WebSocketEndpoint.accepted('192.0.2.1', 1234))).toBe(false);
    expect(one.toString()).toBe('192.0.2.1:1234');
    expect(WebSocketEndpoint.accepted(undefined, undefined).toString()).toBe('0.0.0.0:0');
  });

  test.each([
    ['wss://user:hunter2@example.com/x', 'wss://example.com/x'],
    ['wss://hunter2@example.com/x', 'wss://example.com/x'],
    ['wss://example.com/x?token=hunter2', 'wss://example.com/x?...'],
    ['wss://user:hunter2@example.com/?a=hunter2&b', 'wss://example.com/?...'],
    ['wss://example.com/x?', 'wss://example.com/x?'],
  ])('%s shows no password and no token', (url, shown) => {
    expect(WebSocketEndpoint.dial(url).toString()).toBe(shown);
    const relays = new RelayTable();
    relays.number(url, 1);
    expect(relays.dialled(url).toString()).toBe(shown);
  });

  test.each([
    '',
    'http://h/',
    'ws:/h',
    'ws://',
    'ws://h/#x',
    'ws://h:99999',
    'ws://h:0',
    'wss://[::1',
    'ws+unix:/x',
  ])('refuses %j', url => {
    expect(() => WebSocketEndpoint.dial(url)).toThrow(expect.objectContaining({ code: 'ERR_WEBSOCKET_URL' }));
  });
});
