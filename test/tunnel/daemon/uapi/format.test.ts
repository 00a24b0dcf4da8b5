import { expect, test } from 'vitest';
import { formatChanges, formatErrno, formatState } from '../../../../tunnel/daemon/uapi/format.js';
import type { UapiPeerState, UapiState } from '../../../../tunnel/daemon/uapi/types.js';
import { key } from './backend.js';

const join = (pieces: Iterable<Uint8Array>) => Buffer.concat([...pieces]).toString('latin1');

function peer(more: Partial<UapiPeerState> = {}): UapiPeerState {
  return {
    publicKey: key(0xb8),
    presharedKey: key(0),
    persistentKeepalive: 0,
    allowedIps: [],
    lastHandshakeAt: 0,
    rxBytes: 0,
    txBytes: 0,
    ...more,
  };
}
const stateOf = (...peers: UapiPeerState[]): UapiState => ({ listenPort: 0, fwMark: 0, peers });

test('the state is written with the keys and in the order of wireguard-go', () => {
  const state: UapiState = {
    privateKey: key(0x0a),
    listenPort: 12912,
    fwMark: 0xffff_ffff,
    peers: [
      peer({
        presharedKey: key(0x18),
        endpoint: '[abcd:23::33]:51820',
        persistentKeepalive: 25,
        allowedIps: [
          { ip: Uint8Array.of(192, 168, 4, 4), prefix: 32 },
          { ip: Uint8Array.of(0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), prefix: 32 },
        ],
        lastHandshakeAt: 1_700_000_000_123.5,
        rxBytes: 2 ** 53 - 1,
        txBytes: 1e15,
      }),
      peer({ publicKey: key(0x66) }),
    ],
  };
  expect(join(formatState(state))).toBe(`private_key=${'0a'.repeat(32)}
listen_port=12912
fwmark=4294967295
public_key=${'b8'.repeat(32)}
preshared_key=${'18'.repeat(32)}
protocol_version=1
endpoint=[abcd:23::33]:51820
last_handshake_time_sec=1700000000
last_handshake_time_nsec=123500000
tx_bytes=1000000000000000
rx_bytes=9007199254740991
persistent_keepalive_interval=25
allowed_ip=192.168.4.4/32
allowed_ip=2001:db8::/32
public_key=${'66'.repeat(32)}
preshared_key=${'00'.repeat(32)}
protocol_version=1
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=0
persistent_keepalive_interval=0
`);
});

test('an empty device is no line at all, and a key of zeros is none', () => {
  expect(join(formatState(stateOf()))).toBe('');
  expect(join(formatState({ ...stateOf(), privateKey: key(0) }))).toBe('');
});

test('the errno of a set has its sign, that of a get is digits alone', () => {
  expect(formatErrno('set', 22)).toBe('errno=-22\n\n');
  expect(formatErrno('get', 22)).toBe('errno=22\n\n');
  expect(formatErrno('set', 0)).toBe('errno=0\n\n');
  expect(formatErrno('get', 0)).toBe('errno=0\n\n');
});

test('wg sees endpoints that it can resolve, a URL under a name it skips, and nothing that could break a line', () => {
  const shown = (endpoint: string) =>
    join(formatState(stateOf(peer({ endpoint }))))
      .split('\n')
      .filter(line => line.startsWith('endpoint'));
  expect(shown('192.0.2.1:51820')).toEqual(['endpoint=192.0.2.1:51820']);
  expect(shown('[fe80::1%br-lan]:1')).toEqual(['endpoint=[fe80::1%br-lan]:1']);
  expect(shown('wss://vpn.example.org/x')).toEqual(['endpoint_url=wss://vpn.example.org/x']);
  expect(shown(`wss://vpn.example.org/${'x'.repeat(5000)}`)).toEqual([]);
  expect(shown('1.2.3.4:5\nprivate_key=00')).toEqual([]);
  expect(shown('ws://h/\nerrno=0\n\n')).toEqual(['endpoint_url=ws://h/errno=0']);
});

test('a handshake before 1970 has no sign', () => {
  expect(join(formatState(stateOf(peer({ lastHandshakeAt: -5 }))))).toContain('last_handshake_time_sec=0\n');
});

test('a large state comes in pieces of 64 KiB, each in memory of its own', () => {
  const allowedIps = Array.from({ length: 130_000 }, (_, i) => ({
    ip: Uint8Array.of(10, i >> 16, i >> 8, i),
    prefix: 32,
  }));
  const pieces = [...formatState(stateOf(peer({ allowedIps }), peer({ publicKey: key(1) })))];
  expect(pieces.length).toBeGreaterThan(20);
  for (const piece of pieces) expect(piece.length).toBeLessThanOrEqual(65_536);
  expect(new Set(pieces.map(piece => piece.buffer)).size).toBe(pieces.length);
  const text = join(pieces);
  expect(text.match(/^allowed_ip=/gm)).toHaveLength(130_000);
  expect(text).toContain('allowed_ip=10.1.251.207/32\npublic_key=0101');
  for (const piece of pieces) expect(piece.at(-1)).toBe(0x0a);
});

test('a set is written as wg writes it', () => {
  const base = { updateOnly: false, remove: false, replaceAllowedIps: false, allowedIps: [] };
  const changes = {
    privateKey: key(8),
    listenPort: 0,
    fwMark: 0,
    replacePeers: true,
    peers: [
      {
        ...base,
        publicKey: key(1),
        updateOnly: true,
        presharedKey: key(0),
        endpoint: { ip: Uint8Array.of(1, 2, 3, 4), port: 5 },
        persistentKeepalive: 0,
        replaceAllowedIps: true,
        allowedIps: [{ ip: Uint8Array.of(10, 0, 0, 0), prefix: 8, remove: true }],
      },
      { ...base, publicKey: key(2), remove: true },
    ],
  };
  expect(join(formatChanges(changes))).toBe(`set=1
private_key=${'08'.repeat(32)}
listen_port=0
fwmark=0
replace_peers=true
public_key=${'01'.repeat(32)}
update_only=true
preshared_key=${'00'.repeat(32)}
endpoint=1.2.3.4:5
persistent_keepalive_interval=0
replace_allowed_ips=true
allowed_ip=-10.0.0.0/8
public_key=${'02'.repeat(32)}
remove=true

`);
  expect(() =>
    join(
      formatChanges({
        ...changes,
        peers: [{ ...base, publicKey: key(1), endpoint: { url: 'ws://h/\nx=1' } }],
      }),
    ),
  ).not.toThrow();
  expect(() =>
    join(
      formatChanges({ ...changes, peers: [{ ...base, publicKey: key(1), endpoint: { url: 'http://h/' } }] }),
    ),
  ).toThrow();
});
