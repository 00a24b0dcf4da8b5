import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatChanges } from '../../../../tunnel/daemon/uapi/format.js';
import { MAX_LINE_BYTES, type UapiRequest, UapiRequestParser } from '../../../../tunnel/daemon/uapi/parse.js';
import type { UapiChanges } from '../../../../tunnel/daemon/uapi/types.js';
import { hex, key, MemoryBackend } from './backend.js';

const PEER = 'b8'.repeat(32);
const OTHER = 'c5'.repeat(32);
const bytes = (text: string) => Buffer.from(text, 'latin1');

/** All requests in a text, given in pieces of `size` bytes. */
function parse(text: string, size = text.length || 1, parser = new UapiRequestParser()): UapiRequest[] {
  const found: UapiRequest[] = [];
  const take = () => {
    for (let request = parser.next(); request; request = parser.next()) found.push(request);
  };
  for (let at = 0; at < text.length; at += size) {
    parser.push(bytes(text.slice(at, at + size)));
    take();
  }
  const rest = parser.end();
  return rest ? [...found, rest] : found;
}

/** The changes of a text that holds one valid set. */
function changesOf(text: string): UapiChanges {
  const [request, ...more] = parse(text);
  expect(more).toEqual([]);
  if (request?.operation !== 'set' || request.refused) throw new Error('no valid set');
  return request.changes;
}

/** `[operation, errno, last]` of a text that holds one refused request. */
function refusal(text: string): unknown {
  const [request] = parse(text);
  if (!request || request.operation === 'unknown' || !request.refused) return request;
  return [request.operation, request.refused.errorNumber, request.last];
}

const FULL = `set=1
private_key=${'01'.repeat(32)}
listen_port=12912
fwmark=4294967295
replace_peers=true
public_key=${PEER}
protocol_version=1
preshared_key=${'18'.repeat(32)}
endpoint=[abcd:23::33%2]:51820
persistent_keepalive_interval=25
replace_allowed_ips=true
allowed_ip=192.168.4.4/32
allowed_ip=10.1.2.3/8
allowed_ip=2001:db8::/32
allowed_ip=-fd00::1/128
public_key=${OTHER}
update_only=true
endpoint=182.122.22.19:3233
public_key=${PEER.toUpperCase()}
remove=true

`;

describe('a set', () => {
  test('is read with every key, in order', () => {
    const changes = changesOf(FULL);
    expect(changes).toMatchObject({ listenPort: 12912, fwMark: 0xffff_ffff, replacePeers: true });
    expect(changes.peers.map(peer => hex(peer.publicKey))).toEqual([PEER, OTHER, PEER]);
    const [first, second, third] = changes.peers;
    expect(first).toMatchObject({ remove: false, updateOnly: false, replaceAllowedIps: true });
    expect(hex(first.presharedKey ?? key(0))).toBe('18'.repeat(32));
    expect(first.persistentKeepalive).toBe(25);
    expect(first.endpoint).toEqual({
      ip: Uint8Array.from([0xab, 0xcd, 0, 0x23, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x33]),
      port: 51820,
      scope: '2',
    });
    expect(first.allowedIps.map(({ ip, prefix, remove }) => [hex(ip), prefix, remove])).toEqual([
      ['c0a80404', 32, false],
      ['0a010203', 8, false],
      ['20010db8000000000000000000000000', 32, false],
      ['fd000000000000000000000000000001', 128, true],
    ]);
    expect(second).toMatchObject({ updateOnly: true, allowedIps: [], replaceAllowedIps: false });
    expect(second.endpoint).toEqual({ ip: Uint8Array.of(182, 122, 22, 19), port: 3233 });
    expect(third).toEqual({ ...third, remove: true, allowedIps: [] });
  });

  test('is the same however it is cut into pieces', () => {
    const whole = parse(FULL + FULL);
    expect(whole).toHaveLength(2);
    for (const size of [1, 2, 7, 64, 333]) expect(parse(FULL + FULL, size)).toEqual(whole);
  });

  test('clamps the private key, and leaves zeros, which clear it', () => {
    const clamped = changesOf(`set=1\nprivate_key=${'ff'.repeat(32)}\n\n`).privateKey;
    expect(hex(clamped ?? key(0))).toBe(`f8${'ff'.repeat(30)}7f`);
    expect(changesOf(`set=1\nprivate_key=${'00'.repeat(32)}\n\n`).privateKey).toEqual(key(0));
  });

  test('says nothing about what it does not name', () => {
    expect(changesOf('set=1\n\n')).toEqual({ replacePeers: false, peers: [] });
    const [peer] = changesOf(`set=1\npublic_key=${PEER}\n\n`).peers;
    expect(Object.keys(peer).toSorted()).toEqual(
      ['allowedIps', 'publicKey', 'remove', 'replaceAllowedIps', 'updateOnly'].toSorted(),
    );
  });

  test('drops the ranges that stand before replace_allowed_ips, and all settings of a removed peer', () => {
    const set = `set=1\npublic_key=${PEER}\nallowed_ip=10.0.0.0/8\nreplace_allowed_ips=true\nallowed_ip=::/0\n`;
    const [peer] = changesOf(`${set}\n`).peers;
    expect(peer.allowedIps).toEqual([{ ip: new Uint8Array(16), prefix: 0, remove: false }]);
    const [removed] = changesOf(
      `${set}preshared_key=${OTHER}\nendpoint=1.2.3.4:5\npersistent_keepalive_interval=5\nremove=true\n\n`,
    ).peers;
    expect(removed).toEqual({
      publicKey: key(0xb8),
      remove: true,
      updateOnly: false,
      replaceAllowedIps: false,
      allowedIps: [],
    });
  });

  test('reads line ends of both kinds', () => {
    expect(changesOf('set=1\r\nlisten_port=0005\r\n\r\n').listenPort).toBe(5);
  });
});

describe('endpoints and ranges', () => {
  const endpointOf = (text: string) =>
    changesOf(`set=1\npublic_key=${PEER}\nendpoint=${text}\n\n`).peers[0].endpoint;

  test('an endpoint is an address and a port, a scope where there is one, or a WebSocket URL', () => {
    expect(endpointOf('1.2.3.4:5')).toEqual({ ip: Uint8Array.of(1, 2, 3, 4), port: 5 });
    const local = Uint8Array.from([0xfe, 0x80, ...new Uint8Array(13), 1]);
    for (const scope of ['eth0', 'br-lan', 'eth0.100', 'wg_x', '7']) {
      expect(endpointOf(`[fe80::1%${scope}]:65535`)).toEqual({ ip: local, port: 65535, scope });
    }
    expect(endpointOf('[::ffff:1.2.3.4]:5')).toEqual({ ip: Uint8Array.of(1, 2, 3, 4), port: 5 });
    expect(endpointOf('wss://vpn.example.org/tunnel?a=b')).toEqual({
      url: 'wss://vpn.example.org/tunnel?a=b',
    });
    expect(endpointOf('ws://[::1]:8080')).toEqual({ url: 'ws://[::1]:8080/' });
  });

  test.each([
    ['', '1.2.3.4', '1.2.3.4:', '1.2.3.4:0', '1.2.3.4:65536', '01.2.3.4:5', '1.2.3:5', '256.2.3.4:5', ':5'],
    [
      '::1:5',
      '[1.2.3.4]:5',
      '[::1%]:5',
      '[::1%a/b]:5',
      '[::1% b]:5',
      '[::1',
      '[:::1]:5',
      'localhost:5',
      '[]:5',
    ],
    ['http://example.org/', 'wss://', 'ws://h/#fragment', `wss://h/${'a'.repeat(3000)}`, '1.2.3.4:+5'],
  ])('what is no endpoint is EINVAL: %j and others', (...bad) => {
    for (const text of bad) {
      expect(refusal(`set=1\npublic_key=${PEER}\nendpoint=${text}\n\n`), text).toEqual(['set', 22, false]);
    }
  });

  test('a range is an address and a length, host bits or not', () => {
    const rangeOf = (text: string) => {
      const { ip, prefix } = changesOf(`set=1\npublic_key=${PEER}\nallowed_ip=${text}\n\n`).peers[0]
        .allowedIps[0];
      return `${hex(ip)}/${prefix}`;
    };
    expect(rangeOf('0.0.0.0/0')).toBe('00000000/0');
    expect(rangeOf('255.255.255.255/32')).toBe('ffffffff/32');
    // inet_ntop writes the addresses of ::/96 so.
    expect(rangeOf('::10.1.2.3/128')).toBe(`${'00'.repeat(12)}0a010203/128`);
    expect(rangeOf('::ffff:10.1.2.3/120')).toBe(`${'00'.repeat(10)}ffff0a010203/120`);
  });

  test('what is no range is EINVAL', () => {
    const bad = [
      '',
      '-',
      '10.0.0.0',
      '10.0.0.0/',
      '10.0.0.0/33',
      '10.0.0.0/08',
      '10.0.0.0/8/8',
      '10.0.0/8',
      '::/129',
    ];
    bad.push(
      '--10.0.0.0/8',
      '- 10.0.0.0/8',
      '10.0.0.0/-1',
      'fe80::1%eth0/64',
      '010.0.0.0/8',
      '10.0.0.0 /8',
      'x::/1',
    );
    bad.push('::256.0.0.1/128', '/8', '10.0.0.0/0x8', '1.2.3.4.5/8', '::1/1 ');
    for (const text of bad) {
      expect(refusal(`set=1\npublic_key=${PEER}\nallowed_ip=${text}\n\n`), text).toEqual(['set', 22, false]);
    }
  });
});

describe('a refusal', () => {
  test.each([
    ['unknown=1'],
    ['=1'],
    ['remove=true'],
    [`preshared_key=${PEER}`],
    ['allowed_ip=10.0.0.0/8'],
    ['protocol_version=1'],
    ['replace_peers=false'],
    ['replace_peers='],
    ['listen_port=65536'],
    ['listen_port=-1'],
    ['listen_port=+1'],
    ['listen_port='],
    ['listen_port=0x10'],
    ['listen_port=1e3'],
    ['listen_port= 1'],
    ['fwmark=4294967296'],
    ['private_key='],
    [`private_key=${'0'.repeat(63)}`],
    [`private_key=${'0'.repeat(65)}`],
    [`private_key=${'0'.repeat(63)}g`],
    [`private_key=${'0'.repeat(63)}\u0000`],
    [`private_key=${'0'.repeat(63)}:`],
    [`private_key=${'0'.repeat(63)}/`],
    [`private_key=${'0'.repeat(63)}@`],
    [`private_key=${'0'.repeat(63)}\u00e1`],
    ['public_key=00'],
    [`public_key=${PEER}\nlisten_port=1`],
    [`public_key=${PEER}\nprivate_key=${PEER}`],
    [`public_key=${PEER}\nreplace_peers=true`],
    [`public_key=${PEER}\nupdate_only=false`],
    [`public_key=${PEER}\nremove=1`],
    [`public_key=${PEER}\nreplace_allowed_ips=TRUE`],
    [`public_key=${PEER}\nprotocol_version=2`],
    [`public_key=${PEER}\npersistent_keepalive_interval=65536`],
    [`public_key=${PEER}\npersistent_keepalive_interval=off`],
    [`public_key=${PEER}\npreshared_key=(none)`],
    [`public_key=${PEER}\nlast_handshake_time_sec=1`],
    [`public_key=${PEER}\ntoString=1`],
  ])('EINVAL: %j', lines => {
    expect(refusal(`set=1\nlisten_port=7\n${lines}\nlisten_port=8\n\n`)).toEqual(['set', 22, false]);
  });

  test('EPROTO for a line without = and for a request that breaks off', () => {
    expect(refusal('set=1\nlisten_port\n\n')).toEqual(['set', 71, false]);
    expect(refusal('set=1\nlisten_port=1\n')).toEqual(['set', 71, true]);
    expect(refusal('set=1\n')).toEqual(['set', 71, true]);
    expect(refusal('get=1\n')).toEqual(['get', 71, true]);
    // What was wrong before it broke off is said first.
    expect(refusal('set=1\nlisten_port=x\n')).toEqual(['set', 22, true]);
  });

  test('EIO for a line without end, EINVAL for a second line of a get; nothing is read after them', () => {
    const long = `set=1\nlisten_port=${'1'.repeat(MAX_LINE_BYTES)}`;
    expect(parse(`${long}\n\nset=1\n\n`)).toHaveLength(1);
    expect(refusal(`${long}\n\n`)).toEqual(['set', 5, true]);
    expect(refusal(long)).toEqual(['set', 5, true]);
    expect(refusal('get=1\nget=1\n\n')).toEqual(['get', 22, true]);
    expect(parse('get=1\nx\n\nget=1\n\n')).toHaveLength(1);
  });

  test('E2BIG beyond the limits', () => {
    const line = 'listen_port=1\n';
    const limited = (limits: object, text: string) =>
      parse(text, text.length, new UapiRequestParser(limits)).map(request =>
        request.operation === 'unknown' ? 'unknown' : (request.refused?.errorNumber ?? 0),
      );
    expect(limited({ maxRequestBytes: 100 }, `set=1\n${line.repeat(7)}\n`)).toEqual([0]);
    expect(limited({ maxRequestBytes: 100 }, `set=1\n${line.repeat(8)}\n`)).toEqual([7]);
    const peers = `public_key=${PEER}\nallowed_ip=::/0\n`;
    expect(limited({ maxEntries: 6 }, `set=1\n${peers.repeat(3)}\nget=1\n\n`)).toEqual([0, 0]);
    expect(limited({ maxEntries: 6 }, `set=1\n${peers.repeat(4)}\nget=1\n\n`)).toEqual([7, 0]);
  });

  test('does not end the stream: the next request counts', () => {
    const [bad, good] = parse('set=1\nlisten_port=x\nfwmark=1\n\nset=1\nlisten_port=9\n\n');
    expect(bad).toMatchObject({ operation: 'set', last: false });
    expect(good).toMatchObject({ operation: 'set', changes: { listenPort: 9, replacePeers: false } });
  });

  test('never repeats what may be a secret', () => {
    const secret = 'deadbeef'.repeat(8);
    for (const line of [
      secret,
      `${secret}=`,
      `private_key=${secret}0`,
      `${secret}=${secret}`,
      `privatekey=${secret}`,
    ]) {
      const [request] = parse(`set=1\n${line}\n\n`);
      if (!request || request.operation === 'unknown' || !request.refused) throw new Error('not refused');
      expect(String(request.refused)).not.toContain('deadbeef');
    }
  });

  test('is no answer at all for what is no request', () => {
    for (const text of [
      '\n',
      'get=2\n\n',
      'set=0\n\n',
      'GET / HTTP/1.1\r\n\r\n',
      ' get=1\n\n',
      '\0\n',
      'x'.repeat(5000),
    ]) {
      expect(parse(text)).toEqual([{ operation: 'unknown' }]);
    }
    expect(parse('')).toEqual([]);
    expect(parse('get=1\n\nhm\nget=1\n\n')).toEqual([{ operation: 'get' }, { operation: 'unknown' }]);
  });
});

test('130,000 ranges are read from one set', () => {
  const ranges = Array.from({ length: 130_000 }, (_, i) =>
    i % 2 === 0
      ? `allowed_ip=10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`
      : `allowed_ip=2001:db8:${(i >> 1).toString(16)}::/48`,
  );
  const [request] = parse(
    `set=1\npublic_key=${PEER}\n${ranges.join('\n')}\n\n`.replaceAll(/db8:1([0-9a-f]{4}):/g, 'db9:$1:'),
    65_536,
  );
  if (request?.operation !== 'set' || request.refused) throw new Error('refused');
  expect(request.changes.peers[0].allowedIps).toHaveLength(130_000);
});

describe('fuzz', () => {
  const keyText = fc.constantFrom(PEER, OTHER, '00'.repeat(32), 'a1'.repeat(32));
  const line = fc.oneof(
    keyText.map(k => `public_key=${k}`),
    keyText.map(k => `preshared_key=${k}`),
    keyText.map(k => `private_key=${k}`),
    fc.constantFrom('remove=true', 'update_only=true', 'replace_allowed_ips=true', 'replace_peers=true'),
    fc.nat(70_000).map(n => `listen_port=${n}`),
    fc.nat(70_000).map(n => `persistent_keepalive_interval=${n}`),
    fc.nat().map(n => `fwmark=${n}`),
    fc.tuple(fc.ipV4(), fc.nat(33)).map(([ip, n]) => `allowed_ip=${ip}/${n}`),
    fc.tuple(fc.ipV6(), fc.nat(130)).map(([ip, n]) => `allowed_ip=-${ip}/${n}`),
    fc.tuple(fc.ipV4(), fc.nat(70_000)).map(([ip, n]) => `endpoint=${ip}:${n}`),
    fc.tuple(fc.ipV6(), fc.nat(70_000)).map(([ip, n]) => `endpoint=[${ip}]:${n}`),
    fc.constantFrom('endpoint=ws://h/', 'protocol_version=1', '', 'get=1', 'set=1', 'x', '='),
  );
  const valid = fc
    .tuple(
      fc.nat(65_535),
      fc.array(
        fc.tuple(keyText, fc.ipV4(), fc.nat(32), fc.constantFrom('', 'remove=true\n', 'update_only=true\n')),
      ),
    )
    .map(
      ([port, peers]) =>
        `set=1\nlisten_port=${port}\n${peers
          .map(([k, ip, n, flag]) => `public_key=${k}\n${flag}allowed_ip=${ip}/${n}\n`)
          .join('')}\n`,
    );
  const soup = fc.array(line, { maxLength: 20 }).map(lines => `set=1\n${lines.join('\n')}\n\n`);
  const mutation = fc.record({
    at: fc.nat(),
    kind: fc.constantFrom('drop', 'insert', 'flip', 'cut', 'double'),
    byte: fc.oneof(fc.nat(255), fc.constantFrom(0x0a, 0x3d, 0x0d, 0)),
    length: fc.integer({ min: 1, max: 40 }),
  });
  type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never;

  function mutate(text: string, mutations: readonly Mutation[]): string {
    let out = text;
    for (const { at, kind, byte, length } of mutations) {
      const i = at % (out.length + 1);
      const char = String.fromCharCode(byte);
      if (kind === 'drop') out = out.slice(0, i) + out.slice(i + length);
      else if (kind === 'insert') out = out.slice(0, i) + char + out.slice(i);
      else if (kind === 'flip') out = out.slice(0, i) + char + out.slice(i + 1);
      else if (kind === 'cut') out = out.slice(0, i);
      else out = out.slice(0, i) + out.slice(i, i + length).repeat(2) + out.slice(i + length);
    }
    return out;
  }

  const stream = fc
    .tuple(
      fc.array(fc.oneof(valid, soup, fc.constant('get=1\n\n')), { minLength: 1, maxLength: 4 }),
      fc.array(mutation, { maxLength: 4 }),
    )
    .map(([requests, mutations]) => mutate(requests.join(''), mutations));

  const snapshot = (backend: MemoryBackend) =>
    JSON.stringify(backend.get(), (_, v) => (v instanceof Uint8Array ? hex(v) : v));

  test('whatever comes in and however it is cut, nothing is thrown, and every set is whole and valid or not at all', () => {
    let refused = 0;
    let applied = 0;
    fc.assert(
      fc.property(stream, fc.integer({ min: 1, max: 200 }), (text, size) => {
        const backend = new MemoryBackend();
        for (const request of parse(text, size)) {
          const before = snapshot(backend);
          if (request.operation === 'set' && !request.refused) {
            applied += 1;
            // A valid set is a text of its own: written and read again it says the same.
            const again = Buffer.concat([...formatChanges(request.changes)]).toString('latin1');
            expect(changesOf(again)).toEqual(request.changes);
            backend.set(request.changes);
          } else {
            if (request.operation === 'set') refused += 1;
            expect(snapshot(backend)).toBe(before);
          }
        }
        expect(parse(text)).toEqual(parse(text, size));
      }),
      { numRuns: 10_000 },
    );
    // The mixture tries both ways.
    expect(applied).toBeGreaterThan(1_000);
    expect(refused).toBeGreaterThan(1_000);
  });

  test('random bytes throw nothing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (noise, asSet) => {
        const parser = new UapiRequestParser();
        if (asSet) parser.push(bytes('set=1\n'));
        parser.push(noise);
        while (parser.next());
        parser.end();
        expect(parser.midRequest).toBe(false);
      }),
      { numRuns: 5_000 },
    );
  });
});
