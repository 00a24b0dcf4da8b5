// A thousand clones in one process: one seed, one script, and from their first instruction on each its own generation ID.
// Promises: what is measured begins with that instruction and ends with an echo from behind the gateway. The gateway is told
// of nobody.
// Read on: main.ts (who starts it); demo/machine.ts (how a machine is cloned in a process).

import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { plug } from '../../cli/demo/host.js';
import { Machine } from '../../demo/machine.js';
import { DEFAULT_HOP_LIMIT, echoPacket, parseIcmp } from '../../cli/icmp.js';
import { deriveAddress, derivePresharedKey } from '../../gateway/derive.js';
import { HANDSHAKE_INITIATION, TRANSPORT_DATA } from '../../protocol/constants.js';
import { publicKeyOf } from '../../protocol/suite.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import type { DeviceEvent } from '../../sessions/events.js';
import type { Device } from '../../sessions/device.js';
import { UdpEndpoint } from '../../tunnel/endpoint.js';
import { parseIp } from '../../tunnel/ip.js';
import { decodeKey, encodeKey } from '../../tunnel/keys.js';
import { UdpTransport } from '../../tunnel/loop/udp.js';
import type { Orders, Outcome } from './orders.js';

/** The engine has seen the code by then, as it has in a template that was warm when it was saved. */
const WARM_UP = 20;
const PATIENCE_MS = 30_000;
const LOOK_MS = 20;
/** So many wake, and datagrams get their turn. */
const AT_A_TIME = 8;

const orders = JSON.parse(process.argv[2]) as Orders;
const suite = await fastestSuite();
const gatewayKey = decodeKey(orders.gatewayKey);
const secret = decodeKey(orders.secret);
const prefix = bytesOf(orders.prefix).subarray(0, 8);
const gateway = bytesOf(orders.gateway);
const endpoint = UdpEndpoint.of(orders.endpoint.host, orders.endpoint.port);

let onEcho = () => {};
let lookAt = 0;
let isTemplateWarm = false;

const parentPrivate = randomBytes(32);
const parentKey = publicKeyOf(suite, parentPrivate);

/** One clone: a machine, its network card, and when it had what. */
class Clone {
  readonly nic: UdpTransport;
  readonly machine: Machine;
  key: Uint8Array | undefined;
  wokeAt = 0;
  echoedAt = 0;
  /** Datagrams that left before it had a key of its own. */
  underParentKey = 0;

  constructor(nic: UdpTransport, template: Machine) {
    this.nic = nic;
    this.machine = template.copy({
      onDatagram: (datagram, to) => {
        const type = datagram[0];
        if (!this.key && (type === HANDSHAKE_INITIATION || type === TRANSPORT_DATA)) this.underParentKey++;
        nic.send(datagram, to);
      },
      onEvent: (device, event) => this.#hear(device, event),
      onPacket: packet => {
        if (this.echoedAt > 0 || !isEcho(packet)) return;
        this.echoedAt = performance.now();
        onEcho();
      },
    });
    plug(nic, this.machine);
  }

  wake(at = performance.now()): void {
    this.wokeAt = at;
    this.machine.wake(randomBytes(16));
    this.machine.hear(device => device.runTimers());
  }

  get ms(): number | undefined {
    return this.echoedAt === 0 ? undefined : this.echoedAt - this.wokeAt;
  }

  #hear(device: Device, event: DeviceEvent): void {
    if (event.type !== 'identityDrawn') return;
    const { publicKey } = event;
    this.key = publicKey;
    const presharedKey = derivePresharedKey(secret, gatewayKey, publicKey);
    device.setPeer({ publicKey: gatewayKey, presharedKey });
    device.completeEnrolment(publicKey);
    device.sendPacket(echoFrom(deriveAddress(prefix, publicKey)));
  }
}

const parentNic = await openNic();
const template = new Machine({
  seed: randomBytes(32),
  privateKey: parentPrivate,
  suite,
  guarded: true,
  forkPolicy: 'enrol',
  peer: {
    publicKey: gatewayKey,
    presharedKey: derivePresharedKey(secret, gatewayKey, parentKey),
    endpoint,
    allowedIps: [{ ip: gateway, prefix: 64 }],
  },
  onDatagram: (datagram, to) => parentNic.send(datagram, to),
  onPacket: packet => {
    if (!isEcho(packet)) return;
    isTemplateWarm = true;
    onEcho();
  },
});
plug(parentNic, template);
template.hear(device => device.sendPacket(echoFrom(deriveAddress(prefix, parentKey))));
await until([], () => isTemplateWarm);
if (!isTemplateWarm) throw new Error('the template was not admitted');
// What comes now is for a machine that is saved.
parentNic.onDatagram = () => {};

const warm = await crowd(WARM_UP);
await oneByOne(warm);
const alone = await crowd(orders.alone);
const cpuBefore = process.cpuUsage();
await oneByOne(alone);
const cpu = process.cpuUsage(cpuBefore);
const together = await crowd(orders.together);
const instant = performance.now();
for (const [i, clone] of together.entries()) {
  clone.wake(instant);
  if (i % AT_A_TIME === AT_A_TIME - 1) await setImmediate();
}
await until(together, () => together.every(({ echoedAt }) => echoedAt > 0));

const all = [...alone, ...together];
const outcome: Outcome = {
  admitted: all.filter(({ echoedAt }) => echoedAt > 0).length,
  keys: new Set(all.map(({ machine }) => encodeKey(machine.device.publicKey ?? parentKey))).size,
  addresses: new Set(all.map(({ key }) => encodeAddress(key ?? parentKey))).size,
  underParentKey: all.reduce((sum, clone) => sum + clone.underParentKey, 0),
  aloneMs: timesOf(alone),
  togetherMs: timesOf(together),
  cpuMsPerClone: (cpu.user + cpu.system) / 1_000 / Math.max(1, alone.length),
};
process.stdout.write(`${JSON.stringify(outcome)}\n`);
process.exit(0);

async function crowd(count: number): Promise<Clone[]> {
  const clones: Clone[] = [];
  for (let i = 0; i < count; i++) clones.push(new Clone(await openNic(), template));
  return clones;
}

async function oneByOne(clones: readonly Clone[]): Promise<void> {
  for (const clone of clones) {
    clone.wake();
    await until([clone], () => clone.echoedAt > 0);
  }
}

/** Sleeps until an echo has come or clones have something due: whoever spins takes a core that the gateway needs. */
async function until(clones: readonly Clone[], isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!isSo() && performance.now() < deadline) {
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, LOOK_MS);
      onEcho = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    if (performance.now() < lookAt) continue;
    lookAt = performance.now() + LOOK_MS;
    for (const { machine, echoedAt } of clones) {
      if (echoedAt === 0 && machine.device.nextDeadline() <= performance.now()) {
        machine.hear(device => device.runTimers());
      }
    }
  }
}

async function openNic(): Promise<UdpTransport> {
  return UdpTransport.open({ ipv6: false });
}

function echoFrom(source: Uint8Array): Uint8Array {
  const echo = { kind: 'request', source, destination: gateway, id: 1, sequence: 1 } as const;
  return echoPacket({ ...echo, payload: new Uint8Array(56), hopLimit: DEFAULT_HOP_LIMIT });
}

function isEcho(packet: Uint8Array): boolean {
  return parseIcmp(packet)?.kind === 'reply';
}

function timesOf(clones: readonly Clone[]): number[] {
  return clones.map(({ ms }) => ms).filter(ms => ms !== undefined);
}

function encodeAddress(key: Uint8Array): string {
  return Buffer.from(deriveAddress(prefix, key)).toString('hex');
}

function bytesOf(text: string): Uint8Array {
  const parsed = parseIp(text);
  if (!parsed) throw new Error(`no address: ${text}`);
  return parsed.ip;
}
