// What an enroller prints and what the hook brings: one identity in two ways to write it down.

import { describe, expect, test } from 'vitest';
import { parseIdentityConfig } from '../../../tunnel/config/config.js';
import { parseBroughtIdentity, toldIdentity } from '../../../tunnel/config/told-identity.js';
import { UdpEndpoint } from '../../../tunnel/endpoint.js';
import { keyText } from '../daemon/status.js';

const key = (byte: number) => new Uint8Array(32).fill(byte);
const resolve = async (host: string, port: number) => [
  UdpEndpoint.of(host === 'gate.example' ? '192.0.2.9' : host, port),
];

const TEXT = `[Interface]
Address = fd5e:7c1a:9b2d::7/64, 10.0.0.7/24
[Peer]
PublicKey = ${keyText(1)}
PresharedKey = ${keyText(2)}
Endpoint = gate.example:51820
AllowedIPs = fd5e:7c1a:9b2d::/64
PersistentKeepalive = 25
[Peer]
PublicKey = ${keyText(3)}
PresharedKey = ${keyText(0)}
Endpoint = wss://gate.example/tunnel
`;

const JSON_FORM = {
  address: ['fd5e:7c1a:9b2d::7/64', '10.0.0.7/24'],
  peers: [
    {
      publicKey: keyText(1),
      presharedKey: keyText(2),
      endpoint: 'gate.example:51820',
      allowedIPs: 'fd5e:7c1a:9b2d::/64',
      persistentKeepalive: 25,
    },
    { publicKey: keyText(3), endpoint: 'wss://gate.example/tunnel' },
  ],
};

const FD5E = [0xfd, 0x5e, 0x7c, 0x1a, 0x9b, 0x2d];
const IDENTITY = {
  addresses: [
    { ip: Uint8Array.from([...FD5E, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]), prefix: 64 },
    { ip: Uint8Array.of(10, 0, 0, 7), prefix: 24 },
  ],
  peers: [
    {
      publicKey: key(1),
      presharedKey: key(2),
      remove: false,
      updateOnly: false,
      endpoint: { ip: Uint8Array.of(192, 0, 2, 9), port: 51_820 },
      persistentKeepalive: 25,
      replaceAllowedIps: true,
      allowedIps: [
        { ip: Uint8Array.from([...FD5E, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), prefix: 64, remove: false },
      ],
    },
    {
      publicKey: key(3),
      remove: false,
      updateOnly: false,
      endpoint: { url: 'wss://gate.example/tunnel' },
      replaceAllowedIps: false,
      allowedIps: [],
    },
  ],
};

test('both are read as one', async () => {
  expect(await toldIdentity(parseIdentityConfig(TEXT), resolve)).toEqual(IDENTITY);
  const { config, privateKey } = parseBroughtIdentity(JSON_FORM);
  expect([await toldIdentity(config, resolve), privateKey]).toEqual([IDENTITY, undefined]);
});

test('the hook may bring the key too', () => {
  expect(parseBroughtIdentity({ address: '10.0.0.7', privateKey: keyText(9) }).privateKey).toEqual(key(9));
});

test('a name that does not resolve makes no identity', async () => {
  const failing = async () => {
    throw new Error('no such host');
  };
  await expect(toldIdentity(parseIdentityConfig(TEXT), failing)).rejects.toThrow('no such host');
});

describe('an enroller does not say', () => {
  test.each([
    ['nothing', '', 'x:1: Address: is missing'],
    ['no address', '[Interface]\n', 'x:1: Address: is missing'],
    ['a private key', `[Interface]\nPrivateKey = ${keyText(1)}`, 'x:2: PrivateKey: is not for others to say'],
    ['a command', '[Interface]\nPostUp = rm -rf /', 'x:2: PostUp: is not for others to say'],
    ['a port', '[Interface]\nListenPort = 7', 'x:2: ListenPort: is not for others to say'],
    ['an address that is none', '[Interface]\nAddress = x/64', "x:2: Address: 'x/64' is not an address"],
    ['a peer without a key', '[Interface]\nAddress = 10.0.0.7\n[Peer]\n', 'x:3: PublicKey: is missing'],
    ['a page of HTML', '<html>', 'x:1: not a line of the form'],
  ])('%s', (_, text, problem) => {
    expect(() => parseIdentityConfig(text, 'x')).toThrow(
      expect.objectContaining({ message: expect.stringContaining(problem) }),
    );
  });
});

describe('the hook does not bring', () => {
  const [peer] = JSON_FORM.peers;
  test.each([
    ['nothing', undefined, 'identity: not an object'],
    ['a list', [], 'identity: not an object'],
    ['no address', { peers: [] }, 'identity.address: not a value'],
    ['an address that is an object', { address: {} }, 'identity.address: not a value'],
    ['another line in a value', { address: '10.0.0.7\nPostUp = x' }, 'identity.address: not a value'],
    ['a comment in a value', { address: '10.0.0.7 # x' }, 'identity.address: not a value'],
    ['a field that is none', { address: '10.0.0.7', adress: 1 }, 'unknown field "adress"'],
    ['peers that are no list', { address: '10.0.0.7', peers: peer }, 'identity.peers: not an array'],
    ['a peer that is none', { address: '10.0.0.7', peers: ['x'] }, 'identity.peers: not an object'],
    [
      'a field of a peer that is none',
      { address: '10.0.0.7', peers: [{ ...peer, toString: 1 }] },
      'unknown field "toString"',
    ],
    ['a peer without a key', { address: '10.0.0.7', peers: [{}] }, 'PublicKey: is missing'],
    ['a key that is no text', { address: '10.0.0.7', privateKey: 7 }, 'identity.privateKey: not a string'],
    ['a key of zeros', { address: '10.0.0.7', privateKey: keyText(0) }, 'a key of zeros is no key'],
    ['a key of another length', { address: '10.0.0.7', privateKey: 'AA==' }, 'a key has 44 characters'],
  ])('%s', (_, value, problem) => {
    expect(() => parseBroughtIdentity(value)).toThrow(
      expect.objectContaining({ message: expect.stringContaining(problem) }),
    );
  });

  test('and no key is shown', () => {
    const bad = `${keyText(5).slice(0, 43)}!`;
    for (const value of [
      { address: '10.0.0.7', privateKey: bad },
      { address: '10.0.0.7', peers: [{ publicKey: keyText(1), presharedKey: bad }] },
      { address: bad },
    ]) {
      expect(() => parseBroughtIdentity(value)).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining('BQUF') }),
      );
    }
  });
});
