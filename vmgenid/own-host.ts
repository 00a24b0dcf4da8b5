// Is a request of HTTP meant for this server? A page in a browser can have its own name resolve to an address of ours (DNS
// rebinding) and then read what we answer; but the browser goes on saying that name in `Host`.
// Promises: what is reached by an address, by `localhost` or by a name that the operator gave is ours, and nothing else.
// Read on: RFC 9110 section 7.2 (Host), 15.5.20 (421).

import { isIP } from 'node:net';

/** `host`: the value of the header, with or without a port. `names`: in lower case. */
export function isOwnHost(host: string | undefined, names: readonly string[] = []): boolean {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::\d{1,5})?$/.exec(host ?? '');
  if (!match) return false;
  const [, bracketed, bare = ''] = match;
  if (bracketed !== undefined) return isIP(bracketed) === 6;
  const name = bare.toLowerCase().replace(/\.$/, '');
  return isIP(bare) === 4 || name === 'localhost' || names.includes(name);
}
