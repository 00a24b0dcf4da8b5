import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ConfigEndpoint,
  formatConfig,
  formatPrefix,
  parseAllowedIp,
  parseConfig,
  type PeerConfig,
  type TunnelConfig,
} from '../../../tunnel/config/config.js';
import { TunnelError } from '../../../tunnel/errors.js';
import { formatIp } from '../../../tunnel/ip.js';
import { encodeKey } from '../../../tunnel/keys.js';

const keyOf = (byte: number) => new Uint8Array(32).fill(byte);
const PRIVATE = encodeKey(keyOf(0x11));
const PUBLIC = encodeKey(keyOf(0x22));
const PSK = encodeKey(keyOf(0x33));
const MINIMAL = `[Interface]\nPrivateKey = ${PRIVATE}\n`;
const WITH_PEER = `${MINIMAL}[Peer]\nPublicKey = ${PUBLIC}\n`;

function failure(text: string, file?: string): TunnelError {
  try {
    parseConfig(text, file);
  } catch (error) {
    expect(error).toBeInstanceOf(TunnelError);
    return error as TunnelError;
  }
  throw new Error('the configuration was accepted');
}

describe('parseConfig', () => {
  test('reads everything that wg-quick knows, and our two extensions', () => {
    const config = parseConfig(`
      # a comment
      [Interface]
      PrivateKey = ${PRIVATE}   # not the real one
      ListenPort = 51820
      FwMark = 0xca6c
      Address = 10.0.0.1/24, fd00::1/64
      Address = 10.9.9.9
      DNS = 1.1.1.1, corp.example
      MTU = 1420
      Table = off
      PreUp = echo "a = b"
      PostUp = iptables -A FORWARD -i %i -j ACCEPT; true
      PostUp = second
      SaveConfig = true
      ListenWebSocket = [::1]:8080

      [Peer]
      PublicKey = ${PUBLIC}
      PresharedKey = ${PSK}
      AllowedIPs = 10.1.2.3/8, 2001:db8:ffff::1/33
      AllowedIPs = 0.0.0.0/0
      Endpoint = vpn.example.com:51820
      PersistentKeepalive = 25

      [Peer]
      PublicKey = ${encodeKey(keyOf(0x44))}
      Endpoint = WSS://user:pw@Example.com/tunnel?x=1
      PersistentKeepalive = off
    `);
    expect(config.interface).toMatchObject({
      privateKey: keyOf(0x11),
      listenPort: 51820,
      fwMark: 0xca6c,
      dns: ['1.1.1.1', 'corp.example'],
      mtu: 1420,
      table: 'off',
      preUp: ['echo "a = b"'],
      postUp: ['iptables -A FORWARD -i %i -j ACCEPT; true', 'second'],
      preDown: [],
      saveConfig: true,
      listenWebSocket: { host: '::1', port: 8080 },
    });
    expect(config.interface.addresses.map(formatPrefix)).toEqual([
      '10.0.0.1/24',
      'fd00::1/64',
      '10.9.9.9/32',
    ]);
    const [first, second] = config.peers;
    expect(first).toMatchObject({
      publicKey: keyOf(0x22),
      presharedKey: keyOf(0x33),
      endpoint: { host: 'vpn.example.com', port: 51820 },
      persistentKeepalive: 25,
    });
    expect(first.allowedIps.map(formatPrefix)).toEqual(['10.0.0.0/8', '2001:db8:8000::/33', '0.0.0.0/0']);
    expect(second).toEqual({
      publicKey: keyOf(0x44),
      allowedIps: [],
      endpoint: { url: 'wss://user:pw@example.com/tunnel?x=1' },
      persistentKeepalive: 0,
    });
  });

  test('takes Windows line ends, tabs and any case', () => {
    const config = parseConfig(
      `[INTERFACE]\r\nprivatekey\t=\t${PRIVATE}\r\n\r\n[peer] # x\r\nPUBLICKEY=${PUBLIC}#y\r\nallowedips=::/0`,
    );
    expect(config.peers[0].allowedIps).toEqual([{ ip: new Uint8Array(16), prefix: 0 }]);
    expect(config.interface.privateKey).toEqual(keyOf(0x11));
  });

  test.each<[string, ConfigEndpoint]>([
    ['192.0.2.1:51820', { host: '192.0.2.1', port: 51820 }],
    ['[2001:db8::1]:1', { host: '2001:db8::1', port: 1 }],
    ['[fe80::1%eth0]:65535', { host: 'fe80::1%eth0', port: 65535 }],
    ['my_host:80', { host: 'my_host', port: 80 }],
    ['xn--bcher-kva.example.:80', { host: 'xn--bcher-kva.example.', port: 80 }],
    ['ws://127.0.0.1:8080', { url: 'ws://127.0.0.1:8080/' }],
    ['wss://[::1]/x', { url: 'wss://[::1]/x' }],
  ])('takes the endpoint %s', (text, endpoint) => {
    expect(parseConfig(`${WITH_PEER}Endpoint = ${text}`).peers[0].endpoint).toEqual(endpoint);
  });

  test('ListenWebSocket takes a port alone, or with a host', () => {
    const read = (value: string) =>
      parseConfig(`${MINIMAL}ListenWebSocket = ${value}`).interface.listenWebSocket;
    expect(read('8080')).toEqual({ port: 8080 });
    expect(read('localhost:0')).toEqual({ host: 'localhost', port: 0 });
    expect(read('127.0.0.1:80')).toEqual({ host: '127.0.0.1', port: 80 });
  });

  test('the message has file, line, field and what is wrong', () => {
    const error = failure(
      `${MINIMAL}\n\n[Peer]\nPublicKey = ${PUBLIC}\nAllowedIPs = 10.0.0.0/33`,
      'wg0.conf',
    );
    expect(error.message).toBe("wg0.conf:7: AllowedIPs: '10.0.0.0/33' is not an address range");
    expect(error).toMatchObject({ code: 'ERR_CONFIG', file: 'wg0.conf', line: 7, field: 'AllowedIPs' });
  });

  test.each<[string, string, number, string | undefined, RegExp]>([
    ['an empty file', '', 1, undefined, /no \[Interface\] section/],
    ['a peer alone', `[Peer]\nPublicKey=${PUBLIC}`, 1, undefined, /no \[Interface\] section/],
    ['no private key', '\n[Interface]\nMTU=1420', 2, 'PrivateKey', /missing/],
    ['no public key', `${MINIMAL}[Peer]\nEndpoint=h:1`, 3, 'PublicKey', /missing/],
    ['a key before any section', `MTU = 1420\n${MINIMAL}`, 1, 'MTU', /before any section/],
    ['an unknown section', `${MINIMAL}[Peers]`, 3, undefined, /not a section/],
    ['an open bracket', `${MINIMAL}[Peer`, 3, undefined, /not a section/],
    ['an unknown key', `${MINIMAL}Color = red`, 3, 'Color', /is no key of \[Interface\]/],
    ['a name that every object has', `${MINIMAL}constructor = 1`, 3, 'constructor', /is no key/],
    ['a peer key in the interface', `${MINIMAL}AllowedIPs = ::/0`, 3, 'AllowedIPs', /does not belong in/],
    ['an interface key in a peer', `${WITH_PEER}MTU = 1`, 5, 'MTU', /does not belong in \[Peer\]/],
    ['a line without =', `${MINIMAL}MTU 1420`, 3, undefined, /form 'Key = value'/],
    ['a byte order mark', `\uFEFF${MINIMAL}`, 1, undefined, /byte order mark/],
    ['a key of wg without value', `${WITH_PEER}AllowedIPs = # all`, 5, 'AllowedIPs', /needs a value/],
    ['SaveConfig without value', `${MINIMAL}SaveConfig =`, 3, 'SaveConfig', /needs a value/],
    ['a blank of Unicode', `${MINIMAL}\u00a0MTU = 1420`, 3, undefined, /form 'Key = value'/],
    ['a letter of Unicode', `${WITH_PEER}Persistent\u212aeepalive = 5`, 5, undefined, /form 'Key = value'/],
    ['a line end of old', `${MINIMAL}ListenPort = 1\rFwMark = 1`, 3, 'ListenPort', /neither a port nor/],
    ['a blank in a name of wg-quick', `${MINIMAL}M TU = 1420`, 3, 'MTU', /blank inside its name/],
    [
      'wg-quick after a blank',
      `${MINIMAL}[ Interface ]\nMTU = 1420`,
      4,
      'MTU',
      /needs \[Interface\] without/,
    ],
    ['a bell in a table of addresses', `${MINIMAL}Address = 1\u0007`, 3, 'Address', /not shown/],
    ['a line of = alone', `${MINIMAL}= 1420`, 3, undefined, /form 'Key = value'/],
    ['a short key', `[Interface]\nPrivateKey=${PRIVATE.slice(1)}`, 2, 'PrivateKey', /44 .*, not 43/],
    ['a key with spare bits', `[Interface]\nPrivateKey=${PRIVATE.slice(0, 42)}F=`, 2, 'PrivateKey', /base64/],
    ['a zero key', `[Interface]\nPrivateKey=${encodeKey(keyOf(0))}`, 2, 'PrivateKey', /zeros/],
    [
      'a bad address',
      `${MINIMAL}Address = 10.0.0.256/8`,
      3,
      'Address',
      /'10\.0\.0\.256\/8' is not an address/,
    ],
    [
      'an address twice',
      `${MINIMAL}Address = 10.0.0.1/8\nAddress = 10.0.0.1/8`,
      4,
      'Address',
      /stands there/,
    ],
    ['an IPv6 address twice', `${MINIMAL}Address = fd00::1, fd00::1/64`, 3, 'Address', /stands there/],
    ['the loopback address', `${MINIMAL}Address = ::1/64`, 3, 'Address', /cannot be the address/],
    ['a group address', `${MINIMAL}Address = ff02::1/64`, 3, 'Address', /cannot be the address/],
    ['a mask with holes', `${MINIMAL}Address = 10.0.0.1/255.0.255.0`, 3, 'Address', /is not an address/],
    ['a scoped address', `${MINIMAL}Address = fe80::1%a/64`, 3, 'Address', /is not an address/],
    ['an empty item', `${WITH_PEER}AllowedIPs = ::/0,`, 5, 'AllowedIPs', /'' is not an address range/],
    ['two slashes', `${WITH_PEER}AllowedIPs = 10.0.0.0/8/8`, 5, 'AllowedIPs', /is not an address range/],
    ['a signed prefix', `${WITH_PEER}AllowedIPs = 10.0.0.0/+8`, 5, 'AllowedIPs', /is not an address range/],
    ['an IPv6 prefix of 129', `${WITH_PEER}AllowedIPs = ::/129`, 5, 'AllowedIPs', /is not an address range/],
    ['a port above 65535', `${MINIMAL}ListenPort = 65536`, 3, 'ListenPort', /'65536' is not a port/],
    ['a service that is none', `${MINIMAL}ListenPort = no-such`, 3, 'ListenPort', /name of a service/],
    ['a negative port', `${MINIMAL}ListenPort = -1`, 3, 'ListenPort', /neither a port/],
    ['a mark with a large X', `${MINIMAL}FwMark = 0X1f`, 3, 'FwMark', /is not a mark/],
    ['a mark above 32 bits', `${MINIMAL}FwMark = 0x100000000`, 3, 'FwMark', /is not a mark/],
    ['a boolean that is none', `${MINIMAL}SaveConfig = yes`, 3, 'SaveConfig', /true or false/],
    ['an MTU of 0', `${MINIMAL}MTU = 0`, 3, 'MTU', /is not an MTU/],
    ['a keepalive above', `${WITH_PEER}PersistentKeepalive = 65536`, 5, 'PersistentKeepalive', /seconds/],
    ['an endpoint without port', `${WITH_PEER}Endpoint = host`, 5, 'Endpoint', /'host' is not host:port/],
    ['a port without host', `${WITH_PEER}Endpoint = 51820`, 5, 'Endpoint', /is not host:port/],
    ['port 0', `${WITH_PEER}Endpoint = h:0`, 5, 'Endpoint', /'0' is not a port/],
    ['IPv6 without port', `${WITH_PEER}Endpoint = [::1]`, 5, 'Endpoint', /is not host:port/],
    [
      'a mistyped address',
      `${WITH_PEER}Endpoint = 300.1.1.1:5`,
      5,
      'Endpoint',
      /neither an address nor a name/,
    ],
    ['an open bracket in an endpoint', `${WITH_PEER}Endpoint = [::1:5`, 5, 'Endpoint', /is not host:port/],
    ['no host', `${WITH_PEER}Endpoint = []:5`, 5, 'Endpoint', /neither an address nor a name/],
    ['an address of five numbers', `${WITH_PEER}Endpoint = 1.2.3.4.5:5`, 5, 'Endpoint', /neither an address/],
    ['no octal', `${WITH_PEER}Endpoint = 08.1:5`, 5, 'Endpoint', /neither an address/],
    ['another scheme', `${WITH_PEER}Endpoint = http://h/`, 5, 'Endpoint', /is not a ws:\/\/ or wss:\/\/ URL/],
    ['a broken URL', `${WITH_PEER}Endpoint = ws://h:99999`, 5, 'Endpoint', /URL/],
    ['a listener that is none', `${MINIMAL}ListenWebSocket = :80`, 3, 'ListenWebSocket', /neither/],
  ])('refuses %s', (_, text, line, field, message) => {
    const error = failure(text);
    expect(error).toMatchObject({ code: 'ERR_CONFIG', line, field, file: undefined });
    expect(error.message).toMatch(message);
    expect(error.message.startsWith(`config:${line}: `)).toBe(true);
  });
});

describe('no secret gets into a message', () => {
  // Eight characters in a row; plain lower case and plain digits are shown, and a key has few such places.
  const hasSecret = (text: string, secret: string) =>
    Array.from({ length: secret.length - 7 }, (_, i) => secret.slice(i, i + 8)).some(
      part => !/^([a-z]+|\d+)$/.test(part) && text.includes(part),
    );

  test('a key in any place, whole or wrapped', () => {
    const names =
      'PrivateKey ListenPort FwMark Address DNS MTU SaveConfig ListenWebSocket PublicKey PresharedKey AllowedIPs Endpoint PersistentKeepalive Unknown'.split(
        ' ',
      );
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.constantFrom(...names),
        fc.constantFrom(' = ', '=', ' ', '\n', ': ', ' = host:', ' = 1.1.1.1/', ' = ws://'),
        fc.constantFrom('', MINIMAL, WITH_PEER),
        fc.constantFrom('', '=', ' x', '/8', ':51820', ' # x'),
        fc.integer({ min: 0, max: 44 }),
        (bytes, name, separator, before, after, wrapAt) => {
          const secret = encodeKey(bytes);
          const wrapped = `${secret.slice(0, wrapAt)}\n${secret.slice(wrapAt)}`;
          for (const shown of [`${secret}${after}`, wrapped, `[${secret}]${after}`]) {
            try {
              parseConfig(`${before}${name}${separator}${shown}`);
            } catch (error) {
              const seen = `${(error as TunnelError).message} ${(error as TunnelError).field}`;
              expect(error).toBeInstanceOf(TunnelError);
              expect(hasSecret(seen, secret), seen).toBe(false);
            }
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('a password in a URL', () => {
    const error = failure(`${WITH_PEER}Endpoint = http://user:hunter2@h/`);
    expect(error.message).not.toContain('hunter2');
    expect(error.message).toContain('not shown');
  });
});

const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).filter(bytes => bytes.some(byte => byte !== 0));
const port = fc.integer({ min: 1, max: 65535 });
const ip = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);
const address = ip.chain(bytes =>
  fc.record({ ip: fc.constant(bytes), prefix: fc.integer({ min: 0, max: 8 * bytes.length }) }),
);
// Linux gives an interface no address twice, no group's, and not that of the loopback.
const ownAddresses = fc.uniqueArray(
  address.filter(
    ({ ip: [first, ...more] }) => first !== 0xff && (more.length < 15 || more.some(byte => byte > 1)),
  ),
  { maxLength: 4, selector: value => formatIp(value.ip) },
);
const range = address.map(value => parseAllowedIp(formatPrefix(value)));
const host = fc.oneof(
  ip.map(bytes => formatIp(bytes)),
  fc.domain(),
);
const command = fc
  .string()
  .map(text => text.trim())
  .filter(text => text !== '' && !text.includes('#'));
const endpoint = fc.oneof<fc.Arbitrary<ConfigEndpoint>[]>(
  fc.record({ host, port }),
  fc.domain().map(name => ({ url: `wss://${name}/` })),
);
const config: fc.Arbitrary<TunnelConfig> = fc.record({
  interface: fc.record(
    {
      privateKey: key,
      listenPort: fc.integer({ min: 0, max: 65535 }),
      fwMark: fc.integer({ min: 0, max: 0xffffffff }),
      addresses: ownAddresses,
      dns: fc.array(host, { maxLength: 3 }),
      mtu: fc.integer({ min: 68, max: 65535 }),
      table: fc.constantFrom('off', 'auto', '51820'),
      preUp: fc.array(command, { maxLength: 2 }),
      postUp: fc.array(command, { maxLength: 2 }),
      preDown: fc.array(command, { maxLength: 2 }),
      postDown: fc.array(command, { maxLength: 2 }),
      saveConfig: fc.boolean(),
      listenWebSocket: fc.record({ host, port }, { requiredKeys: ['port'] }),
    },
    { requiredKeys: ['privateKey', 'addresses', 'dns', 'preUp', 'postUp', 'preDown', 'postDown'] },
  ),
  peers: fc
    .uniqueArray(
      fc.record(
        {
          publicKey: key,
          presharedKey: key,
          allowedIps: fc.array(range, { maxLength: 4 }),
          endpoint,
          persistentKeepalive: fc.integer({ min: 0, max: 65535 }),
        },
        { requiredKeys: ['publicKey', 'allowedIps'] },
      ),
      { maxLength: 4, selector: peer => encodeKey(peer.publicKey) },
    )
    // A range belongs to one peer.
    .map(peers => {
      const ranges = new Set<string>();
      const isNew = (text: string) => !ranges.has(text) && ranges.add(text);
      return peers.map(peer => ({
        ...peer,
        allowedIps: peer.allowedIps.filter(each => isNew(formatPrefix(each))),
      }));
    }),
});

describe('formatConfig', () => {
  test('what it writes is read back as the same', () => {
    fc.assert(
      fc.property(config, value => {
        expect(parseConfig(formatConfig(value))).toEqual(value);
      }),
    );
  });

  test.each(['a # b', 'a\n[Peer]', 'a\nPostUp = b', ' a', 'a\r', '', 'a\0b'])(
    'refuses the command %j',
    text => {
      const value = parseConfig(MINIMAL);
      const own = { ...value.interface, postUp: [text] };
      expect(() => formatConfig({ ...value, interface: own })).toThrow(
        expect.objectContaining({ code: 'ERR_CONFIG', field: 'PostUp' }),
      );
    },
  );

  test.each<[string, (peer: PeerConfig) => PeerConfig[]]>([
    ['PublicKey', peer => [peer, peer]],
    ['AllowedIPs', peer => [peer, { ...peer, publicKey: keyOf(0x44) }]],
    ['PresharedKey', peer => [{ ...peer, presharedKey: keyOf(0) }]],
    ['Endpoint', peer => [{ ...peer, endpoint: { host: '127.1', port: 1 } }]],
  ])('refuses %s that would be read as another', (field, change) => {
    const value = parseConfig(`${WITH_PEER}AllowedIPs = ::/0`);
    expect(() => formatConfig({ ...value, peers: change(value.peers[0]) })).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIG', field }),
    );
  });

  test('a URL is written as it is read', () => {
    const value = parseConfig(WITH_PEER);
    const peers = [{ ...value.peers[0], endpoint: { url: 'WSS://Gate.example' } }];
    expect(parseConfig(formatConfig({ ...value, peers })).peers[0].endpoint).toEqual({
      url: 'wss://gate.example/',
    });
  });

  test('refuses what could not be read again', () => {
    const value = parseConfig(WITH_PEER);
    const peers = [{ ...value.peers[0], endpoint: { host: 'a b', port: 1 } }];
    expect(() => formatConfig({ ...value, peers })).toThrow(expect.objectContaining({ field: 'Endpoint' }));
  });
});

describe('parseAllowedIp', () => {
  test('clears the host bits, bit by bit', () => {
    fc.assert(
      fc.property(address, value => {
        const { ip: masked, prefix } = parseAllowedIp(formatPrefix(value));
        const bit = (bytes: Uint8Array, i: number) => (bytes[i >> 3] >> (7 - (i & 7))) & 1;
        for (let i = 0; i < 8 * masked.length; i++) {
          expect(bit(masked, i)).toBe(i < prefix ? bit(value.ip, i) : 0);
        }
      }),
    );
  });

  test('throws a TunnelError', () => {
    expect(() => parseAllowedIp('10.0.0.0/33')).toThrow(expect.objectContaining({ code: 'ERR_CONFIG' }));
  });
});

describe('hostile input', () => {
  const fuzz = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc
      .array(
        fc.oneof(
          fc.constantFrom(
            '[Interface]',
            '[Peer]',
            `PrivateKey=${PRIVATE}`,
            `PublicKey=${PUBLIC}`,
            '\uFEFF',
            '#',
          ),
          fc
            .tuple(
              fc.constantFrom(
                'Endpoint',
                'AllowedIPs',
                'Address',
                'ListenWebSocket',
                'DNS',
                'MTU',
                '__proto__',
              ),
              fc.oneof(fc.string(), fc.webUrl(), fc.ipV6(), fc.ipV4Extended(), fc.domain()),
            )
            .map(([name, value]) => `${name} = ${value}`),
          fc.string(),
        ),
      )
      .map(lines => lines.join('\n')),
  );

  test('throws nothing but a TunnelError with a place, and what it accepts it can write', () => {
    fc.assert(
      fc.property(fuzz, text => {
        let value: TunnelConfig;
        try {
          value = parseConfig(text, 'f');
        } catch (error) {
          expect(error).toBeInstanceOf(TunnelError);
          expect(error).toMatchObject({ code: 'ERR_CONFIG', file: 'f', line: expect.any(Number) });
          return;
        }
        expect(parseConfig(formatConfig(value))).toEqual(value);
      }),
      { numRuns: 5000 },
    );
  });

  test('long lines take no long time to refuse', () => {
    for (const piece of ['a', 'a.', ':', '[', '::1,', '1.', 'a:', '=']) {
      failure(`${WITH_PEER}Endpoint = ${piece.repeat(200_000)} x`);
      failure(`${WITH_PEER}${piece.repeat(200_000)}`);
    }
  });
});
