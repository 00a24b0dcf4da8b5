import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Suite, TAG_BYTES } from '../../protocol/suite.js';
import { type Koffi, loadKoffi } from '../../native/koffi.js';
import { countInMemory } from '../support/process-memory.js';
import { counting, nativeMustLoad, nativeSuites } from '../support/suites.js';

const suite = nativeSuites.find(({ name }) => name === 'openssl') as Suite;

type Native = (...values: unknown[]) => number;

/** Loads the suite anew, on a library in which some functions are replaced. */
async function loadChanged(change: Record<string, (real: Native) => Native>): Promise<Suite | undefined> {
  vi.doMock('../../native/koffi.js', () => {
    const { koffi } = loadKoffi() as { koffi: Koffi };
    const library = koffi.load(null);
    const load = () => ({
      func(name: string, result: string, parameters: readonly string[]) {
        const real = library.func(name, result, parameters);
        return change[name]?.(real) ?? real;
      },
    });
    const address = (bytes: Uint8Array) => koffi.address(bytes);
    return { loadKoffi: () => ({ koffi: { load, address } }) };
  });
  vi.resetModules();
  const { loadOpensslSuite } = await import('../../protocol/suites/openssl.js');
  return loadOpensslSuite();
}

afterEach(() => {
  vi.doUnmock('../../native/koffi.js');
  vi.resetModules();
});

const always = (answer: number) => () => () => answer;
const pretend =
  (answer: number): ((real: Native) => Native) =>
  real =>
  (...values) => {
    real(...values);
    return answer;
  };

describe.runIf(nativeMustLoad)('the openssl suite', () => {
  it('is offered where the library is as it should be', async () => {
    expect((await loadChanged({}))?.name).toBe('openssl');
  });

  it('is not offered where koffi is missing', async () => {
    vi.doMock('../../native/koffi.js', () => ({ loadKoffi: () => ({ reason: 'not installed' }) }));
    const { loadOpensslSuite } = await import('../../protocol/suites/openssl.js');
    expect(await loadOpensslSuite()).toBeUndefined();
  });

  it.each([
    ['that writes no tag', { EVP_CIPHER_CTX_ctrl: always(1) }],
    ['that fails to encrypt', { EVP_EncryptUpdate: always(0) }],
    ['that answers -1, which is no success', { EVP_CIPHER_CTX_ctrl: pretend(-1) }],
    ['that accepts a wrong tag', { EVP_DecryptFinal_ex: pretend(1) }],
    ['that refuses a right tag', { EVP_DecryptFinal_ex: pretend(0) }],
    ['that agrees on a low-order point', { EVP_PKEY_derive: pretend(1) }],
    ['that does not hash', { EVP_DigestUpdate: always(1) }],
    ['that does not know ChaCha20-Poly1305', { EVP_CIPHER_fetch: always(0) }],
    [
      'whose MACs are not keyed',
      { EVP_MAC_init: (real: Native) => (context: unknown) => real(context, 0, 0, 0) },
    ],
    [
      'that lacks a function',
      {
        EVP_MAC_fetch: () => {
          throw new Error('Cannot find function');
        },
      },
    ],
  ])('is not offered on a library %s', async (_, change) => {
    expect(await loadChanged(change)).toBeUndefined();
  });

  it('throws when sealing fails, and leaves neither plaintext nor half a message', async () => {
    let isBroken = false;
    const changed = (await loadChanged({
      EVP_EncryptFinal_ex:
        real =>
        (...values) =>
          isBroken ? 0 : real(...values),
    })) as Suite;
    const buffer = new Uint8Array(80).fill(0x5a);
    isBroken = true;
    expect(() => changed.seal(counting(32), 0, 0, buffer, 8, 40)).toThrow(
      expect.objectContaining({ code: 'ERR_OPENSSL' }),
    );
    expect(buffer.subarray(8, 8 + 40 + TAG_BYTES).every(byte => byte === 0)).toBe(true);
    expect(buffer.subarray(0, 8).every(byte => byte === 0x5a)).toBe(true);
  });

  it('leaves no note of a refusal in the error queue that it shares with Node', () => {
    const { koffi } = loadKoffi() as { koffi: Koffi };
    const peek = koffi.load(null).func('ERR_peek_error', 'ulong', []);
    const buffer = new Uint8Array(32);
    expect(suite.open(counting(32), 0, 0, buffer, 0, 32)).toBe(false);
    expect(suite.sharedSecret(counting(32), new Uint8Array(32), new Uint8Array(32))).toBe(false);
    expect(peek()).toBe(0);
    // The control: there are refusals that do leave one.
    const fetch = koffi.load(null).func('EVP_CIPHER_fetch', 'uintptr_t', ['uintptr_t', 'str', 'uintptr_t']);
    expect(fetch(0, 'no such cipher', 0)).toBe(0);
    expect(peek()).not.toBe(0);
    koffi.load(null).func('ERR_clear_error', 'void', [])();
  });

  it('forgets on demand: no copy of a key stays in the memory of the process', () => {
    // Written byte by byte: any other way would leave copies on its way.
    const keyOf = (seed: number) => {
      const key = new Uint8Array(new SharedArrayBuffer(32));
      for (let i = 0; i < key.length; i++) key[i] = (167 * i + 13 * i * i + 91 * seed + 29) & 0xff;
      return key;
    };
    const keys = {
      sealing: keyOf(1),
      opening: keyOf(2),
      mac: keyOf(3),
      hmac: keyOf(4),
      agreement: keyOf(5),
    };
    const counts = () => Object.values(keys).map(countInMemory);
    expect(counts()).toEqual([0, 0, 0, 0, 0]);
    const buffer = new Uint8Array(1424 + TAG_BYTES);
    suite.seal(keys.sealing, 0, 0, buffer, 0, 1424);
    suite.open(keys.opening, 0, 0, buffer, 0, 1440);
    suite.mac(new Uint8Array(16), keys.mac, buffer);
    suite.hmac(new Uint8Array(32), keys.hmac, buffer);
    suite.sharedSecret(keys.agreement, counting(32), new Uint8Array(32));
    // The control: the contexts do hold the keys until they are told; the key object of X25519 is gone already.
    const kept = counts();
    expect(kept.slice(0, 4).every(count => count > 0)).toBe(true);
    suite.forget();
    expect(counts()).toEqual([0, 0, 0, 0, 0]);
  });

  it('goes on after it has forgotten', () => {
    suite.forget();
    suite.forget();
    const buffer = new Uint8Array(32 + TAG_BYTES);
    suite.seal(counting(32), 1, 0, buffer, 0, 32);
    suite.forget();
    expect(suite.open(counting(32), 1, 0, buffer, 0, buffer.length)).toBe(true);
    const [first, second] = [new Uint8Array(32), new Uint8Array(32)];
    suite.hmac(first, counting(32), counting(5));
    suite.forget();
    suite.hmac(second, counting(32), counting(5));
    expect(second).toEqual(first);
  });

  it('refuses a buffer that lost its memory, and finds one in other memory', () => {
    const buffer = new Uint8Array(128);
    suite.seal(counting(32), 0, 0, buffer, 0, 64);
    const sealed = buffer.slice(0, 80);
    const moved = new Uint8Array(structuredClone(buffer.buffer, { transfer: [buffer.buffer] }));
    expect(() => suite.seal(counting(32), 0, 0, buffer, 0, 64)).toThrow(
      expect.objectContaining({ code: 'ERR_LENGTH' }),
    );
    expect(suite.open(counting(32), 0, 0, moved, 0, 80)).toBe(true);
    expect(moved.subarray(0, 64).every(byte => byte === 0)).toBe(true);
    suite.seal(counting(32), 0, 0, moved, 0, 64);
    expect(moved.subarray(0, 80)).toEqual(sealed);
  });
});
