// From a host and a port, as they stand in a configuration, to an endpoint.

import { lookup } from 'node:dns/promises';
import { UdpEndpoint } from './endpoint.js';
import { TunnelError } from './errors.js';

/**
 * Resolves a host name or takes an address as it is. Where a name has several addresses the first that the system
 * offers is taken. Throws `ERR_ENDPOINT_UNRESOLVED` with the resolver's reason.
 */
export async function resolveEndpoint(host: string, port: number): Promise<UdpEndpoint> {
  try {
    const { address } = await lookup(host);
    return UdpEndpoint.of(address, port);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new TunnelError('ERR_ENDPOINT_UNRESOLVED', `cannot resolve ${host}: ${code ?? message}`, {
      cause: error,
    });
  }
}
