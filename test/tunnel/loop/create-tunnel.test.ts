// createTunnel: a program's own tunnel, its peers over UDP and over WebSockets.

import { afterEach, describe, expect, test } from 'vitest';
import { publicKeyOf } from '../../../protocol/suite.js';
import { nobleSuite } from '../../../protocol/suites/noble.js';
import {
  type CreatedTunnel,
  type CreateTunnelOptions,
  createTunnel,
} from '../../../tunnel/loop/create-tunnel.js';
import { parseConfig } from '../../../tunnel/config/config.js';
import { UdpEndpoint } from '../../../tunnel/endpoint.js';
import { encodeKey } from '../../../tunnel/keys.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';
import { ipv4Packet, ipv4Text } from '../../../examples/ipv4.js';

const open: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close();
});

/** A private key, and the public one, in base64. */
function identity(byte: number) {
  const privateKey = new Uint8Array(32).fill(byte);
  privateKey[0] &= 0xf8;
  privateKey[31] = (privateKey[31] & 0x7f) | 0x40;
  return { secret: encodeKey(privateKey), name: encodeKey(publicKeyOf(nobleSuite, privateKey)) };
}

const HUB = identity(1);
const ALICE = identity(2);
const BOB = identity(3);

async function make(text: string, options: Partial<CreateTunnelOptions> = {}): Promise<CreatedTunnel> {
  const vmgenid = new VmGenId([new MemorySource()]);
  open.push(vmgenid);
  const config = parseConfig(text);
  const created = await createTunnel({ config, vmgenid, onPacket: () => undefined, ...options });
  open.push(created);
  return created;
}

const HUB_CONFIG = `
  [Interface]
  PrivateKey = ${HUB.secret}
  ListenWebSocket = 127.0.0.1:0
  [Peer]
  PublicKey = ${ALICE.name}
  AllowedIPs = 10.0.0.1/32
  [Peer]
  PublicKey = ${BOB.name}
  AllowedIPs = 10.0.0.2/32
`;
const spoke = (secret: string, endpoint: string) => `
  [Interface]
  PrivateKey = ${secret}
  [Peer]
  PublicKey = ${HUB.name}
  AllowedIPs = 10.0.0.0/24
  Endpoint = ${endpoint}
`;

/** The text of the next packet that comes out. */
function inbox() {
  let deliver: (text: string) => void = () => undefined;
  const next = () => new Promise<string>(resolve => (deliver = resolve));
  return { next, onPacket: (packet: Uint8Array) => deliver(ipv4Text(packet)) };
}

test('peers over UDP and over a WebSocket route to each other', async () => {
  let hub: CreatedTunnel | undefined = undefined as CreatedTunnel | undefined;
  hub = await make(HUB_CONFIG, { onPacket: packet => void hub?.tunnel.sendPacket(packet) });
  const [atAlice, atBob] = [inbox(), inbox()];
  const alice = await make(spoke(ALICE.secret, `127.0.0.1:${hub.udp.port}`), atAlice);
  const bob = await make(spoke(BOB.secret, `ws://127.0.0.1:${hub.webSockets?.port}/`), atBob);

  // Bob calls first: the hub cannot dial him.
  const toAlice = atAlice.next();
  alice.tunnel.initiateHandshake(alice.tunnel.device.peers()[0].publicKey);
  await until(() => alice.tunnel.device.peers()[0].hasSession);
  bob.tunnel.sendPacket(ipv4Packet('10.0.0.2', '10.0.0.1', 'by WebSocket, then UDP'));
  expect(await toAlice).toBe('by WebSocket, then UDP');
  const toBob = atBob.next();
  alice.tunnel.sendPacket(ipv4Packet('10.0.0.1', '10.0.0.2', 'by UDP, then WebSocket'));
  expect(await toBob).toBe('by UDP, then WebSocket');
  const { drops } = hub.tunnel.device.stats();
  expect(Object.values(drops).every(count => count === 0)).toBe(true);
});

describe('names', () => {
  test('one that does not resolve fails at once, with nothing left open', async () => {
    await expect(make(spoke(ALICE.secret, 'no-such-host.invalid:7'))).rejects.toMatchObject({
      code: 'ERR_ENDPOINT_UNRESOLVED',
    });
  });

  test('are resolved again when the peer stays silent, and the peer is found where it has moved', async () => {
    const hub = await make(HUB_CONFIG);
    // Discard: nobody answers there.
    const nowhere = UdpEndpoint.of('127.0.0.1', 9);
    const answers = [nowhere, UdpEndpoint.of('127.0.0.1', hub.udp.port)];
    const asked: string[] = [];
    const alice = await make(spoke(ALICE.secret, 'hub.example:51820'), {
      resolve: async host => {
        asked.push(host);
        const [first] = answers.length > 1 ? [answers.shift() as UdpEndpoint] : answers;
        return [first];
      },
    });
    alice.tunnel.sendPacket(ipv4Packet('10.0.0.1', '10.0.0.3', 'waits'));
    await until(() => alice.tunnel.device.peers()[0].hasSession);
    expect(asked).toEqual(['hub.example', 'hub.example']);
  });
});

test('a port for WebSockets that is taken fails, with nothing left open', async () => {
  const hub = await make(HUB_CONFIG);
  const taken = HUB_CONFIG.replace('127.0.0.1:0', `127.0.0.1:${hub.webSockets?.port}`);
  await expect(make(taken)).rejects.toMatchObject({ code: 'ERR_WEBSOCKET_LISTEN' });
});

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('it did not happen within a minute');
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}
