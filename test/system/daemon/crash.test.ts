// kill -9 of one side, and a start with the same configuration: traffic comes back by itself, though the other side
// still believes in the session that is gone.

import { afterEach, expect, test } from 'vitest';
import { until } from '../support/run.js';
import { closeMachines, endpoint, INNER, type Kind, type Pair, startPair } from './support/machine.js';

afterEach(closeMachines);

const THEIRS: readonly Kind[] = ['wireonce', 'wireguard-go'];
/** What a peer waits at most before it finds out that nobody answers: 15 s (and what a busy machine adds). */
const RECOVERY_MS = 40_000;

/** Kills, starts again and configures. */
async function crash(pair: Pair, side: 'a' | 'b'): Promise<void> {
  const other = side === 'a' ? 'b' : 'a';
  const [machine, peer] = [pair[side], pair[other]];
  await machine.end('SIGKILL');
  await until('the link to go', async () => !(await machine.ip('-br', 'link')).includes(machine.name));
  await machine.launch();
  await machine.wg('set', machine.name, 'listen-port', `${pair.ports[side]}`);
  const inner = [INNER[`${other}4`], INNER[`${other}6`]];
  const settings = ['allowed-ips', inner.join(), 'endpoint', endpoint(pair.outer[other], pair.ports[other])];
  await machine.wg('set', machine.name, 'peer', peer.publicKey, ...settings);
  await machine.up(`${INNER[`${side}4`]}/24`, `${INNER[`${side}6`]}/64`);
}

test.each(THEIRS)(
  'after a crash of either side, beside %s, the one that comes back is heard at once',
  async kind => {
    const pair = await startPair({ b: { kind } });
    expect(await pair.a.ping(INNER.b4)).toBe(3);
    await crash(pair, 'a');
    expect(await pair.a.ping(INNER.b4)).toBe(3);
    await crash(pair, 'b');
    expect(await pair.b.ping(INNER.a4)).toBe(3);
  },
);

test('the one that did not crash finds out that nobody answers, and begins anew', async () => {
  const pair = await startPair();
  expect(await pair.a.ping(INNER.b4)).toBe(3);
  const before = (await pair.a.status()).handshakes.completed;
  await crash(pair, 'b');
  await until(
    'traffic to resume',
    async () => (await pair.a.ping(INNER.b4, { count: 1, waitS: 1 })) === 1,
    RECOVERY_MS,
  );
  expect((await pair.a.status()).handshakes.completed).toBeGreaterThan(before);
});
