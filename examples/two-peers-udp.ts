// Two peers talk over UDP on loopback: a packet each way.
// What to see: the parts of a tunnel and how they go together. Nobody starts the handshake: the first packet does,
// waits for it, and follows it.
// Run: npm run build && node dist/examples/two-peers-udp.js

import { EventEmitter, once } from 'node:events';
import { realpathSync } from 'node:fs';
import {
  EventLoopTunnel,
  nobleSuite,
  openCrng,
  parseAllowedIp,
  publicKeyOf,
  UdpEndpoint,
  UdpTransport,
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
    print(`this machine would see a fork: ${vmgenid.protection}`);

    // Each peer: a key of its own, a socket of its own, and a tunnel over it.
    const inbox = new EventEmitter();
    const peer = async (name: string) => {
      const privateKey = crng.x25519PrivateKey();
      const udp = await UdpTransport.open({ ipv4: '127.0.0.1', ipv6: false });
      const onPacket = (packet: Uint8Array) => inbox.emit(name, ipv4Text(packet));
      const tunnel = new EventLoopTunnel({ privateKey, crng, vmgenid, transports: [udp], onPacket });
      open.push(tunnel);
      const endpoint = UdpEndpoint.of('127.0.0.1', udp.port);
      return { tunnel, endpoint, publicKey: publicKeyOf(nobleSuite, privateKey) };
    };
    const alice = await peer('alice');
    const bob = await peer('bob');

    // Alice knows where Bob is. Bob learns where Alice is from her first message.
    alice.tunnel.setPeer({
      publicKey: bob.publicKey,
      endpoint: bob.endpoint,
      allowedIps: [parseAllowedIp(BOB)],
    });
    bob.tunnel.setPeer({ publicKey: alice.publicKey, allowedIps: [parseAllowedIp(ALICE)] });

    const signal = AbortSignal.timeout(10_000);
    const atBob = once(inbox, 'bob', { signal });
    const result = alice.tunnel.sendPacket(ipv4Packet(ALICE, BOB, 'hello, Bob'));
    print(`alice's first packet is ${JSON.stringify(result)}: there is no session yet`);
    const [bobHeard] = await atBob;
    print(`bob heard:   ${bobHeard}`);

    const atAlice = once(inbox, 'alice', { signal });
    bob.tunnel.sendPacket(ipv4Packet(BOB, ALICE, 'hello, Alice'));
    const [aliceHeard] = await atAlice;
    print(`alice heard: ${aliceHeard}`);
    return { bobHeard, aliceHeard };
  } finally {
    for (const part of open.reverse()) await part.close();
  }
}

if (import.meta.filename === realpathSync(process.argv[1] ?? '.')) await main();
