// `npm run bench:doors`: what strangers do to a daemon's peers and to whoever asks it, by UDP and by a WebSocket.
// Promises: the same junk by both ways, in the same run; what it makes is gone when it ends, however it ends.
// Read on: stranger.ts; ../tunnel/pair.ts; test/system/daemon/strangers.test.ts (what is promised of it).

import { fileURLToPath } from 'node:url';
import { memoryOf } from '../tunnel/accounting.js';
import { fail, findCandidates, requireRoot, tell } from '../tunnel/command.js';
import type { Found } from '../tunnel/implementations/implementation.js';
import { INNER, LISTEN_PORT, Pair } from '../tunnel/pair.js';
import { run, sleep } from '../tunnel/programs.js';
import { OUTER } from '../tunnel/topology.js';
import { Undo } from '../tunnel/undo.js';

const STRANGER = fileURLToPath(new URL('./stranger.js', import.meta.url));
const WEBSOCKET_PORT = 8_443;
const SECONDS = 10;
const PINGS = 40;
const MIB = 2 ** 20;
const PORTS = { udp: LISTEN_PORT, websocket: WEBSOCKET_PORT } as const;

requireRoot(['ip', 'wg', 'ping']);
const undo = new Undo();
const { candidates, skipped } = await findCandidates(['wireonce'], false);
if (candidates.length === 0) fail(skipped.join());
const found = withWebSockets(candidates[0].found);

process.stdout.write('flood of     by         messages/s  pings lost  wg show, slowest  memory on top\n');
let index = 0;
const FLOODS = {
  nothing: ['udp'],
  junk: ['udp', 'websocket'],
  initiations: ['udp', 'websocket'],
  idle: ['websocket'],
  stalled: ['websocket'],
} as const;
for (const [kind, ways] of Object.entries(FLOODS)) {
  for (const way of ways) {
    tell(`${kind} by ${way}`);
    process.stdout.write(`${await measure(kind, way)}\n`);
  }
}
undo.run();

/** One pair, one flood from the left to the right, whose peer the left is too. */
async function measure(kind: string, way: keyof typeof PORTS): Promise<string> {
  const pair = await Pair.start(found, `${++index}`, index, undo);
  try {
    const right = pair.pids.slice(1);
    const before = memoryOf(right).rssBytes;
    const name = pair.name('right');
    const key = (await run('wg', ['show', name, 'public-key'])).trim();
    const strangerArgs = [STRANGER, OUTER.right, `${PORTS[way]}`, key, way, kind, `${SECONDS}`];
    const timeoutMs = 4_000 * SECONDS;
    const flood =
      kind === 'nothing'
        ? Promise.resolve('0')
        : run(...pair.topology.inside('left', process.execPath, strangerArgs), { timeoutMs });
    await sleep(1_000);
    const pingArgs = ['-n', '-q', '-i', '0.15', '-W', '1', '-c', `${PINGS}`, INNER.right];
    // Its status is 1 when an answer is missing.
    const pings = run(
      ...pair.topology.inside('left', 'sh', ['-c', 'ping "$@" || true', 'ping', ...pingArgs]),
      {
        timeoutMs,
      },
    );
    let slowestMs = 0;
    let memory = before;
    for (let i = 0; i < 8; i++) {
      const start = performance.now();
      await run('wg', ['show', name], { timeoutMs });
      slowestMs = Math.max(slowestMs, performance.now() - start);
      memory = Math.max(memory, memoryOf(right).rssBytes);
      await sleep(600);
    }
    const received = Number(/(\d+) received/.exec(await pings)?.[1]);
    const rate = Math.round(Number(await flood) / SECONDS);
    return [
      kind.padEnd(12),
      way.padEnd(9),
      `${rate}`.padStart(11),
      `${PINGS - received} of ${PINGS}`.padStart(11),
      `${Math.round(slowestMs)} ms`.padStart(17),
      `${((memory - before) / MIB).toFixed(1)} MiB`.padStart(14),
    ].join(' ');
  } finally {
    await pair.close();
  }
}

function withWebSockets(plain: Found): Found {
  return {
    ...plain,
    daemon: name => {
      const { args, ...daemon } = plain.daemon(name);
      // Before the name, which comes last.
      return { ...daemon, args: args.toSpliced(-1, 0, '--listen-websocket', `${WEBSOCKET_PORT}`) };
    },
  };
}
