// One machine becomes many: each with a key of its own by policy `enrol`, or all with their parent's.
// Promises: every clone is a device, the gateway another, told of nobody; what is counted is what came out of
// their tunnels.
// Read on: cli/demo/enrolment.ts (two of them over UDP), docs/clones.md.

import { deriveAddress, derivePresharedKey } from '../gateway/derive.js';
import { type Suite, publicKeyOf } from '../protocol/suite.js';
import type { Device } from '../sessions/device.js';
import type { DeviceEvent } from '../sessions/events.js';
import { formatIp } from '../tunnel/ip.js';
import { encodeKey } from '../tunnel/keys.js';
import { LocalNetwork, type Port } from './local-network.js';
import { Machine } from './machine.js';
import { innerPacketV6 } from './packet.js';
import { remembering } from './remembering.js';
import { BETWEEN_HANDSHAKES_MS } from './time.js';

export interface CrowdOptions {
  readonly clones: number;
  /** A key for each of them; or the key of their parent for all. */
  readonly enrols: boolean;
}

/** How it stands after one clone more, or at the end. */
export interface CrowdState {
  /** From which a packet came out of the gateway's tunnel. They call one after the other. */
  readonly called: number;
  /** Different static keys, and addresses in the tunnel. */
  readonly keys: number;
  readonly addresses: number;
  /** How often the gateway found its peer at another place. */
  readonly moves: number;
  /** By number, the clones that got what the gateway sent to them. Empty before the end. */
  readonly reached: readonly number[];
  /** Sessions that the gateway made with the parent's key, after it was cloned. */
  readonly underParentKey: number;
  /** The first clones in words, `49iM/7TL… at fd5e:…`. */
  readonly names: readonly string[];
  readonly isOver: boolean;
}

/** RFC 4193: a prefix of the demonstration's own. */
const PREFIX = Uint8Array.of(0xfd, 0x5e, 0x7c, 0x1a, 0x9b, 0x2d, 0, 0);
const GATEWAY = Uint8Array.of(...PREFIX, 0, 0, 0, 0, 0, 0, 0, 1);
const NAMED = 5;

interface Clone {
  readonly port: Port;
  key: Uint8Array;
  heard: boolean;
}

/** Yields after each clone, and when the gateway has spoken to all of them. */
export function* runCrowd(suite: Suite, { clones, enrols }: CrowdOptions): Generator<CrowdState> {
  let parentSessions = 0;
  let moves = 0;
  let called = 0;
  const parent: { key: Uint8Array } = { key: new Uint8Array(32) };
  const secret = new Uint8Array(32);
  const network: LocalNetwork = new LocalNetwork(suite, {
    admission: {
      admit: publicKey => ({
        presharedKey: derivePresharedKey(secret, network.peerKey, publicKey),
        allowedIps: [{ ip: deriveAddress(PREFIX, publicKey), prefix: 128 }],
      }),
    },
    onPacket: () => called++,
    onEvent: event => {
      if (event.type === 'roamed') moves++;
      if (event.type === 'handshakeComplete' && encodeKey(event.peer) === encodeKey(parent.key))
        parentSessions++;
    },
  });
  secret.set(network.crng.bytes(32));
  const privateKey = network.crng.x25519PrivateKey();
  parent.key = publicKeyOf(suite, privateKey);
  const nic = network.port();
  const template = new Machine({
    seed: network.crng.bytes(32),
    privateKey,
    // What the parent computed is not computed anew for each clone.
    suite: remembering(suite),
    guarded: true,
    forkPolicy: enrols ? 'enrol' : 'wipe',
    clock: network.clock,
    peer: {
      publicKey: network.peerKey,
      presharedKey: derivePresharedKey(secret, network.peerKey, parent.key),
      endpoint: network.peerEndpoint,
      allowedIps: [{ ip: GATEWAY, prefix: 64 }],
    },
    onDatagram: nic.send,
  });
  nic.machine = template;
  say(template, parent.key, 'telemetry');
  network.deliver();
  nic.machine = undefined;
  network.skip(BETWEEN_HANDSHAKES_MS);
  [parentSessions, moves, called] = [0, 0, 0];

  const crowd: Clone[] = [];
  const keys = new Set<string>();
  const addresses = new Set<string>();
  const names: string[] = [];
  const state = (isOver: boolean): CrowdState => ({
    called,
    keys: keys.size,
    addresses: addresses.size,
    moves,
    reached: crowd.flatMap(({ heard }, i) => (heard ? [i] : [])),
    underParentKey: parentSessions,
    names: [...names],
    isOver,
  });
  for (let i = 0; i < clones; i++) {
    const port = network.port();
    const clone: Clone = { port, key: parent.key, heard: false };
    port.machine = template.restore(network.crng.bytes(16), {
      onDatagram: port.send,
      onPacket: () => (clone.heard = true),
      onEvent: (device, event) => {
        const own = enrol(device, event, secret, network.peerKey);
        if (own) clone.key = own;
      },
    });
    crowd.push(clone);
    port.machine.hear(device => device.runTimers());
    network.deliver();
    say(port.machine, clone.key, `I am number ${i}`);
    network.deliver();
    const [key, address] = [encodeKey(clone.key), formatIp(deriveAddress(PREFIX, clone.key))];
    keys.add(key);
    addresses.add(address);
    if (i < NAMED) names.push(`${key.slice(0, 8)}… at ${address}`);
    // Nothing of the others is due: only time passes.
    network.skip(BETWEEN_HANDSHAKES_MS);
    yield state(false);
  }
  for (const { key } of crowd) {
    network.peer.sendPacket(innerPacketV6(GATEWAY, deriveAddress(PREFIX, key), 'are you there?'));
    network.deliver();
  }
  yield state(true);
}

/** What a clone does when it has drawn a key: all the rest follows from that. Returns the key. */
export function enrol(
  device: Device,
  event: DeviceEvent,
  secret: Uint8Array,
  gatewayKey: Uint8Array,
): Uint8Array | undefined {
  if (event.type !== 'identityDrawn') return undefined;
  const { publicKey } = event;
  device.setPeer({ publicKey: gatewayKey, presharedKey: derivePresharedKey(secret, gatewayKey, publicKey) });
  return device.completeEnrolment(publicKey) ? publicKey : undefined;
}

function say(machine: Machine, key: Uint8Array, text: string): void {
  const packet = innerPacketV6(deriveAddress(PREFIX, key), GATEWAY, text);
  machine.hear(device => device.sendPacket(packet));
}
