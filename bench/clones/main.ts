// `npm run bench:clones`: one machine is restored a thousand times, and all come to one gateway that was told of none.
// Promises: the gateway is the daemon, with its store in a file; what this makes is gone when it ends, however it ends.
// Read on: crowd.ts (the clones), gateway.ts, store.ts; docs/performance.md.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { fail, findCandidates, positive, requireRoot, tell } from '../tunnel/command.js';
import { run } from '../tunnel/programs.js';
import { Undo } from '../tunnel/undo.js';
import { GATEWAY, Gateway, PREFIX } from './gateway.js';
import { type Orders, type Outcome, quantiles } from './orders.js';
import { fill } from './store.js';

const CROWD = fileURLToPath(new URL('./crowd.js', import.meta.url));
const TIMEOUT_MS = 10 * 60_000;
/** On two cores: a clone is there before anybody has waited for it. */
const GOALS = { aloneP99Ms: 50, togetherP99Ms: 2_000, storeMiB: 64 } as const;

const { values } = parseArgs({
  options: {
    clones: { type: 'string', default: '1000' },
    alone: { type: 'string', default: '200' },
    peers: { type: 'string', default: '1000000' },
    json: { type: 'boolean', default: false },
  },
});
const clones = positive('--clones', values.clones);
const alone = positive('--alone', values.alone);
const peers = positive('--peers', values.peers);

requireRoot(['ip', 'wg']);
const undo = new Undo();
const { candidates, skipped } = await findCandidates(['wireonce'], false);
if (candidates.length === 0) fail(skipped.join());
const [{ found }] = candidates;
const secret = randomBytes(32).toString('base64');
const folder = mkdtempSync(join(tmpdir(), 'wireonce-clones-store-'));
undo.push(() => rmSync(folder, { recursive: true, force: true }));

interface Round {
  readonly outcome: Outcome;
  readonly residentMiB: number;
}

let index = 0;
async function round(store: string, maxPeers: number): Promise<Round> {
  const gateway = await Gateway.start({ found, index: index++, secret, store, maxPeers, undo });
  try {
    const orders: Orders = {
      gatewayKey: gateway.publicKey,
      secret,
      prefix: PREFIX,
      gateway: GATEWAY,
      endpoint: gateway.endpoint,
      alone,
      together: clones,
    };
    const [command, args] = gateway.topology.inside('left', process.execPath, [
      CROWD,
      JSON.stringify(orders),
    ]);
    const outcome = JSON.parse(await run(command, args, { timeoutMs: TIMEOUT_MS })) as Outcome;
    return { outcome, residentMiB: gateway.residentMiB };
  } finally {
    await gateway.close();
  }
}

tell(`${alone} clones one by one, ${clones} at one instant; an empty store`);
const empty = await round(join(folder, 'empty'), 10 * (alone + clones));
tell(`a store of ${peers} peers`);
const full = join(folder, 'full');
await fill(full, peers);
tell('the same clones again');
const filled = await round(full, peers + 10 * (alone + clones));
undo.run();

const { outcome } = empty;
const first = quantiles(outcome.togetherMs);
const single = quantiles(outcome.aloneMs);
const singleOfFull = quantiles(filled.outcome.aloneMs);
if (values.json) {
  process.stdout.write(
    `${JSON.stringify({
      clones: alone + clones,
      admitted: outcome.admitted,
      keys: outcome.keys,
      addresses: outcome.addresses,
      underParentKey: outcome.underParentKey,
      firstPacketMs: first,
      aloneMs: single,
      aloneCpuMs: Math.round(100 * outcome.cpuMsPerClone) / 100,
      storePeers: peers,
      aloneOfFullMs: singleOfFull,
      firstPacketOfFullMs: quantiles(filled.outcome.togetherMs),
      residentMiB: { empty: empty.residentMiB, full: filled.residentMiB },
    })}\n`,
  );
} else {
  const more = Math.round(10 * (filled.residentMiB - empty.residentMiB)) / 10;
  row('clones', `${alone + clones}`, '');
  for (const [name, count] of [
    ['admitted', outcome.admitted],
    ['keys', outcome.keys],
    ['addresses', outcome.addresses],
  ] as const) {
    row(name, `${count}`, verdict(count === alone + clones, 'all'));
  }
  row(
    'under the key of their parent',
    `${outcome.underParentKey}`,
    verdict(outcome.underParentKey === 0, '0'),
  );
  row('fork to first echo, alone', ms(single), verdict(single.p99 < GOALS.aloneP99Ms, 'p99 under 50 ms'));
  row('  with a full store', ms(singleOfFull), '');
  row(
    'fork to first echo, all at once',
    ms(first),
    verdict(first.p99 < GOALS.togetherP99Ms, 'p99 under 2 s'),
  );
  row('  with a full store', ms(quantiles(filled.outcome.togetherMs)), '');
  row(`resident, ${peers} peers in the store`, `${filled.residentMiB} MiB`, '');
  row('  more than with none', `${more} MiB`, verdict(more < GOALS.storeMiB, 'under 64 MiB'));
}

function row(name: string, value: string, goal: string): void {
  process.stdout.write(`${name.padEnd(40)} ${value.padEnd(34)} ${goal}\n`);
}

function ms({ p50, p99 }: { readonly p50: number; readonly p99: number }): string {
  return `p50 ${p50} ms, p99 ${p99} ms`;
}

function verdict(isMet: boolean, goal: string): string {
  return `goal ${goal}: ${isMet ? 'met' : 'MISSED'}`;
}
