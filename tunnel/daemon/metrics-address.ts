// Where metrics are served, as an operator writes it.
// A file of its own: whoever reads settings need not load what serves them.

import { TunnelError } from '../errors.js';
import { formatIp, parseIp } from '../ip.js';

const LOOPBACK = '127.0.0.1';
const LISTEN = /^(?:(?:\[([^\]]+)\]|([\d.]+)):)?(\d{1,5})$/;

/** Reads `9586`, `192.0.2.1:9586`, `[::1]:9586`. Throws `ERR_METRICS_LISTEN`. Names are not resolved. */
export function parseMetricsAddress(text: string): { readonly host: string; readonly port: number } {
  const match = LISTEN.exec(text);
  const parsed = parseIp(match?.[1] ?? match?.[2] ?? LOOPBACK);
  const port = Number(match?.[3]);
  const bracketed = match?.[1] !== undefined;
  if (!match || !parsed || (parsed.ip.length === 16) !== bracketed || port > 0xffff) {
    const message = `not an address for metrics (port, address:port or [address]:port): ${JSON.stringify(text)}`;
    throw new TunnelError('ERR_METRICS_LISTEN', message);
  }
  return { host: formatIp(parsed.ip, parsed.zone), port };
}
