// What keeps an interface from being made, in sentences with the next step.
// Promises: an error that is none of these is given back as it is.
// Read on: Linux drivers/net/tun.c tun_set_iff() (who answers what); trouble.ts (all other errors).

import type { TunnelError } from '../../tunnel/errors.js';
import { CliError } from '../errors.js';
import { LINKS, type LinkKind, linkKind } from '../kernel-wireguard.js';

type Said = readonly [message: string, hint: string];

const RIGHTS =
  'it takes root or CAP_NET_ADMIN: try sudo; in a container, --cap-add NET_ADMIN --device /dev/net/tun';
const NO_DEVICE: Said = [
  'there is no TUN device: /dev/net/tun is missing',
  'modprobe tun; in a container, --device /dev/net/tun',
];
const NO_DRIVER: Said = ['/dev/net/tun leads to no TUN driver', 'modprobe tun'];

const OPEN: Readonly<Record<string, Said>> = {
  EACCES: ['no permission to open /dev/net/tun', RIGHTS],
  EPERM: ['no permission to open /dev/net/tun', RIGHTS],
  ENOENT: NO_DEVICE,
  ENOTDIR: NO_DEVICE,
  ENODEV: NO_DRIVER,
  ENXIO: NO_DRIVER,
};

/** By what Linux says of the interface that cannot be made. */
const TAKEN: Readonly<Record<LinkKind, (name: string) => Said>> = {
  none: name => [`the kernel makes no interface ${name}`, 'choose another name'],
  other: name => [
    `${name} is an interface already, and of another kind`,
    `choose another name, or see what it is: ip -details link show ${name}`,
  ],
  wireguard: name => [
    `${name} is there already, by the kernel's WireGuard, which does not notice a fork`,
    `take it down first: wg-quick down ${name}, or ip link delete ${name}`,
  ],
};

/** `error`, or what it means for whoever wants the interface `name`. `links`: where Linux shows its interfaces. */
export function startTrouble(error: unknown, name: string, links = LINKS): unknown {
  const said = sayOf(Object(error), name, links);
  return said ? new CliError('ERR_CLI_DAEMON', said[0], { hints: [said[1]], cause: error }) : error;
}

function sayOf(
  { code, call, errno = '', message = '' }: Partial<Omit<TunnelError, 'code'>> & { readonly code?: string },
  name: string,
  links: string,
): Said | undefined {
  if (code === 'ERR_STRICT_PROTECTION')
    return [message, 'wireonce vmgenid status lists what is missing, and why'];
  if (code === 'ERR_NO_SYSTEM_CALLS') {
    return process.platform === 'linux'
      ? [message, 'install it beside wireonce: npm install koffi']
      : [message, 'wireonce ping, and tunnels of the library, work here without an interface'];
  }
  if (call === 'open') return OPEN[errno];
  if (call === 'ioctl TUNGETIFF')
    return ['the descriptor in WG_TUN_FD is no TUN device', 'leave the variable out, and one is made'];
  if (call !== 'ioctl TUNSETIFF') return undefined;
  switch (errno) {
    case 'EPERM':
      return [`no permission to make the interface ${name}`, RIGHTS];
    case 'EBUSY':
      return [`${name} is in use by another program`, 'end that one, or choose another name'];
    case 'ENOTTY':
      return NO_DRIVER;
    case 'EINVAL':
    case 'EEXIST':
      return TAKEN[linkKind(name, links)](name);
    default:
      return undefined;
  }
}
