// Strangers whom nobody knows, each with a key of his own and an initiation that is true, flood a real gateway.
// How fast it goes on is for `npm run bench:doors`.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { makeInitiations } from '../../../bench/tunnel/flood/initiations.js';
import { INITIATION_BYTES } from '../../../protocol/constants.js';
import { fastestSuite } from '../../../protocol/suites/fastest.js';
import { ASKS_AT_ONCE, ASKS_PER_SECOND, MAX_PROVISIONAL } from '../../../sessions/admissions.js';
import { decodeKey } from '../../../tunnel/keys.js';
import { sleep, until } from '../support/run.js';
import { Gateway } from './support/gateway.js';
import { atEnd, closeMachines, INNER } from './support/machine.js';

afterEach(closeMachines);

const SENDER = fileURLToPath(new URL('./support/datagrams.mjs', import.meta.url));
/** More than may be asked about at once. */
const STRANGERS = 6_000;
const TICK_MS = 20;
const A_TICK = 60;
const MIB = 1024 * 1024;

/** Feeds them to a sender in the namespace of the clients, some thousand a second, and resolves when all have left. */
async function flood({ configured, outer, port }: Gateway, messages: readonly Uint8Array[]): Promise<void> {
  const args = [SENDER, outer.b, `${port}`, `${INITIATION_BYTES}`];
  const sender = spawn('ip', ['netns', 'exec', configured.namespace, process.execPath, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  atEnd(() => kill(sender));
  for (let at = 0; at < messages.length; at += A_TICK) {
    sender.stdin.write(Buffer.concat(messages.slice(at, at + A_TICK)));
    await sleep(TICK_MS);
  }
  sender.stdin.end();
  await once(sender.stdout, 'data');
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await once(child, 'exit');
}

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

test('takes nothing from those who are there, and a bounded part of the store, of memory and of the log', async () => {
  const start = performance.now();
  const gateway = await Gateway.start({ settings: ['MaxPeers = 2'] });
  const { machine, configured } = gateway;
  const client = await gateway.client({ kind: 'wireguard-go' });
  expect(await client.ping({ waitS: 20 })).toBe(3);
  const messages = makeInitiations(
    'strangers',
    await fastestSuite(),
    decodeKey(machine.publicKey),
    STRANGERS,
  );
  const memory = residentBytes(machine.pid);
  const lines = machine.log().split('\n').length;

  const flooding = flood(gateway, messages).then(() => true);
  let most = 0;
  while (!(await Promise.race([flooding, sleep(TICK_MS)]))) {
    const { gateway: counts } = await machine.status();
    most = Math.max(most, counts?.provisional ?? 0);
    expect(await client.ping({ count: 1 })).toBe(1);
    expect(await configured.ping(INNER.b4, { count: 1 })).toBe(1);
  }

  const { gateway: counts } = await machine.status();
  // It was a flood of strangers.
  expect(counts?.lookups).toBeGreaterThan(100);
  const seconds = (performance.now() - start) / 1_000;
  expect(counts?.lookups).toBeLessThanOrEqual(ASKS_AT_ONCE + seconds * ASKS_PER_SECOND);
  expect(most).toBeLessThanOrEqual(MAX_PROVISIONAL);
  expect(counts).toMatchObject({ known: 1, present: 1, admitted: 1 });
  expect(residentBytes(machine.pid) - memory).toBeLessThan(96 * MIB);
  expect(machine.log().split('\n').length - lines).toBeLessThan(200);

  // Whoever was only answered has taken no place, though there is but one left.
  const late = await gateway.client({ kind: 'wireguard-go' });
  await until('a newcomer to be admitted', async () => (await late.ping({ count: 1, waitS: 3 })) === 1);
  await until('all the strangers to be forgotten', async () => {
    return (await machine.status()).gateway?.provisional === 0;
  });
});
