// What is mutated: the code that keeps a nonce from being used twice, the most dangerous first.
// Promises: in this order it is tried where time is short; files of one folder stand together.
// Read on: run.ts, and docs/architecture.md "Why no nonce is used twice".

export const TARGETS: readonly string[] = [
  'sessions/release.ts',
  'sessions/fork-response.ts',
  'sessions/keypairs.ts',
  'sessions/handshakes.ts',
  'sessions/wishes.ts',
  'sessions/identity.ts',
  'sessions/admission.ts',
  'sessions/admissions.ts',
  'sessions/peers.ts',
  'gateway/admission.ts',
  'gateway/secrets.ts',
  'gateway/store-lookups.ts',
  'protocol/nonce-counter.ts',
  'protocol/replay-filter.ts',
  'protocol/keypair.ts',
  'protocol/handshake.ts',
  'crng/crng.ts',
  'crng/freshness.ts',
  'vmgenid/machine-state.ts',
  'vmgenid/driver.ts',
  'vmgenid/notifier.ts',
];
