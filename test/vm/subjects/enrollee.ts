// wireonce in a guest that enrols at a gateway, which was told of nobody; and, as a control, one that keeps what it has.

import { deriveAddress, derivePresharedKey } from '../../../gateway/derive.js';
import { formatIp } from '../../../tunnel/ip.js';
import { encodeKey } from '../../../tunnel/keys.js';
import { ECHO_ADDRESS, ENROLMENT_SECRET, PREFIX } from '../harness/host-gateway.js';
import type { Identity } from '../harness/identity.js';
import { WIREGUARD_PORT } from '../harness/host-peer.js';
import type { Machine } from '../harness/machine.js';

const INTERFACE = 'wg0';
const LOG = '/tmp/wireonce';
const NETWORK = `${formatIp(Uint8Array.of(...PREFIX, 0, 0, 0, 0, 0, 0, 0, 0))}/64`;
const PINGS = 'pings';
/** One ping in so many milliseconds. */
const PAUSE_MS = 50;

export interface Enrollee {
  readonly name: string;
  /** All that `start` does, as a text. */
  readonly recipe: string;
  /** Sets it up in a machine that has just booted. */
  start(machine: Machine, gateway: Uint8Array): Promise<void>;
  /** Pings the gateway from now on. */
  ping(machine: Machine): Promise<void>;
  /** Forgets the session with the gateway, so that the next packet starts a handshake. */
  restart(machine: Machine, gateway: Uint8Array): Promise<void>;
  /** What it says of itself, for whoever has to find out why it is not heard. */
  account(machine: Machine): Promise<string>;
  /** What the last echo that came back to this machine carried. */
  echoed(machine: Machine): Promise<string>;
}

const SECTION = `[Enrolment]\nSecretFile = /etc/wireonce/secret\nPrefix = ${NETWORK}\n`;

/** By policy `enrol`: neither a key nor an address is told to it. */
export const enrolling = enrollee('enrol', `[Interface]\nForkPolicy = enrol\n${SECTION}`);

/** By policy `wipe`, with the key, the address and the preshared key that one that enrols would have come to. */
export function keeping({ privateKey, publicKey }: Identity): Enrollee {
  const identity = [
    `echo '${encodeKey(privateKey)}' >/tmp/key; wg set ${INTERFACE} private-key /tmp/key`,
    `ip addr add ${formatIp(deriveAddress(PREFIX, publicKey))}/64 dev ${INTERFACE}`,
  ];
  return enrollee('enrol (control: policy wipe)', '[Interface]\nForkPolicy = wipe\n', identity, gateway => [
    `echo '${encodeKey(derivePresharedKey(ENROLMENT_SECRET, gateway, publicKey))}' >/tmp/psk`,
    `wg set ${INTERFACE} peer '${encodeKey(gateway)}' preshared-key /tmp/psk`,
  ]);
}

function enrollee(
  name: string,
  config: string,
  identity: readonly string[] = [],
  presharedKey: (gateway: Uint8Array) => readonly string[] = () => [],
): Enrollee {
  const files = [
    'mkdir -p /etc/wireonce /var/lib/wireonce',
    `umask 077; echo '${encodeKey(ENROLMENT_SECRET)}' >/etc/wireonce/secret`,
    `printf '%s' '${config}' >/etc/wireonce/${INTERFACE}.conf`,
  ];
  const daemon = `LOG_LEVEL=verbose node /app/dist/cli/main.js ${INTERFACE}`;
  const addGateway = (gateway: Uint8Array) => [
    `wg set ${INTERFACE} peer '${encodeKey(gateway)}' endpoint 10.0.2.2:${WIREGUARD_PORT} allowed-ips ${NETWORK}`,
    ...presharedKey(gateway),
  ];
  const setUp = (gateway: Uint8Array) => [
    ...files,
    `${daemon} >${LOG} 2>&1 || (cat ${LOG} >&2; exit 1)`,
    `wg set ${INTERFACE} listen-port ${WIREGUARD_PORT}`,
    ...addGateway(gateway),
    `ip link set ${INTERFACE} up`,
    ...identity,
  ];
  return {
    name,
    recipe: [...setUp(new Uint8Array(32)), PINGS].join('\n'),
    async start({ agent }, gateway) {
      for (const line of setUp(gateway)) await agent.shell(line);
      await agent.start(PINGS);
      await agent.call(PINGS, 'connect', ECHO_ADDRESS);
    },
    ping: ({ agent }) => agent.call(PINGS, 'load', { burst: 1, pauseMs: PAUSE_MS }),
    async restart({ agent }, gateway) {
      await agent.shell(`wg set ${INTERFACE} peer '${encodeKey(gateway)}' remove`);
      for (const line of addGateway(gateway)) await agent.shell(line);
    },
    account: ({ agent }) =>
      agent.shell(
        `tail -c 2000 ${LOG}; node /app/dist/cli/main.js status ${INTERFACE}; ip addr show ${INTERFACE}`,
      ),
    echoed: ({ agent }) => agent.call<string>(PINGS, 'echoed'),
  };
}
