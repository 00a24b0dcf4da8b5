import { createRequire } from 'node:module';
import { afterEach, expect, it, vi } from 'vitest';
import { loadSodiumSuite } from '../../protocol/suites/sodium.js';
import { nativeMustLoad } from '../support/suites.js';

type Library = Record<string, (...input: Uint8Array[]) => unknown>;

// The real library, with one function replaced.
function install(change: (real: Library) => Library): void {
  vi.doMock('sodium-native', () => {
    const real = createRequire(import.meta.url)('sodium-native') as Library;
    return { default: { ...real, ...change(real) } };
  });
}

afterEach(() => {
  vi.doUnmock('sodium-native');
  vi.resetModules();
});

it('a library that is missing is not offered', async () => {
  vi.doMock('sodium-native', () => {
    throw new Error('no binary for this platform');
  });
  expect(await loadSodiumSuite()).toBeUndefined();
});

it.runIf(nativeMustLoad)('the library as it is passes the self-test', async () => {
  install(() => ({}));
  expect((await loadSodiumSuite())?.name).toBe('sodium');
});

const chacha = 'crypto_aead_chacha20poly1305_ietf';
const xchacha = 'crypto_aead_xchacha20poly1305_ietf';
const faults: [string, (real: Library) => Library][] = [
  [
    'seals to other bytes',
    real => ({
      [`${chacha}_encrypt`]: (out, ...rest) => flipAfter(out, () => real[`${chacha}_encrypt`](out, ...rest)),
    }),
  ],
  [
    'seals to other bytes with a long nonce',
    real => ({
      [`${xchacha}_encrypt`]: (out, ...rest) =>
        flipAfter(out, () => real[`${xchacha}_encrypt`](out, ...rest)),
    }),
  ],
  [
    'opens to other bytes',
    real => ({
      [`${chacha}_decrypt`]: (out, ...rest) => flipAfter(out, () => real[`${chacha}_decrypt`](out, ...rest)),
    }),
  ],
  ['accepts a wrong tag', real => ({ [`${chacha}_decrypt`]: swallow(real[`${chacha}_decrypt`]) })],
  [
    'accepts a wrong tag with a long nonce',
    real => ({ [`${xchacha}_decrypt`]: swallow(real[`${xchacha}_decrypt`]) }),
  ],
  [
    'refuses a wrong tag in words that we do not know',
    real => ({ [`${chacha}_decrypt`]: reword(real[`${chacha}_decrypt`]) }),
  ],
  [
    'makes other public keys',
    real => ({
      crypto_scalarmult_base: (out, ...rest) =>
        flipAfter(out, () => real['crypto_scalarmult_base'](out, ...rest)),
    }),
  ],
  [
    'makes other shared secrets',
    real => ({
      crypto_scalarmult: (out, ...rest) => flipAfter(out, () => real['crypto_scalarmult'](out, ...rest)),
    }),
  ],
  ['accepts a low-order point', real => ({ crypto_scalarmult: swallow(real['crypto_scalarmult']) })],
  ['lacks a function', () => ({ crypto_scalarmult: undefined as never })],
];

it.runIf(nativeMustLoad).each(faults)('a library that %s is not offered', async (_, change) => {
  install(change);
  expect(await loadSodiumSuite()).toBeUndefined();
});

function flipAfter(out: Uint8Array, act: () => unknown): unknown {
  const answer = act();
  out[0] ^= 1;
  return answer;
}

function swallow(real: Library[string]): Library[string] {
  return (...input) => {
    try {
      return real(...input);
    } catch {
      return 0;
    }
  };
}

function reword(real: Library[string]): Library[string] {
  return (...input) => {
    try {
      return real(...input);
    } catch {
      throw new Error('verification failed');
    }
  };
}
