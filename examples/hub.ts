// Two peers talk through a third: one reaches it by UDP, the other by a WebSocket, as from behind a firewall.
// What to see: createTunnel makes a whole tunnel out of a wg-quick file. What comes out of the hub's tunnel goes back in,
// and so to the peer that it is for, whichever way that one is connected.
// Run: npm run build && node dist/examples/hub.js

import { EventEmitter, once } from 'node:events';
import { realpathSync } from 'node:fs';
import { createTunnel, encodeKey, nobleSuite, openCrng, parseConfig, publicKeyOf } from 'wireonce';
import { ipv4Packet, ipv4Text } from './ipv4.js';

const ALICE = '10.0.0.1';
const BOB = '10.0.0.2';

/** Returns what each of the two heard. */
export async function main(print: (line: string) => void = console.log) {
  const open: { close(): Promise<void> }[] = [];
  try {
    const ground = await openCrng();
    open.push(ground);
    const { crng, vmgenid } = ground;
    const identity = () => {
      const privateKey = crng.x25519PrivateKey();
      return { secret: encodeKey(privateKey), name: encodeKey(publicKeyOf(nobleSuite, privateKey)) };
    };
    const [hubKey, aliceKey, bobKey] = [identity(), identity(), identity()];
    const make = async (config: string, onPacket: (packet: Uint8Array) => void) => {
      const created = await createTunnel({ config: parseConfig(config), vmgenid, onPacket });
      open.push(created);
      return created;
    };

    const hub = await make(
      `[Interface]
       PrivateKey = ${hubKey.secret}
       ListenWebSocket = 127.0.0.1:0
       [Peer]
       PublicKey = ${aliceKey.name}
       AllowedIPs = ${ALICE}
       [Peer]
       PublicKey = ${bobKey.name}
       AllowedIPs = ${BOB}`,
      packet => void hub.tunnel.sendPacket(packet),
    );

    const inbox = new EventEmitter();
    const spoke = (name: string, secret: string, endpoint: string) =>
      make(
        `[Interface]
         PrivateKey = ${secret}
         [Peer]
         PublicKey = ${hubKey.name}
         AllowedIPs = 10.0.0.0/24
         Endpoint = ${endpoint}`,
        packet => inbox.emit(name, ipv4Text(packet)),
      );
    const alice = await spoke('alice', aliceKey.secret, `127.0.0.1:${hub.udp.port}`);
    const bob = await spoke('bob', bobKey.secret, `ws://127.0.0.1:${hub.webSockets?.port}/`);

    // The hub can call nobody: it knows where they are from the moment on in which they call.
    const signal = AbortSignal.timeout(20_000);
    const atHub = once(inbox, 'alice', { signal });
    alice.tunnel.sendPacket(ipv4Packet(ALICE, ALICE, 'to the hub and back'));
    print(`alice hears herself: ${(await atHub)[0]}`);

    const atAlice = once(inbox, 'alice', { signal });
    bob.tunnel.sendPacket(ipv4Packet(BOB, ALICE, 'hello, Alice'));
    const [aliceHeard] = await atAlice;
    print(`by WebSocket, then UDP: ${aliceHeard}`);
    const atBob = once(inbox, 'bob', { signal });
    alice.tunnel.sendPacket(ipv4Packet(ALICE, BOB, 'hello, Bob'));
    const [bobHeard] = await atBob;
    print(`by UDP, then WebSocket: ${bobHeard}`);
    return { aliceHeard: String(aliceHeard), bobHeard: String(bobHeard) };
  } finally {
    for (const each of open.reverse()) await each.close();
  }
}

if (import.meta.filename === realpathSync(process.argv[1] ?? '.')) await main();
