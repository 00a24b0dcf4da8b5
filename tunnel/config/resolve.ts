// From a host and a port, as they stand in a configuration, to endpoints.

import { lookup } from 'node:dns/promises';
import { UdpEndpoint } from '../endpoint.js';
import { TunnelError } from '../errors.js';

/**
 * Resolves a host name, or takes an address as it is: every address, in the order in which the system offers them.
 * Throws `ERR_ENDPOINT_UNRESOLVED` with the resolver's reason.
 */
export async function resolveEndpoints(host: string, port: number): Promise<UdpEndpoint[]> {
  try {
    const found = await lookup(host, { all: true });
    return found.map(({ address }) => UdpEndpoint.of(address, port));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new TunnelError('ERR_ENDPOINT_UNRESOLVED', `cannot resolve ${host}: ${code ?? message}`, {
      cause: error,
    });
  }
}

/** As `resolveEndpoints`, and takes the first. */
export async function resolveEndpoint(host: string, port: number): Promise<UdpEndpoint> {
  const [first] = await resolveEndpoints(host, port);
  return first;
}
