// wireonce/protocol as a bundler takes it for a page, by `browser` in package.json: without the native suites, of which a page
// can load none, and would find out at run time, with all their code.
// Read on: index.ts; docs/packaging.md.

export * from './common.js';
export {
  fastestSuite,
  loadIpsecMbSuite,
  loadOpensslSuite,
  loadSodiumSuite,
  type SuiteChoice,
  suiteNamed,
} from './suites/in-page.js';
