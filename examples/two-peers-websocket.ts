// Two peers talk over a WebSocket on loopback, for networks that let nothing else through: a packet each way.
// What to see: only the transports differ from two-peers-udp.ts. One side listens and one dials; a datagram is one
// binary message. After a fork the connection would be cut and dialled anew.
// Run: npm run build && node dist/examples/two-peers-websocket.js

import { EventEmitter, once } from 'node:events';
import { realpathSync } from 'node:fs';
import {
  EventLoopTunnel,
  nobleSuite,
  openCrng,
  parseAllowedIp,
  publicKeyOf,
  type Transport,
  WebSocketDialer,
  WebSocketListener,
} from 'wireonce';
import { ipv4Packet, ipv4Text } from './ipv4.js';

const ALICE = '10.0.0.1';
const BOB = '10.0.0.2';

/** Returns what each of the two heard. */
export async function main(print: (line: string) => void = console.log) {
  const open: { close(): unknown }[] = [];
  try {
    // The ground: what tells of a fork, and random numbers that do not repeat after one.
    const ground = await openCrng();
    open.push(ground);
    const { crng, vmgenid } = ground;

    // Bob listens. With `server` instead of a port it would be an HTTPS server of yours, and the URL wss://.
    const listener = await WebSocketListener.listen({ host: '127.0.0.1' });
    open.push(listener);
    // Alice dials, again and again if need be. Even the frame masks come from the generator that knows of forks.
    const dialer = new WebSocketDialer(`ws://127.0.0.1:${listener.port}/`, { randomness: crng });
    open.push(dialer);

    // Each peer: a key of its own, and a tunnel over its transport.
    const inbox = new EventEmitter();
    const peer = (name: string, transport: Transport) => {
      const privateKey = crng.x25519PrivateKey();
      const onPacket = (packet: Uint8Array) => inbox.emit(name, ipv4Text(packet));
      const tunnel = new EventLoopTunnel({ privateKey, crng, vmgenid, transports: [transport], onPacket });
      open.push(tunnel);
      return { tunnel, publicKey: publicKeyOf(nobleSuite, privateKey) };
    };
    const alice = peer('alice', dialer);
    const bob = peer('bob', listener);

    // Alice knows where Bob is. Bob answers on the connection that her messages come from.
    alice.tunnel.setPeer({
      publicKey: bob.publicKey,
      endpoint: dialer.endpoint,
      allowedIps: [parseAllowedIp(BOB)],
    });
    bob.tunnel.setPeer({ publicKey: alice.publicKey, allowedIps: [parseAllowedIp(ALICE)] });
    dialer.start();

    const signal = AbortSignal.timeout(10_000);
    const atBob = once(inbox, 'bob', { signal });
    const result = alice.tunnel.sendPacket(ipv4Packet(ALICE, BOB, 'hello, Bob'));
    print(`alice's first packet is ${JSON.stringify(result)}, the connection is ${dialer.state}`);
    const [bobHeard] = await atBob;
    print(`bob heard:   ${bobHeard}`);

    const atAlice = once(inbox, 'alice', { signal });
    bob.tunnel.sendPacket(ipv4Packet(BOB, ALICE, 'hello, Alice'));
    const [aliceHeard] = await atAlice;
    print(`alice heard: ${aliceHeard}, from ${bob.tunnel.device.peer(alice.publicKey)?.endpoint}`);
    return { bobHeard, aliceHeard };
  } finally {
    for (const part of open.reverse()) await part.close();
  }
}

if (import.meta.filename === realpathSync(process.argv[1] ?? '.')) await main();
