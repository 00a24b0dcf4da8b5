// Which peer and which source address a ping takes.

import { describe, expect, test } from 'vitest';
import { chooseRoute } from '../../cli/route.js';
import { parseConfig } from '../../tunnel/config/config.js';
import { formatIp } from '../../tunnel/ip.js';
import { encodeKey } from '../../tunnel/keys.js';
import { address } from '../support/echo-peer.js';

const key = (n: number) => encodeKey(new Uint8Array(32).fill(n));
const CONFIG = parseConfig(`
[Interface]
PrivateKey = ${key(1)}
Address = 192.168.7.2/24, 10.1.0.2/16, fd00::2/64
[Peer]
PublicKey = ${key(2)}
AllowedIPs = 0.0.0.0/0, 10.1.0.0/16
[Peer]
PublicKey = ${key(3)}
AllowedIPs = 10.1.2.0/24, 10.1.0.0/16, fd00::/16
[Peer]
PublicKey = ${key(4)}
AllowedIPs = 10.1.2.128/25
`);

describe('chooseRoute', () => {
  test.each([
    ['8.8.8.8', 2, '192.168.7.2'],
    ['192.168.7.9', 2, '192.168.7.2'],
    // The same range given twice belongs to the later peer, as in the device.
    ['10.1.9.9', 3, '10.1.0.2'],
    ['10.1.2.127', 3, '10.1.0.2'],
    ['10.1.2.128', 4, '10.1.0.2'],
    ['fd00:1::1', 3, 'fd00::2'],
  ])('%s belongs to peer %i and is asked from %s', (target, peer, source) => {
    const route = chooseRoute(CONFIG, address(target), 'wg0.conf');
    expect([route.peer.publicKey[0], formatIp(route.source)]).toEqual([peer, source]);
  });

  test('an address of nobody names the peers and their ranges', () => {
    try {
      chooseRoute(CONFIG, address('fe00::1'), 'wg0.conf');
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({
        code: 'ERR_CLI_ROUTE',
        message: 'wg0.conf: no peer has fe00::1 in its AllowedIPs',
        hints: expect.arrayContaining([`peer ${key(4)}: 10.1.2.128/25`]),
      });
    }
  });
});
