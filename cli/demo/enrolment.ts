// The third act: the clones of one sandbox, each with a key and an address of its own, and a gateway that was told of none.

import { deriveAddress, derivePresharedKey } from '../../gateway/derive.js';
import { type Suite, publicKeyOf } from '../../protocol/suite.js';
import type { Endpoint } from '../../sessions/ports.js';
import { encodeKey } from '../../tunnel/keys.js';
import { formatIp } from '../../tunnel/ip.js';
import { BETWEEN_HANDSHAKES_MS, pause } from '../../demo/time.js';
import { type Gateway, Host, plug, until } from './host.js';
import { Machine } from '../../demo/machine.js';
import { innerPacketV6 } from '../../demo/packet.js';
import type { ForkResult, Tell } from './scenario.js';
import { enrol } from '../../demo/crowd.js';
import { Wiretap } from '../../demo/wiretap.js';

/** Of RFC 4193: a prefix of the demonstration's own. */
const PREFIX = Uint8Array.of(0xfd, 0x5e, 0x7c, 0x1a, 0x9b, 0x2d, 0, 0);
const GATEWAY_ADDRESS = Uint8Array.of(...PREFIX, 0, 0, 0, 0, 0, 0, 0, 1);
const CLONES = ['clone A', 'clone B'] as const;

export interface EnrolmentResult extends Pick<ForkResult, 'datagrams' | 'reusedNonces'> {
  readonly clones: number;
  /** Different static keys, and different addresses, of the clones. */
  readonly keys: number;
  readonly addresses: number;
  /** Clones that the gateway reached at their own address. */
  readonly reached: number;
  /** Sessions that the gateway made with the key of the machine that was cloned, after it was. */
  readonly underParentKey: number;
}

export interface EnrolmentOptions {
  readonly packetsBefore: number;
  readonly suite: Suite;
  readonly tell: Tell;
}

export async function runEnrolment({
  packetsBefore,
  suite,
  tell,
}: EnrolmentOptions): Promise<EnrolmentResult> {
  const wiretap = new Wiretap();
  const host = new Host(suite);
  try {
    const secret = host.crng.bytes(32);
    const gatewayPrivate = host.crng.x25519PrivateKey();
    const gatewayKey = publicKeyOf(suite, gatewayPrivate);
    const parentPrivate = host.crng.x25519PrivateKey();
    const parentKey = publicKeyOf(suite, parentPrivate);
    let parentSessions = 0;
    const gateway = await host.gateway({
      privateKey: gatewayPrivate,
      // All that a gateway without a store has to know: whoever has the secret is welcome, at the address of his key.
      admission: {
        admit: publicKey => ({
          presharedKey: derivePresharedKey(secret, gatewayKey, publicKey),
          allowedIps: [{ ip: deriveAddress(PREFIX, publicKey), prefix: 128 }],
        }),
      },
      onEvent: event => {
        if (event.type !== 'handshakeComplete') return;
        if (encodeKey(event.peer) === encodeKey(parentKey)) parentSessions++;
      },
    });

    const nics = await Promise.all(['sandbox', ...CLONES].map(() => host.nic()));
    const onDatagram = (nic: (typeof nics)[number]) => (datagram: Uint8Array, to: Endpoint) => {
      wiretap.see(datagram);
      nic.send(datagram, to);
    };
    const sandbox = new Machine({
      seed: host.crng.bytes(32),
      privateKey: parentPrivate,
      suite,
      guarded: true,
      forkPolicy: 'enrol',
      peer: {
        publicKey: gatewayKey,
        presharedKey: derivePresharedKey(secret, gatewayKey, parentKey),
        endpoint: gateway.endpoint,
        allowedIps: [{ ip: GATEWAY_ADDRESS, prefix: 64 }],
      },
      onDatagram: onDatagram(nics[0]),
    });
    plug(nics[0], sandbox);
    for (let i = 0; i < packetsBefore; i++) await say(sandbox, deriveAddress(PREFIX, parentKey), gateway, i);
    tell(
      'sandbox',
      `admitted by a gateway that did not know it, at ${formatIp(deriveAddress(PREFIX, parentKey))}`,
    );
    await pause(BETWEEN_HANDSHAKES_MS);

    // Snapshot: the original machine is never heard of again.
    nics[0].onDatagram = () => {};
    parentSessions = 0;
    tell('host', `snapshot of the sandbox, restored ${CLONES.length} times`);
    const addresses: Uint8Array[] = [];
    const heard = CLONES.map(() => 0);
    const clones = CLONES.map((name, i) => {
      const nic = nics[i + 1];
      const clone = sandbox.restore(host.crng.bytes(16), {
        onDatagram: onDatagram(nic),
        onPacket: () => heard[i]++,
        onEvent: (device, event) => {
          const key = enrol(device, event, secret, gatewayKey);
          if (!key) return;
          addresses[i] = deriveAddress(PREFIX, key);
          tell(
            name,
            `erased its parent's key; is ${encodeKey(key).slice(0, 8)}… at ${formatIp(addresses[i])}`,
          );
        },
      });
      plug(nic, clone);
      return clone;
    });
    await until(
      clones,
      () => clones.every(({ device }) => device.stats().handshakesCompleted > 1),
      'no clone enrolled',
    );
    for (const [i, clone] of clones.entries()) await say(clone, addresses[i], gateway, i);
    for (const address of addresses) {
      gateway.tunnel.sendPacket(innerPacketV6(GATEWAY_ADDRESS, address, 'are you there?'));
    }
    await until(clones, () => heard.every(packets => packets > 0), 'a clone was not reached');
    return {
      clones: clones.length,
      keys: new Set(clones.map(({ device }) => device.publicKey && encodeKey(device.publicKey))).size,
      addresses: new Set(addresses.map(address => formatIp(address))).size,
      reached: heard.filter(packets => packets > 0).length,
      underParentKey: parentSessions,
      datagrams: wiretap.datagrams,
      reusedNonces: wiretap.reuses.length,
    };
  } finally {
    await host.close();
  }
}

async function say(machine: Machine, address: Uint8Array, gateway: Gateway, i: number): Promise<void> {
  const before = gateway.received;
  const packet = innerPacketV6(address, GATEWAY_ADDRESS, `telemetry ${i}`);
  machine.hear(device => device.sendPacket(packet));
  await until([machine], () => gateway.received > before, 'the gateway did not get a packet');
}
