// WireGuards behind an interface of the guest, all set up by `wg`: the kernel's own, wireguard-go, and this one.

import { encodeKey } from '../../../tunnel/keys.js';
import type { DeviceStatus } from '../../../tunnel/daemon/status.js';
import { PC_VMCLOCK, PC_VMCLOCK_DRIVER } from '../harness/boards.js';
import type { Machine } from '../harness/machine.js';
import { requireFastPath } from './fast-path.js';
import { type Replaced, replaceModules } from './replaced.js';
import type { Keys, Subject } from './subject.js';

const INTERFACE = 'wg0';
const MTU = 1420;
const TRAFFIC = 'traffic';
const STATUS = 'status';
/** What waits in a queue is the same in clones, and proves nothing: little is to wait, to be sent or acknowledged. */
const SET_UP = [
  `ip addr add 10.77.0.2/24 dev ${INTERFACE}; ip link set ${INTERFACE} mtu ${MTU} up`,
  'echo 4096 65536 131072 >/proc/sys/net/ipv4/tcp_wmem',
];
/** What the daemon says. */
const LOG = '/tmp/wireonce';
/** The same for an interface that gets packets joined: pieces of up to 64. */
const SHORT_QUEUE = `echo 64 >/sys/class/net/${INTERFACE}/tx_queue_len`;

export const kernelWireguard = wgInterface('kernel WireGuard', `ip link add ${INTERFACE} type wireguard`);

export const wireguardGo = wgInterface('wireguard-go', `wireguard-go ${INTERFACE} >/tmp/wireguard-go 2>&1`);

export interface WireonceOptions {
  /** `WIREONCE_...` without the prefix, as docs/configuration.md has them. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly replaced?: Replaced;
  readonly hardware?: Subject['hardware'];
  /** What is done in the guest before the daemon starts. */
  readonly before?: string;
  /** The immediate sources that it must have, by their names: by others nothing were shown of these. */
  readonly immediate?: readonly string[];
}

/** The daemon where the kernel lets nobody map the page: by a program in the kernel, which reads it. */
export const wireonceLockedDown = wireonce('wireonce (immediate: bpf, kernel locked down)', {
  hardware: { cpu: 'max', kernelOptions: 'lockdown=integrity' },
  settings: { KMSG: 'off' },
  immediate: ['bpf'],
});

/** The daemon on a machine where nothing but a vmclock page tells of a fork, not even the kernel. */
export function wireonceVmclock(seen: 'driver' | 'no driver' | 'not looked at'): Subject {
  return wireonce(`wireonce (vmclock: ${seen})`, {
    hardware: { board: seen === 'driver' ? PC_VMCLOCK_DRIVER : PC_VMCLOCK },
    ...(seen === 'not looked at' ? { settings: { VMCLOCK: 'off' } } : { immediate: ['vmclock'] }),
  });
}

/** The daemon, `wireonce wg0`: by default with the best sources of the machine, which is the generation-ID page. */
export function wireonce(name: string, options: WireonceOptions = {}): Subject {
  const { settings = {}, replaced = {}, hardware, before = ':', immediate } = options;
  const environment = Object.entries(settings).map(([key, value]) => `WIREONCE_${key}=${value}`);
  const command = [...environment, 'node', '/app/dist/cli/main.js', INTERFACE].join(' ');
  const create = `${before}; LOG_LEVEL=verbose ${command} >${LOG} 2>&1 || (cat ${LOG} >&2; exit 1)`;
  const subject = wgInterface(name, create);
  return {
    ...subject,
    recipe: [subject.recipe, SHORT_QUEUE, STATUS, JSON.stringify(replaced)].join('\n'),
    ...(hardware && { hardware }),
    async start(machine, keys) {
      await replaceModules(machine, replaced);
      await subject.start(machine, keys);
      await machine.agent.shell(SHORT_QUEUE);
      await machine.agent.start(STATUS);
    },
    async status({ agent }) {
      const status = await agent
        .call<DeviceStatus>(STATUS, 'status', INTERFACE)
        .catch(async (cause: Error) => {
          // A daemon that died has said why.
          throw new Error(
            `${cause.message}\n${await agent.shell(`tail -c 4000 ${LOG}; dmesg | tail -n 20`)}`,
            { cause },
          );
        });
      requireFastPath(name, status);
      if (immediate) requireImmediate(name, immediate, status);
      return status;
    },
  };
}

function wgInterface(name: string, create: string): Subject {
  return {
    name,
    recipe: [create, ...SET_UP, TRAFFIC].join('\n'),
    async start(machine, keys) {
      const { agent } = machine;
      await agent.shell(create);
      await agent.shell(`echo '${encodeKey(keys.guest.privateKey)}' >/tmp/key`);
      await agent.shell(`wg set ${INTERFACE} listen-port 51820 private-key /tmp/key`);
      await addPeer(machine, keys);
      for (const line of SET_UP) await agent.shell(line);
      await agent.start(TRAFFIC);
      await agent.call(TRAFFIC, 'connect', '10.77.0.1');
    },
    async load({ agent }, options) {
      await agent.call(TRAFFIC, 'load', options);
    },
    async restart(machine, keys) {
      await machine.agent.shell(`wg set ${INTERFACE} peer ${encodeKey(keys.host.publicKey)} remove`);
      await addPeer(machine, keys);
    },
  };
}

function requireImmediate(name: string, expected: readonly string[], { sources }: DeviceStatus): void {
  const found = sources
    .filter(({ readable, timing }) => readable && timing === 'immediate')
    .map(it => it.name);
  if (found.join() !== expected.join())
    throw new Error(
      `${name}: the guest's immediate sources are ${found.join() || 'none'}, not ${expected.join()}`,
    );
}

async function addPeer({ agent }: Machine, { host }: Keys): Promise<void> {
  const peer = encodeKey(host.publicKey);
  await agent.shell(`wg set ${INTERFACE} peer ${peer} endpoint 10.0.2.2:51820 allowed-ips 10.77.0.1/32`);
}
