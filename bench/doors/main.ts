// `npm run bench:doors`: what strangers do to a gateway's peers and to whoever asks it, by UDP and by a WebSocket.
// Promises: the same junk by both ways, in the same run; what it makes is gone when it ends, however it ends.
// Read on: stranger.ts, ../tunnel/flood/initiations.ts; ../tunnel/pair.ts; test/system/daemon/strangers.test.ts and
// gateway-flood.test.ts (what is promised of it).

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { socketPath, UapiClient } from '../../tunnel/daemon/uapi/index.js';
import { memoryOf } from '../tunnel/accounting.js';
import { fail, findCandidates, requireRoot, tell } from '../tunnel/command.js';
import { underFlood } from '../tunnel/flood/flood.js';
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
/** Initiations, at a steady rate: of static keys that nobody knows, and as many that are refused by their mac1. */
const STEADY = { rate: 5_000, sources: 64, messages: 20_000 } as const;
const SECRET_BYTES = 32;

interface Measured {
  readonly lost: number;
  readonly slowestMs: number;
  readonly memory: number;
}

requireRoot(['ip', 'wg', 'ping']);
const undo = new Undo();
const { candidates, skipped } = await findCandidates(['wireonce'], false);
if (candidates.length === 0) fail(skipped.join());
const home = mkdtempSync(join(tmpdir(), 'wireonce-bench-'));
undo.push(() => rmSync(home, { recursive: true, force: true }));
const found = withDoors(candidates[0].found);

process.stdout.write(
  'flood of     by         messages/s  pings lost  wg show, slowest  memory on top  looked up/s\n',
);
let index = 0;
const FLOODS = {
  nothing: ['udp'],
  junk: ['udp', 'websocket'],
  initiations: ['udp', 'websocket'],
  refused: ['udp'],
  strangers: ['udp'],
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
    const before = memoryOf(pair.pids.slice(1)).rssBytes;
    const start = performance.now();
    const { rate, lost, slowestMs, memory } =
      kind === 'refused' || kind === 'strangers'
        ? { rate: STEADY.rate, ...(await underFlood(pair, { ...STEADY, kind }, undo, () => watch(pair))) }
        : await whileStrangers(pair, kind, way);
    const seconds = (performance.now() - start) / 1_000;
    const { gateway } = await new UapiClient(socketPath(pair.name('right'))).status();
    return [
      kind.padEnd(12),
      way.padEnd(9),
      `${rate}`.padStart(11),
      `${lost} of ${PINGS}`.padStart(11),
      `${Math.round(slowestMs)} ms`.padStart(17),
      `${((memory - before) / MIB).toFixed(1)} MiB`.padStart(14),
      `${Math.round((gateway?.lookups ?? 0) / seconds)}`.padStart(12),
    ].join(' ');
  } finally {
    await pair.close();
  }
}

async function whileStrangers(
  pair: Pair,
  kind: string,
  way: keyof typeof PORTS,
): Promise<Measured & { rate: number }> {
  const key = (await run('wg', ['show', pair.name('right'), 'public-key'])).trim();
  const args = [STRANGER, OUTER.right, `${PORTS[way]}`, key, way, kind, `${SECONDS}`];
  const flood =
    kind === 'nothing'
      ? Promise.resolve('0')
      : run(...pair.topology.inside('left', process.execPath, args), { timeoutMs: 4_000 * SECONDS });
  const measured = await watch(pair);
  return { ...measured, rate: Math.round(Number(await flood) / SECONDS) };
}

async function watch(pair: Pair): Promise<Measured> {
  const timeoutMs = 4_000 * SECONDS;
  const right = pair.pids.slice(1);
  await sleep(1_000);
  const pingArgs = ['-n', '-q', '-i', '0.15', '-W', '1', '-c', `${PINGS}`, INNER.right];
  // Its status is 1 when an answer is missing.
  const command = pair.topology.inside('left', 'sh', ['-c', 'ping "$@" || true', 'ping', ...pingArgs]);
  const pings = run(...command, { timeoutMs });
  let slowestMs = 0;
  let memory = 0;
  for (let i = 0; i < 8; i++) {
    const start = performance.now();
    await run('wg', ['show', pair.name('right')], { timeoutMs });
    slowestMs = Math.max(slowestMs, performance.now() - start);
    memory = Math.max(memory, memoryOf(right).rssBytes);
    await sleep(600);
  }
  const received = Number(/(\d+) received/.exec(await pings)?.[1]);
  return { lost: PINGS - received, slowestMs, memory };
}

/** Both doors open: to WebSockets, and to whoever has the secret of an enrolment. */
function withDoors(plain: Found): Found {
  const secret = join(home, 'secret');
  writeFileSync(secret, `${Buffer.alloc(SECRET_BYTES, 7).toString('base64')}\n`, { mode: 0o600 });
  return {
    ...plain,
    daemon: name => {
      const { args, ...daemon } = plain.daemon(name);
      const gateway = ['--enrolment-secret-file', secret, '--enrolment-prefix', 'fd5e:7c1a:9b2d::/64'];
      const store = ['--enrolment-store', join(home, `${name}.peers`)];
      const flags = ['--listen-websocket', `${WEBSOCKET_PORT}`, ...gateway, ...store];
      // Before the name, which comes last.
      return { ...daemon, args: args.toSpliced(-1, 0, ...flags) };
    },
  };
}
