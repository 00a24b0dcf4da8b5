// What a daemon's memory holds of its keys when they are of no more use: nothing; and of those in use: one copy, in the slab.
// The whole process is searched while it runs. What noble computes is not held: it leaves copies in the engine's heap, now
// more, now less of them (SECURITY.md).
// Read on: docs/architecture.md "The key slab"; support/recording-program.ts (how the keys are known).

import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type Form, scanMemory } from '../../support/memory-scan.js';
import { run, until } from '../support/run.js';
import { closeMachines, endpoint, folder, INNER, type Machine, startPair } from './support/machine.js';
import { RecordingProgram, type SecretKind } from './support/recording-program.js';

afterEach(closeMachines);

interface Held {
  /** Secrets that only native code computes with, or that noble leaves no copy of. */
  readonly kinds: readonly SecretKind[];
  readonly forms: readonly Form[];
  readonly staticKeys: boolean;
}

const WRITTEN: readonly Form[] = ['raw', 'hex', 'base64'];
const ALL: readonly SecretKind[] = ['cipher key', 'generator key', 'private key', 'shared secret', 'hmac'];
const SUITES: Record<string, Held> = {
  fastest: { kinds: ALL, forms: [...WRITTEN, 'ipad', 'opad'], staticKeys: true },
  openssl: { kinds: ALL, forms: [...WRITTEN, 'ipad', 'opad'], staticKeys: true },
  // Their HMAC is noble's, which leaves its key blocks.
  sodium: { kinds: ALL, forms: WRITTEN, staticKeys: true },
  // And its X25519.
  ...(process.arch === 'x64' && {
    'ipsec-mb': { kinds: ['cipher key', 'generator key', 'hmac'], forms: WRITTEN, staticKeys: false },
  }),
  noble: { kinds: [], forms: WRITTEN, staticKeys: false },
};

/** A generation that is shown by a file. */
class Generation {
  readonly path = join(folder(), 'generation');
  #number = 0;

  constructor() {
    this.next();
  }

  next(): void {
    writeFileSync(`${this.path}.new`, Buffer.alloc(16, ++this.#number));
    renameSync(`${this.path}.new`, this.path);
  }
}

const bytesOf = (base64: string) => Buffer.from(base64.trim(), 'base64');

/**
 * A daemon that has made handshakes in both roles, was shown fifty times, had its keys changed, and was forked when it
 * could reach nobody any more. How often each of its keys lies in its memory, by the form in which it lies there.
 */
async function lived(suite: string, harm: ConstructorParameters<typeof RecordingProgram>[0] = {}) {
  const program = new RecordingProgram(harm);
  const generation = new Generation();
  const { a, b, outer, ports } = await startPair({
    a: {
      flags: [
        '--suite',
        suite,
        '--generation-file',
        generation.path,
        '--generation-file-timing',
        'immediate',
      ],
      program: program.program,
      env: program.env,
    },
    b: { kind: 'wireguard-go' },
  });
  const presharedKey = () => run('wg', ['genpsk']);
  const setPresharedKey = (at: Machine, publicKey: string, key: string) =>
    at.wg('set', at.name, 'peer', publicKey, 'preshared-key', at.file('psk', key));
  const [firstPsk, laterPsk, removedPsk] = [await presharedKey(), await presharedKey(), await presharedKey()];

  await setPresharedKey(a, b.publicKey, firstPsk);
  await setPresharedKey(b, a.publicKey, firstPsk);
  expect(await a.ping(INNER.b4)).toBe(3);
  // The other side forgets, and calls.
  await b.wg('set', b.name, 'peer', a.publicKey, 'remove');
  const toA = ['allowed-ips', `${INNER.a4}/32`, 'endpoint', endpoint(outer.a, ports.a)];
  await b.wg('set', b.name, 'peer', a.publicKey, ...toA);
  await setPresharedKey(b, a.publicKey, firstPsk);
  expect(await b.ping(INNER.a4)).toBe(3);

  const removed = (await run('wg', ['pubkey'], await run('wg', ['genkey']))).trim();
  await setPresharedKey(a, removed, removedPsk);
  for (let i = 0; i < 50; i++) await a.wg('show', a.name, 'dump');
  await a.wg('set', a.name, 'peer', removed, 'remove');
  await setPresharedKey(a, b.publicKey, laterPsk);

  await b.end('SIGTERM');
  const ended = program.secrets();
  generation.next();
  await until('the fork to be seen', async () => (await a.status()).epoch === 2);
  const laterKey = await run('wg', ['genkey']);
  await a.wg('set', a.name, 'private-key', a.file('private', laterKey));

  const named = { firstKey: a.privateKey, laterKey, firstPsk, laterPsk, removedPsk };
  const found = scanMemory(a.pid, [...ended.map(({ bytes }) => bytes), ...Object.values(named).map(bytesOf)]);
  const copies = (secret: Uint8Array, forms: readonly Form[]) => {
    const hex = Buffer.from(secret).toString('hex');
    return found.filter(each => each.secret === hex && forms.includes(each.form)).length;
  };
  const isStatic = (secret: Buffer) => secret.equals(bytesOf(named.firstKey));
  return {
    ended: ended.filter(({ bytes }) => !isStatic(bytes)),
    copies,
    copiesOf: (name: keyof typeof named, forms = WRITTEN) => copies(bytesOf(named[name]), forms),
  };
}

describe.each(Object.keys(SUITES))('with the suite %s', name => {
  test('no key is found that has ended, and those in use are found once', async () => {
    const { kinds, forms, staticKeys } = SUITES[name];
    const { ended, copies, copiesOf } = await lived(name);
    // An ephemeral key for each role; chaining keys, and what is derived from them, many times.
    const count = (kind: SecretKind) => ended.filter(secret => secret.kind === kind).length;
    expect(count('private key')).toBeGreaterThanOrEqual(2);
    expect(count('hmac')).toBeGreaterThanOrEqual(20);
    // Of both threads, and more than one of each: one makes one block.
    expect(count('generator key')).toBeGreaterThanOrEqual(2);
    const left = ended.filter(({ kind, bytes }) => kinds.includes(kind) && copies(bytes, forms) > 0);
    expect(left.map(({ kind, bytes }) => [kind, ...forms.filter(form => copies(bytes, [form]) > 0)])).toEqual(
      [],
    );
    expect([copiesOf('firstPsk'), copiesOf('laterPsk'), copiesOf('removedPsk')]).toEqual([0, 1, 0]);
    if (staticKeys) expect([copiesOf('firstKey', forms), copiesOf('laterKey', forms)]).toEqual([0, 1]);
  });
});

test('control: with secrets where the engine puts them, keys are found that have ended', async () => {
  const { copiesOf } = await lived('fastest', { plainMemory: true });
  expect(copiesOf('firstKey')).toBeGreaterThan(0);
  expect(copiesOf('firstPsk')).toBeGreaterThan(0);
  expect(copiesOf('removedPsk')).toBeGreaterThan(0);
});

test("control: with noble's keystream, keys of the generator are found that were used", async () => {
  const { ended, copies } = await lived('fastest', { nobleKeystream: true });
  const left = ended.filter(({ kind, bytes }) => kind === 'generator key' && copies(bytes, WRITTEN) > 0);
  expect(left.length).toBeGreaterThan(0);
});
