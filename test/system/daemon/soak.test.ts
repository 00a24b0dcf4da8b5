// A long mixed load: streams, pings, clients of the UAPI, changes, forks. Memory stays level, and no descriptor is lost.
// Half a minute; `WIREONCE_SOAK_SECONDS=600 npm run test:system` makes it ten.

import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { socketPath } from '../../../tunnel/daemon/uapi/index.js';
import { sleep, until } from '../support/run.js';
import { announceFork } from './support/hook.js';
import { iperf } from './support/iperf.js';
import { descriptorsOf, growth, memoryOf, MIB, sample, SLACK_BYTES } from './support/levels.js';
import { atEnd, closeMachines, folder, INNER, type Machine, startPair } from './support/machine.js';

afterEach(closeMachines);

const SOAK_S = Number(process.env['WIREONCE_SOAK_SECONDS'] ?? 30);

/** Does something again and again until the time is over. Returns how often. */
async function repeat(until: number, everyMs: number, action: (time: number) => Promise<unknown>) {
  let times = 0;
  while (performance.now() < until) {
    await action(++times);
    await sleep(everyMs);
  }
  return times;
}

/** A client that says half a request, or nonsense, and goes. */
function rudeClient(machine: Machine, text: string): Promise<void> {
  return new Promise(resolve => {
    const socket = connect(socketPath(machine.name), () => {
      socket.write(text, () => socket.destroy());
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
  });
}

test(
  `${SOAK_S} seconds of mixed load: memory is level, no descriptor is lost`,
  async () => {
    const hook = join(folder(), 'hook');
    const pair = await startPair({ a: { flags: ['--hook', hook] } });
    const { a, b } = pair;
    expect(await a.ping(INNER.b4)).toBe(3);
    const descriptors = [a, b].map(machine => descriptorsOf(machine.pid));

    const end = performance.now() + SOAK_S * 1_000;
    const timeoutMs = SOAK_S * 1_000 + 60_000;
    const stranger = Buffer.alloc(32, 3).toString('base64');
    const psk = a.file('psk', Buffer.alloc(32, 5).toString('base64'));
    const counts = { streams: 0, datagrams: 0, forks: 0 };
    const load = Promise.all([
      repeat(end, 0, async time => {
        const back = time % 2 === 0 ? ['-R'] : [];
        await iperf(pair, ['-t', '3', '-b', '60M', '-P', '4', ...back], timeoutMs);
        counts.streams++;
      }),
      repeat(end, 100, async () => (counts.datagrams += await a.ping(INNER.b6, { count: 20, waitS: 1 }))),
      repeat(end, 200, () => a.wg('show', a.name, 'dump')),
      repeat(end, 200, () => b.status()),
      repeat(end, 150, time => {
        const change = time % 2 === 0 ? ['remove'] : ['preshared-key', psk, 'allowed-ips', '10.66.0.0/16'];
        return a.wg('set', a.name, 'peer', stranger, ...change);
      }),
      repeat(end, 50, time =>
        rudeClient(b, ['set=1\nfwm', 'x'.repeat(10_000), '\0\n\n', 'get=1\n'][time % 4]),
      ),
      repeat(end, 4_000, async time => {
        await announceFork(hook, time);
        counts.forks++;
      }),
    ]);
    const memory = await sample(() => memoryOf(a.pid) + memoryOf(b.pid), load);

    expect(growth(memory)).toBeLessThan(SLACK_BYTES);
    // It was a load, and the tunnel carried it.
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(1);
    expect((await a.status()).forks).toBe(counts.forks);
    expect(await a.ping(INNER.b4)).toBe(3);
    for (const [i, machine] of [a, b].entries()) {
      await until(
        'the last client’s descriptor to close',
        () => descriptorsOf(machine.pid) <= descriptors[i],
      );
    }
  },
  SOAK_S * 1_000 + 180_000,
);

test('a program that leaks is found out by its memory, and a lost descriptor by the count (control)', async () => {
  const leaks = `const kept = []; setInterval(() => kept.push(Buffer.alloc(${4 * MIB}, 1)), 40);`;
  const leaky: ChildProcess = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, '-e', leaks]);
  atEnd(() => leaky.kill('SIGKILL'));
  const { pid = 0 } = leaky;
  await until('its first memory', () => memoryOf(pid) > 100 * MIB, 60_000);
  const memory = await sample(() => memoryOf(pid), sleep(6_000));
  expect(growth(memory)).toBeGreaterThan(SLACK_BYTES);

  const { a } = await startPair();
  const before = descriptorsOf(a.pid);
  const kept = connect(socketPath(a.name));
  atEnd(() => kept.destroy());
  await until('one more descriptor', () => descriptorsOf(a.pid) === before + 1);
});
