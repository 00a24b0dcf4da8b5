// The suites of a page: noble's. Everything else of the same names lies in fastest.ts, sodium.ts, openssl.ts and ipsec-mb.ts.

import { ProtocolError } from '../errors.js';
import type { Suite } from '../suite.js';
import { nobleSuite } from './noble.js';

export type { SuiteChoice } from './fastest.js';

/** noble's. */
export async function fastestSuite(): Promise<Suite> {
  return nobleSuite;
}

/** noble's, by its name or as `fastest`. Throws `ERR_SUITE` for any other. */
export async function suiteNamed(name: string): Promise<Suite> {
  if (name === 'fastest' || name === nobleSuite.name) return nobleSuite;
  throw new ProtocolError('ERR_SUITE', `there is no suite ${name} in a page: take ${nobleSuite.name}`);
}

/** Nothing: no native suite loads in a page. */
const none = async (): Promise<Suite | undefined> => undefined;

export { none as loadIpsecMbSuite, none as loadOpensslSuite, none as loadSodiumSuite };
