// Where the hook listens: a path, an address and port, or a port of the machine's vsock, and who gets through by that alone.
// Promises: what is no such address is `undefined`.
// Read on: hook.ts; vsock(7).

import { parseAddressPort, isLoopback } from '../../native/host-port.js';

/** A Unix socket. */
interface PathAddress {
  readonly path: string;
}

/** TCP. */
interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

/** `vsock`: the one context ID that may call. */
interface VsockAddress {
  readonly vsock: number;
  readonly port: number;
}

export type HookAddress = PathAddress | TcpAddress | VsockAddress;

/** linux/vm_sockets.h: the hypervisor, as its guests call it; and whoever is in the machine itself. */
const VMADDR_CID_HOST = 2;
const VMADDR_CID_LOCAL = 1;
/** `VMADDR_CID_ANY` and `VMADDR_PORT_ANY`, which name nobody. */
const ANY = 0xffff_ffff;

const VSOCK = /^vsock:(?:(\d{1,10}):)?(\d{1,10})$/;

/** Reads `/run/hook.sock`, `127.0.0.1:7000`, `[::1]:7000`, `vsock:7000`, `vsock:CID:7000`. */
export function parseHookAddress(text: string): HookAddress | undefined {
  if (text.startsWith('/')) return { path: text };
  const match = VSOCK.exec(text);
  if (!match) return parseAddressPort(text);
  const vsock = match[1] === undefined ? VMADDR_CID_HOST : Number(match[1]);
  const port = Number(match[2]);
  return vsock > 0 && vsock < ANY && port < ANY ? { vsock, port } : undefined;
}

/** Whether nobody who calls there comes from another machine, but for a hypervisor's own. */
export function isLocal(address: HookAddress): boolean {
  return !('host' in address) || isLoopback(address.host);
}

/** Whether every user of this machine can call there, whatever files they may read. */
export function isOpenToUsers(text: string): boolean {
  const address = parseHookAddress(text);
  return (
    address !== undefined && ('host' in address || ('vsock' in address && address.vsock === VMADDR_CID_LOCAL))
  );
}
