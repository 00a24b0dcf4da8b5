// Is a request of HTTP meant for this server? A page in a browser can have its own name resolve to an address of ours (DNS
// rebinding) and then read what we answer; but the browser goes on saying that name in `Host`.
// Promises: what is reached by an address, by `localhost` or by a name that the operator gave is ours, and nothing else.
// Read on: RFC 9110 section 7.2 (Host), 15.5.20 (421).

import { ipVersion } from '../native/ip-version.js';
import { splitHostPort } from '../native/host-port.js';

/** `host`: the value of the header, with or without a port. `names`: in lower case. */
export function isOwnHost(host = '', names: readonly string[] = []): boolean {
  const parts = splitHostPort(/:\d{1,5}$/.test(host) ? host : `${host}:80`);
  if (!parts) return false;
  if (parts.isBracketed) return ipVersion(parts.host) === 6;
  const name = parts.host.toLowerCase().replace(/\.$/, '');
  return ipVersion(parts.host) === 4 || name === 'localhost' || names.includes(name);
}
