// A daemon whose machine is cloned comes to a key and an address of its own, and so into a network whose gateway has only the
// secret in common with it; a reboot keeps them, another generation does not. The gateway here is told of each clone by hand,
// with what `wireonce enrol derive` prints.
// Read on: docs/configuration.md "Enrolment"; test/tunnel/linux/enrolment.test.ts (a fake kernel, and what fails).

import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { EnrolmentStatus } from '../../../tunnel/daemon/status.js';
import { scanMemory } from '../../support/memory-scan.js';
import { run, until } from '../support/run.js';
import { callHook, generationId } from './support/hook.js';
import { closeMachines, folder, type Machine, PROGRAM, startPair } from './support/machine.js';

afterEach(closeMachines);

const PREFIX = 'fd5e:7c1a:9b2d::';
const GATEWAY = `${PREFIX}1`;
const WEBSOCKET_PORT = 8_443;

interface World {
  readonly a: Machine;
  readonly b: Machine;
  readonly home: string;
  /** Another generation from now on. */
  fork(): void;
}

/**
 * A, that enrols by `[Enrolment]` as given, or does not; and B, its gateway. `policy`: for controls. `admits`: B has the
 * secret, and is told of nobody.
 */
async function world(
  section: (home: string) => string,
  { policy = 'enrol', ownKey = false, hook = '', admits = false, by = 'udp' } = {},
): Promise<World> {
  const home = folder();
  const file = (name: string, text: string | Uint8Array, mode = 0o600) => {
    writeFileSync(join(home, `${name}.new`), text, { mode });
    renameSync(join(home, `${name}.new`), join(home, name));
  };
  let number = 0;
  const fork = () => file('generation', Buffer.alloc(16, ++number));
  fork();
  file('secret', await run('node', [PROGRAM, 'enrol', 'secret']));
  const source = hook || `GenerationFile = ${home}/generation\nGenerationFileTiming = immediate`;
  const enrolment =
    policy === 'enrol' ? `[Enrolment]\nIdentityFile = ${home}/identity\n${section(home)}` : '';
  const conf = `[Interface]\nForkPolicy = ${policy}\n${source}\n${enrolment}\n`;
  file('conf', conf);
  const store = ['--enrolment-store', join(home, 'peers'), '--enrolment-max-peers', '10'];
  const shared = ['--enrolment-secret-file', join(home, 'secret'), '--enrolment-prefix', `${PREFIX}/64`];
  const { a, b, outer } = await startPair({
    a: { flags: ['--config', join(home, 'conf')], enrols: !ownKey },
    b: { flags: [...(admits ? [...shared, ...store] : []), '--listen-websocket', `${WEBSOCKET_PORT}`] },
  });
  await b.ip('address', 'add', `${GATEWAY}/64`, 'dev', b.name, 'nodad');
  if (by === 'websocket') {
    file(
      'conf',
      `${conf}[Peer]\nPublicKey = ${b.publicKey}\nEndpoint = ws://${outer.b}:${WEBSOCKET_PORT}/\n`,
    );
    await a.end('SIGTERM');
    await a.launch();
    await a.up();
  }
  await a.wg('set', a.name, 'peer', b.publicKey, 'allowed-ips', `${PREFIX}/64`);
  return { a, b, home, fork };
}

const derived = (home: string) => `SecretFile = ${home}/secret\nPrefix = ${PREFIX}/64`;

async function enrolled(a: Machine, epoch: number): Promise<EnrolmentStatus & { publicKey: string }> {
  return until(`the clone of epoch ${epoch} to be enrolled`, async () => {
    const { enrolment, publicKey, epoch: now } = await a.status();
    if (now !== epoch || enrolment?.stage !== 'enrolled' || publicKey === null) return undefined;
    return { ...enrolment, publicKey };
  });
}

/** Tells the gateway of a clone, which has this public key. */
async function admit(
  { b, home }: World,
  publicKey: string,
): Promise<{ address: string; presharedKey: string }> {
  const keys = ['--gateway', b.publicKey, '--public-key', publicKey, '--json'];
  const given = ['--secret-file', join(home, 'secret'), '--prefix', `${PREFIX}/64`, ...keys];
  const told = JSON.parse(await run('node', [PROGRAM, 'enrol', 'derive', ...given])) as {
    address: string;
    presharedKey: string;
  };
  const psk = b.file('psk', told.presharedKey);
  await b.wg('set', b.name, 'peer', publicKey, 'preshared-key', psk, 'allowed-ips', `${told.address}/128`);
  return told;
}

const reaches = (a: Machine) =>
  until('the gateway to be reached', async () => (await a.ping(GATEWAY, { count: 1, waitS: 2 })) === 1);

/** Those of global scope. */
async function addresses(a: Machine): Promise<string[]> {
  const [link] = JSON.parse(await a.ip('-j', 'address', 'show', 'dev', a.name)) as [
    { addr_info: { scope: string; local: string; prefixlen: number }[] },
  ];
  return link.addr_info
    .filter(({ scope }) => scope === 'global')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}

describe('derived from a secret', () => {
  test('a clone has a key and an address of its own, none of its parent’s, and its routes; a reboot keeps them', async () => {
    const net = await world(derived);
    const { a, b, fork } = net;
    const parent = await enrolled(a, 1);
    expect((await admit(net, parent.publicKey)).address).toBe(parent.addresses[0].replace('/64', ''));
    await reaches(a);
    await a.ip('-6', 'route', 'add', 'fd77:aaaa::/48', 'dev', a.name);

    fork();
    const clone = await enrolled(a, 2);
    expect(clone.publicKey).not.toBe(parent.publicKey);
    expect(clone.parent).toBe(parent.publicKey);
    const { address } = await admit(net, clone.publicKey);
    expect([clone.addresses, await addresses(a)]).toEqual([[`${address}/64`], [`${address}/64`]]);
    const routes = await a.ip('-6', 'route');
    expect(routes).toContain('fd77:aaaa::/48');
    expect(routes).toContain(`${PREFIX}/64`);
    await reaches(a);
    await a.ip('link', 'set', a.name, 'down');
    await a.ip('link', 'set', a.name, 'up');
    await reaches(a);
    expect(await addresses(a)).toEqual([`${address}/64`]);
    // Its own address is what the gateway heard it under.
    expect(Number((await b.show('transfer', clone.publicKey)).split('\t')[0])).toBeGreaterThan(0);

    await a.end('SIGTERM');
    await a.launch();
    const rebooted = await enrolled(a, 1);
    expect(rebooted).toMatchObject({
      publicKey: clone.publicKey,
      addresses: clone.addresses,
      parent: parent.publicKey,
      since: clone.since,
    });
    await a.end('SIGTERM');
    fork();
    await a.launch();
    expect((await enrolled(a, 1)).publicKey).not.toBe(clone.publicKey);
    expect(a.log()).toContain('it belongs to another generation');
  });

  test('a damaged identity is not taken, and the log says so', async () => {
    const { a, home } = await world(derived);
    const { publicKey } = await enrolled(a, 1);
    await a.end('SIGTERM');
    writeFileSync(join(home, 'identity'), 'no identity');
    await a.launch();
    expect((await enrolled(a, 1)).publicKey).not.toBe(publicKey);
    expect(a.log()).toContain('it is damaged');
  });

  test('wg-quick’s way to set a file without a key leaves the identity, and its peers their preshared keys', async () => {
    const net = await world(derived);
    const { a, b } = net;
    const { publicKey } = await enrolled(a, 1);
    const endpoint = await a.show('endpoints', b.publicKey);
    const peer = `[Peer]\nPublicKey = ${b.publicKey}\nEndpoint = ${endpoint}\nAllowedIPs = ${PREFIX}/64\n`;
    for (const verb of ['setconf', 'syncconf', 'addconf']) {
      await a.wg(verb, a.name, a.file('conf', `[Interface]\n${verb === 'addconf' ? '' : peer}`));
      const { presharedKey } = await admit(net, publicKey);
      expect((await a.status()).publicKey).toBe(publicKey);
      expect((await a.show('preshared-keys', b.publicKey)).trim()).toBe(presharedKey);
    }
    await reaches(a);
  });

  test.each([
    ['enrol', 0],
    // The control.
    ['wipe', 1],
  ])('by policy %s the parent’s private key lies in the clone’s memory %i times', async (policy, times) => {
    const { a, fork } = await world(derived, { policy, ownKey: policy === 'wipe' });
    if (policy === 'enrol') await enrolled(a, 1);
    const privateKey = async () => Buffer.from(await a.wg('show', a.name, 'private-key'), 'base64');
    const parent = await privateKey();
    fork();
    await until('the fork to be seen', async () => (await a.status()).epoch === 2);
    if (policy === 'enrol') await enrolled(a, 2);
    const copies = (key: Buffer) => scanMemory(a.pid, [key]).map(({ form }) => form);
    expect(copies(parent)).toEqual(times === 0 ? [] : ['raw']);
    // The one that is in use lies in the slab alone.
    expect(copies(await privateKey())).toEqual(['raw']);
  });
});

describe.each(['udp', 'websocket'])('at a gateway that has the secret, by %s', by => {
  test('a clone of a clone is a peer with its first call, and nothing more comes of its parent', async () => {
    const { a, b, fork } = await world(derived, { admits: true, by });
    let parent = await enrolled(a, 1);
    await reaches(a);
    for (const epoch of [2, 3]) {
      const before = await b.show('transfer', parent.publicKey);
      fork();
      const clone = await enrolled(a, epoch);
      await reaches(a);
      expect(await b.show('allowed-ips', clone.publicKey)).toBe(clone.addresses[0].replace('/64', '/128'));
      expect(await b.show('transfer', parent.publicKey)).toBe(before);
      // Nothing of what it says is lost on its way out, as that of somebody who may not speak yet.
      expect((await a.status()).transportDrops.held).toBe(0);
      parent = clone;
    }
    expect((await b.status()).gateway).toMatchObject({ known: 3, present: 3, admitted: 3 });
  });
});

describe('told by a program', () => {
  const PROGRAM_TEXT = (home: string, peer: string) => `#!/bin/sh
read -r key
[ "$key" = "$WIREONCE_PUBLIC_KEY" ] || exit 9
echo "$WIREONCE_INTERFACE $WIREONCE_EPOCH $key $(env | grep -c WIREONCE_)" >>${home}/asked
case $(cat ${home}/mode) in
  fail) echo 'no place is left' >&2; exit 3 ;;
  nonsense) echo 'PrivateKey = maybe' ;;
  hang) sleep 1000 & echo $! >${home}/sleeper; wait ;;
  good) printf '[Interface]\\nAddress = ${PREFIX}77/64\\n[Peer]\\nPublicKey = ${peer}\\nPresharedKey = %s\\n' "$(cat ${home}/secret)" ;;
esac
`;

  test('a clone is silent while that fails, and says why; it takes what is good, and no answer for an older key', async () => {
    const net = await world(home => `Enrol = exec:${home}/enroller`);
    const { a, b, home, fork } = net;
    const mode = (name: string) => writeFileSync(join(home, 'mode'), name);
    const waitsFor = (words: RegExp) =>
      until(words.source, async () => words.test((await a.status()).enrolment?.waitsFor ?? ''));
    await waitsFor(/enroller, which .*ENOENT/);
    mode('fail');
    writeFileSync(join(home, 'enroller'), PROGRAM_TEXT(home, b.publicKey), { mode: 0o700 });
    await waitsFor(/ended with status 3: no place is left/);
    mode('nonsense');
    await waitsFor(/printed no identity: .*PrivateKey/);
    const { handshakes, publicKey, held } = await a.status();
    expect([handshakes.completed, held]).toEqual([0, true]);
    expect((await run('cat', [join(home, 'asked')])).split('\n')[0]).toBe(`${a.name} 1 ${publicKey} 3`);
    mode('hang');
    const sleeper = await until('the program to hang', async () =>
      run('cat', [join(home, 'sleeper')]).catch(() => ''),
    );
    mode('good');
    fork();
    await until('what it has started to be ended', async () =>
      run('test', ['-d', `/proc/${sleeper.trim()}`]).then(
        () => false,
        () => true,
      ),
    );
    const clone = await enrolled(a, 2);
    expect(clone.addresses).toEqual([`${PREFIX}77/64`]);
    expect(await addresses(a)).toEqual([`${PREFIX}77/64`]);
    const psk = b.file('psk', await run('cat', [join(home, 'secret')]));
    await b.wg(
      'set',
      b.name,
      'peer',
      clone.publicKey,
      'preshared-key',
      psk,
      'allowed-ips',
      `${PREFIX}77/128`,
    );
    await reaches(a);
    // A reboot asks nobody.
    mode('fail');
    await a.end('SIGTERM');
    await a.launch();
    expect(await enrolled(a, 1)).toMatchObject({ publicKey: clone.publicKey, addresses: clone.addresses });
    expect((await a.show('preshared-keys', b.publicKey)).trim()).toBe(
      (await run('cat', [join(home, 'secret')])).trim(),
    );
  });
});

describe('told by the hook', () => {
  const start = async () => {
    const socket = join(folder(), 'hook');
    const net = await world(() => 'Enrol = hook', { hook: `Hook = ${socket}` });
    await until(
      'the clone to wait',
      async () => (await net.a.status()).enrolment?.waitsFor === "the hook's call",
    );
    return { ...net, socket };
  };

  test('a call brings address and peers, and its answer names the key that was drawn', async () => {
    const { a, b, socket } = await start();
    const presharedKey = (await run('wg', ['genpsk'])).trim();
    const peers = [{ publicKey: b.publicKey, presharedKey }];
    const call = { vmGenId: generationId(1), identity: { address: `${PREFIX}5/64`, peers } };
    const { status, body } = await callHook(socket, call);
    const { publicKey, addresses: own } = await enrolled(a, 2);
    const named = { epoch: 2, parted: true, publicKey, addresses: own };
    expect([status, body]).toMatchObject([200, named]);
    expect(await addresses(a)).toEqual([`${PREFIX}5/64`]);
    const psk = b.file('psk', presharedKey);
    await b.wg('set', b.name, 'peer', publicKey, 'preshared-key', psk, 'allowed-ips', `${PREFIX}5/128`);
    await reaches(a);
    // Made twice, it says the same.
    expect((await callHook(socket, call)).body).toMatchObject(named);
  });

  test('or the key too; and what is no identity is refused with the field, before anything ends', async () => {
    const { a, socket } = await start();
    const privateKey = (await run('wg', ['genkey'])).trim();
    const identity = { address: `${PREFIX}6/64`, privateKey };
    const { body } = await callHook(socket, { vmGenId: generationId(1), identity });
    const publicKey = (await run('wg', ['pubkey'], privateKey)).trim();
    expect(body).toMatchObject({ epoch: 2, publicKey, addresses: [`${PREFIX}6/64`] });
    expect((await a.status()).publicKey).toBe(publicKey);
    for (const [bad, words] of [
      [{}, 'identity.address'],
      [{ address: 'x' }, 'Address'],
      [{ address: `${PREFIX}6/64\nDNS = 1` }, 'identity.address'],
      [{ address: `${PREFIX}6/64`, peers: [{ publicKey: 'x' }] }, 'PublicKey'],
      [{ address: `${PREFIX}6/64`, colour: 'red' }, 'colour'],
      ['x', 'identity: not an object'],
    ] as const) {
      const refused = await callHook(socket, { vmGenId: generationId(2), identity: bad });
      expect([refused.status, refused.body['error']]).toEqual([400, expect.stringContaining(words)]);
    }
    expect((await a.status()).epoch).toBe(2);
  });

  test('a clone that derives its identity names it too, and is told none', async () => {
    const socket = join(folder(), 'hook');
    const { a } = await world(derived, { hook: `Hook = ${socket}` });
    await enrolled(a, 1);
    const { body } = await callHook(socket, { vmGenId: generationId(1) });
    const { publicKey, addresses: own } = await enrolled(a, 2);
    expect(body).toMatchObject({ epoch: 2, parted: true, publicKey, addresses: own });
    const refused = await callHook(socket, {
      vmGenId: generationId(2),
      identity: { address: `${PREFIX}6/64` },
    });
    expect([refused.status, refused.body['error']]).toEqual([400, expect.stringContaining('told none')]);
  });
});
