// One run of the story: a sandbox talks to a gateway over UDP, is snapshotted in mid-flight, and restored twice.

import { type Suite, publicKeyOf } from '../../protocol/suite.js';
import type { Endpoint } from '../../sessions/ports.js';
import type { UdpTransport } from '../../tunnel/index.js';
import { type Gateway, Host, plug, until } from './host.js';
import { Machine } from '../../demo/machine.js';
import { innerPacket, innerPayload, ipOf } from '../../demo/packet.js';
import { GATEWAY_IP, HEALTH_CHECK, SANDBOX_IP } from '../../demo/public-knowledge.js';
import { SECRET } from '../../demo/secret.js';
import { BETWEEN_HANDSHAKES_MS, pause } from '../../demo/time.js';
import { recoverPlaintext } from '../../demo/attack/keystream.js';
import { Wiretap } from '../../demo/wiretap.js';

/** What each clone says after the restore. The first is the kind of thing that anybody can guess. */
export const CLONE_SAYS = [HEALTH_CHECK, SECRET] as const;

const PACKETS_PER_CLONE = 4;

export interface ForkResult {
  /** Data messages that the sandbox and its clones sent. */
  readonly datagrams: number;
  readonly reusedNonces: number;
  /** What the wire gave away of the second clone's packet; empty where nothing was reused. */
  readonly recovered: string;
  readonly wipedKeypairs: number;
  readonly newHandshakes: number;
  /** Packets of the clones that the gateway answered. */
  readonly answered: number;
}

export type Tell = (who: string, what: string) => void;

export interface ForkOptions {
  readonly guarded: boolean;
  /** How many packets the sandbox has sent when it is snapshotted. */
  readonly packetsBefore: number;
  readonly suite: Suite;
  readonly tell: Tell;
}

export async function runFork(options: ForkOptions): Promise<ForkResult> {
  const { guarded, packetsBefore, suite, tell } = options;
  const wiretap = new Wiretap();
  const host = new Host(suite);
  try {
    const seed = host.crng.bytes(32);
    const sandboxPrivate = host.crng.x25519PrivateKey();
    const gatewayPrivate = host.crng.x25519PrivateKey();
    const gateway = await host.gateway({
      privateKey: gatewayPrivate,
      peers: [
        {
          publicKey: publicKeyOf(suite, sandboxPrivate),
          allowedIps: [{ ip: ipOf(SANDBOX_IP), prefix: 32 }],
        },
      ],
    });

    const nic = await host.nic();
    const sandbox = new Machine({
      seed,
      privateKey: sandboxPrivate,
      suite,
      guarded,
      peer: {
        publicKey: publicKeyOf(suite, gatewayPrivate),
        endpoint: gateway.endpoint,
        allowedIps: [{ ip: ipOf(GATEWAY_IP), prefix: 32 }],
      },
      onDatagram: tapped(wiretap, nic),
    });
    plug(nic, sandbox);
    for (let i = 0; i < packetsBefore; i++) await say(sandbox, gateway, `telemetry ${i}`);
    tell('sandbox', `handshake done, ${packetsBefore} packets sent and answered`);

    await pause(BETWEEN_HANDSHAKES_MS);
    // Snapshot, with the next packet on its way: the original machine is never heard of again.
    nic.onDatagram = () => {};
    tell('host', 'snapshot of the sandbox, restored twice');
    const clones: Machine[] = [];
    for (const name of ['clone A', 'clone B']) {
      const cloneNic = await host.nic();
      const clone = sandbox.restore(host.crng.bytes(16), { onDatagram: tapped(wiretap, cloneNic) });
      plug(cloneNic, clone);
      clones.push(clone);
      tell(name, 'runs, with the same keys, counters and random numbers as its twin');
    }
    const before = clones.map(clone => clone.device.stats().handshakesCompleted);

    let answered = 0;
    for (const [i, clone] of clones.entries()) {
      if (i > 0) await pause(BETWEEN_HANDSHAKES_MS);
      for (let n = 0; n < PACKETS_PER_CLONE; n++) {
        // An unguarded second clone repeats counters that the gateway has seen: it is never answered.
        const wait = guarded || i === 0;
        if (await say(clone, gateway, CLONE_SAYS[i], wait)) answered++;
      }
    }
    await pause(BETWEEN_HANDSHAKES_MS);

    const after = clones.map(clone => clone.device.stats());
    return {
      datagrams: wiretap.datagrams,
      reusedNonces: wiretap.reuses.length,
      recovered: recover(wiretap),
      wipedKeypairs: after.reduce((sum, stats) => sum + stats.wipedKeypairs, 0),
      newHandshakes: after.reduce((sum, stats, i) => sum + stats.handshakesCompleted - before[i], 0),
      answered,
    };
  } finally {
    await host.close();
  }
}

// The attacker guesses what one clone said, and reads off the wire what the other did.
function recover(wiretap: Wiretap): string {
  const reuse = wiretap.reuses[0];
  if (!reuse) return '';
  const guess = innerPacket(SANDBOX_IP, GATEWAY_IP, CLONE_SAYS[0]);
  return innerPayload(recoverPlaintext(reuse, guess, true));
}

/** Hands a packet to the machine; resolves when it came out at the gateway. False where nobody waits for that. */
async function say(machine: Machine, gateway: Gateway, text: string, wait = true): Promise<boolean> {
  const before = gateway.received;
  const packet = innerPacket(SANDBOX_IP, GATEWAY_IP, text);
  machine.hear(device => device.sendPacket(packet));
  if (!wait) return false;
  await until([machine], () => gateway.received > before, 'the gateway did not get a packet');
  return true;
}

function tapped(wiretap: Wiretap, nic: UdpTransport) {
  return (datagram: Uint8Array, to: Endpoint) => {
    wiretap.see(datagram);
    nic.send(datagram, to);
  };
}
