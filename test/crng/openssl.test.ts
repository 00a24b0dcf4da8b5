import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { afterEach, expect, test, vi } from 'vitest';
import { Crng, kernelEntropy } from 'wireonce/crng';
import { MemorySource, VmGenId } from 'wireonce/vmgenid';
import { hex, machine } from './machine.js';

const zeros = {
  randomBytes: (size: number) => Buffer.alloc(size),
  randomFillSync: (into: Uint8Array) => into.fill(0),
  randomFill: () => {},
  randomInt: () => 0,
  randomUUID: () => '00000000-0000-4000-8000-000000000000' as const,
  generateKeyPairSync: () => ({}),
  generateKeySync: () => ({}),
} as const;

// `crypto.getRandomValues` of node:crypto ends here too.
const webPrototype = Object.getPrototypeOf(crypto.webcrypto) as typeof crypto.webcrypto;
const subtlePrototype = Object.getPrototypeOf(crypto.webcrypto.subtle) as typeof crypto.webcrypto.subtle;

/** Replaces OpenSSL's generator, under every name it has in JavaScript, by one that only gives zeros. */
function zeroOpenSsl(): () => number {
  const spies = Object.entries(zeros).map(([name, fake]) =>
    vi.spyOn(crypto, name as keyof typeof zeros).mockImplementation(fake as never),
  );
  syncBuiltinESMExports();
  const all = [
    ...spies,
    vi.spyOn(webPrototype, 'getRandomValues').mockImplementation(into => (into as Uint8Array).fill(0)),
    vi.spyOn(webPrototype, 'randomUUID').mockImplementation(zeros.randomUUID),
    vi.spyOn(subtlePrototype, 'generateKey').mockImplementation(() => Promise.reject(new Error('zeros'))),
    vi.spyOn(Math, 'random').mockReturnValue(0),
  ];
  return () => all.reduce((calls, spy) => calls + spy.mock.calls.length, 0);
}

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

function drawAll(crng: Crng): string {
  const key = crng.x25519PrivateKey();
  return [
    crng.uuid(),
    hex(crng.bytes(16)),
    hex(crng.bytes(1000)),
    hex(key),
    crng.uint32(),
    crng.below(7),
  ].join();
}

test('with zeros for OpenSSL the output is the same, and OpenSSL was never asked', async () => {
  const life = async () => {
    const { crng, source, clock } = await machine();
    const drawn = [drawAll(crng)];
    clock.ms += 70_000;
    drawn.push(drawAll(crng));
    source.fork(new Uint8Array(16).fill(1));
    drawn.push(drawAll(crng));
    return drawn;
  };
  const honest = await life();
  const calls = zeroOpenSsl();
  expect(await life()).toEqual(honest);
  expect(calls()).toBe(0);
});

test('with zeros for OpenSSL the real kernel still gives a seed', () => {
  const calls = zeroOpenSsl();
  const entropy = kernelEntropy();
  const vmgenid = new VmGenId([new MemorySource()]);
  const [a, b] = [1, 2].map(() => new Crng({ entropy, vmgenid, now: () => performance.now() }));
  expect(a.bytes(32)).not.toEqual(b.bytes(32));
  expect(a.uuid()).not.toBe(b.uuid());
  expect(calls()).toBe(0);
  entropy.close();
});

test('negative control: whoever draws from OpenSSL is seen, under either name', () => {
  const calls = zeroOpenSsl();
  expect(crypto.randomBytes(8)).toEqual(Buffer.alloc(8));
  expect(globalThis.crypto.getRandomValues(new Uint8Array(8))).toEqual(new Uint8Array(8));
  expect(crypto.getRandomValues(new Uint8Array(8))).toEqual(new Uint8Array(8));
  expect(calls()).toBe(3);
});
