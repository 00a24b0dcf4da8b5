// A gateway that is told of nobody: whoever has the secret of an enrolment is a peer with his first packet.
// What to see: `admission` is one function. Here it looks into a store and derives the rest; it may as well ask a service of
// yours, and answer with a promise. The client is a plain WireGuard with the key and the address that are derived for it.
// Run: npm run build && node dist/examples/gateway.js

import { EventEmitter, once } from 'node:events';
import { realpathSync } from 'node:fs';
import {
  createTunnel,
  deriveAddress,
  derivePresharedKey,
  encodeKey,
  GatewayAdmission,
  MemoryPeerStore,
  nobleSuite,
  openCrng,
  parseConfig,
  publicKeyOf,
} from 'wireonce';

/** fd5e:7c1a:9b2d::/64, in which every client has an address of its own. */
const PREFIX = Uint8Array.of(0xfd, 0x5e, 0x7c, 0x1a, 0x9b, 0x2d, 0, 0);
const GATEWAY = Uint8Array.of(...PREFIX, 0, 0, 0, 0, 0, 0, 0, 1);
/** An answer comes in milliseconds. */
const PATIENCE_MS = 1_000;

/** Returns what the gateway heard, and of how many clients its store knows. */
export async function main(print: (line: string) => void = console.log) {
  const open: { close(): Promise<void> }[] = [];
  try {
    const ground = await openCrng();
    open.push(ground);
    const { crng, vmgenid } = ground;
    const secret = new Uint8Array(32);
    crng.fill(secret);
    const gatewayKey = crng.x25519PrivateKey();
    const gatewayPublicKey = publicKeyOf(nobleSuite, gatewayKey);

    const store = new MemoryPeerStore();
    const admission = new GatewayAdmission({
      store,
      secrets: [secret],
      prefix: PREFIX,
      maxPeers: 1_000,
      wallClock: Date.now,
      after: (ms, callback) => {
        const timer = setTimeout(callback, ms);
        return () => clearTimeout(timer);
      },
      onEvent: event => print(`gateway: ${event.type}`),
    });
    open.push(admission);
    const inbox = new EventEmitter();
    const gateway = await createTunnel({
      config: parseConfig(`[Interface]\nPrivateKey = ${encodeKey(gatewayKey)}`),
      vmgenid,
      admission: { admit: publicKey => admission.admit(publicKey, gatewayPublicKey) },
      onEvent: event => admission.hear(event),
      onPacket: packet => inbox.emit('packet', new TextDecoder().decode(textOf(packet))),
    });
    open.push(gateway);
    admission.onEvict = publicKey => gateway.tunnel.device.removePeer(publicKey);

    /** Sends a line through a tunnel of its own, under what is derived from `secretOf`. */
    const client = async (secretOf: Uint8Array, line: string): Promise<void> => {
      const key = crng.x25519PrivateKey();
      const publicKey = publicKeyOf(nobleSuite, key);
      const { tunnel, close } = await createTunnel({
        config: parseConfig(
          `[Interface]
           PrivateKey = ${encodeKey(key)}
           [Peer]
           PublicKey = ${encodeKey(gatewayPublicKey)}
           PresharedKey = ${encodeKey(derivePresharedKey(secretOf, gatewayPublicKey, publicKey))}
           AllowedIPs = fd5e:7c1a:9b2d::/64
           Endpoint = 127.0.0.1:${gateway.udp.port}`,
        ),
        vmgenid,
        onPacket: () => {},
      });
      open.push({ close });
      tunnel.sendPacket(ipv6Packet(deriveAddress(PREFIX, publicKey), GATEWAY, line));
    };

    const heard: string[] = [];
    inbox.on('packet', line => heard.push(line));
    const first = once(inbox, 'packet', { signal: AbortSignal.timeout(20_000) });
    await client(secret, 'I have the secret');
    await first;
    const other = new Uint8Array(32);
    crng.fill(other);
    await client(other, 'I have another');
    await new Promise(resolve => setTimeout(resolve, PATIENCE_MS));
    print(`the gateway heard: ${heard.join(', ')}`);
    return { heard, known: store.count() };
  } finally {
    for (const each of open.reverse()) await each.close();
  }
}

/** RFC 8200: a header of 40 bytes, and what it carries. */
function ipv6Packet(source: Uint8Array, destination: Uint8Array, text: string): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const packet = new Uint8Array(40 + payload.length);
  packet[0] = 0x60;
  new DataView(packet.buffer).setUint16(4, payload.length);
  packet[6] = 253; // for experiments
  packet[7] = 64;
  packet.set(source, 8);
  packet.set(destination, 24);
  packet.set(payload, 40);
  return packet;
}

/** Without the tunnel's padding. */
function textOf(packet: Uint8Array): Uint8Array {
  const length = new DataView(packet.buffer, packet.byteOffset).getUint16(4);
  return packet.subarray(40, 40 + length);
}

if (import.meta.filename === realpathSync(process.argv[1] ?? '.')) await main();
