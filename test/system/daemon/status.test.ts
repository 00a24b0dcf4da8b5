// `wireonce status` and `wireonce ping` beside running daemons: what they know, and whom they wait for.

import { spawn, spawnSync } from 'node:child_process';
import { afterEach, expect, test } from 'vitest';
import { run, until } from '../support/run.js';
import { atEnd, closeMachines, INNER, Machine, PROGRAM, startPair } from './support/machine.js';

afterEach(closeMachines);

const status = (...args: string[]) =>
  spawnSync(process.execPath, [PROGRAM, 'status', ...args], { encoding: 'utf8' });

/** Sends all the time, as whoever finds out that his tunnel does not work. */
function keepCalling({ namespace }: Machine): void {
  const ping = spawn('ip', ['netns', 'exec', namespace, 'ping', '-q', '-i', '0.5', INNER.b4], {
    stdio: 'ignore',
  });
  atEnd(() => ping.kill());
}

test('a preshared key that is another one shows on both sides, before anything else', async () => {
  const { a, b } = await startPair();
  const psk = (await run('wg', ['genpsk'])).trim();
  await a.wg('set', a.name, 'peer', b.publicKey, 'preshared-key', a.file('psk', psk));
  keepCalling(a);
  const hint = (machine: Machine, words: string) =>
    until(words, async () => (await machine.status()).hints.some(each => each.includes(words)), 60_000);
  await hint(a, 'an answer did not authenticate: most likely its PresharedKey is another');
  await hint(b, 'calls us, and completes no handshake: most likely its PresharedKey is another');
  const shown = status(a.name);
  expect(shown.stdout.indexOf('PresharedKey')).toBeLessThan(shown.stdout.indexOf('protection:'));
  // Mended, nothing is left to look at of it.
  await b.wg('set', b.name, 'peer', a.publicKey, 'preshared-key', b.file('psk', psk));
  await until('a session', async () => (await a.status()).peers[0].hasSession, 60_000);
  for (const machine of [a, b]) expect((await machine.status()).hints.join()).not.toContain('PresharedKey');
});

test('a stopped daemon keeps nobody waiting, and the other is shown', async () => {
  const [a, b] = [await Machine.start(), await Machine.start()];
  process.kill(a.pid, 'SIGSTOP');
  atEnd(() => process.kill(a.pid, 'SIGCONT'));
  const shown = status();
  process.kill(a.pid, 'SIGCONT');
  expect(shown.status).toBe(1);
  expect(shown.stderr).toContain(
    `${a.name}: its daemon is there and says nothing: it is stopped, or very busy`,
  );
  expect(shown.stdout).toContain(`interface: ${b.name}\n`);
});

test('ping with the file of a running tunnel leaves it alone', async () => {
  const { a, b, outer, ports } = await startPair();
  expect(await a.ping(INNER.b4)).toBe(3);
  const peer = `[Peer]\nPublicKey = ${b.publicKey}\nEndpoint = ${outer.b}:${ports.b}\nAllowedIPs = ${INNER.b4}/32\n`;
  const conf = a.file(
    'wg.conf',
    `[Interface]\nPrivateKey = ${a.privateKey}\nAddress = ${INNER.a4}/24\n${peer}`,
  );
  const ping = (...args: string[]) =>
    a.exec('sh', '-c', '"$@" 2>&1 || true', 'sh', process.execPath, PROGRAM, 'ping', ...args, conf, INNER.b4);
  const refused = await ping('-c', '1');
  expect(refused).toContain(`${a.name} runs on this machine with this key`);
  expect(refused).toContain('--force');
  expect(await b.show('endpoints', a.publicKey), 'the peer has not moved').toBe(`${outer.a}:${ports.a}`);
  // The control: this is what would have been.
  expect(await ping('-c', '1', '--force')).toContain('1 received');
  expect(await b.show('endpoints', a.publicKey)).not.toBe(`${outer.a}:${ports.a}`);
});
