// Where metrics are served, as an operator writes it.
// A file of its own: whoever reads settings need not load what serves them.

import { parseAddressPort } from '../../native/host-port.js';
import { TunnelError } from '../errors.js';

/** Reads `9586` (on 127.0.0.1), `192.0.2.1:9586`, `[::1]:9586`. Throws `ERR_METRICS_LISTEN`. Names are not resolved. */
export function parseMetricsAddress(text: string): { readonly host: string; readonly port: number } {
  const address = parseAddressPort(/^\d+$/.test(text) ? `127.0.0.1:${text}` : text);
  if (address) return address;
  const message = `not an address for metrics (port, address:port or [address]:port): ${JSON.stringify(text)}`;
  throw new TunnelError('ERR_METRICS_LISTEN', message);
}
