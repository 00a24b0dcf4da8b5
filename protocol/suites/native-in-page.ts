// What a bundler takes for a page in place of sodium.ts, openssl.ts and ipsec-mb.ts, by `browser` in package.json: a page can
// load none of them, and would find out at run time, with all their code.
// Read on: docs/packaging.md.

import type { Suite } from '../suite.js';

const none = async (): Promise<Suite | undefined> => undefined;

export { none as loadIpsecMbSuite, none as loadOpensslSuite, none as loadSodiumSuite };
