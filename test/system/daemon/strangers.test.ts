// Strangers at the WebSocket door of a real daemon: whatever they send, and whether or not they read, UDP peers and whoever
// asks the daemon go on as before. How fast is for `npm run bench:doors`.

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { until } from '../support/run.js';
import { atEnd, closeMachines, INNER, type Pair, startPair } from './support/machine.js';

afterEach(closeMachines);

const PORT = 8_443;
const STRANGER = fileURLToPath(new URL('./support/stranger.mjs', import.meta.url));
/** What the daemon may take more than before. Of the heap some is garbage that was not collected yet. */
const MIB = 1024 * 1024;

function pair(): Promise<Pair> {
  return startPair({ b: { flags: ['--listen-websocket', `${PORT}`] } });
}

/** Strangers in A's namespace, who do as they are told until the test ends. */
async function strangers({ a, b, outer }: Pair, kind: string, connections: number): Promise<Stranger> {
  const args = [STRANGER, outer.b, `${PORT}`, b.publicKey, kind, `${connections}`];
  const child = spawn('ip', ['netns', 'exec', a.namespace, process.execPath, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const stranger = new Stranger(child);
  atEnd(() => stranger.end());
  await stranger.said('begun');
  return stranger;
}

class Stranger {
  readonly #child: ChildProcess;
  #text = '';

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on('data', chunk => (this.#text += String(chunk)));
  }

  async said(word: string): Promise<void> {
    await until(`a stranger to say ${word}`, () => {
      if (this.#child.exitCode !== null) throw new Error(`it ended: ${this.#text}`);
      return this.#text.includes(`${word}\n`);
    });
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise(resolve => this.#child.once('exit', resolve));
    this.#child.kill();
    await gone;
  }
}

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** `wg show`, and how long it took, in milliseconds. */
async function show({ b }: Pair): Promise<number> {
  const before = performance.now();
  await b.wg('show', b.name);
  return performance.now() - before;
}

describe.each(['junk', 'initiation', 'ping', 'fragments'])('a flood of %s', kind => {
  test('by WebSocket loses no UDP peer, and the daemon answers', async () => {
    const wire = await pair();
    const { a, b } = wire;
    expect(await a.ping(INNER.b4)).toBe(3);
    const before = residentBytes(b.pid);
    await strangers(wire, kind, 4);
    for (let i = 0; i < 5; i++) {
      expect(await show(wire)).toBeLessThan(5_000);
      expect(await a.ping(INNER.b4, { count: 2 })).toBe(2);
    }
    const { transportDrops, peers } = await b.status();
    expect(peers[0].hasSession).toBe(true);
    // It was a flood, and it was stopped at the door: what it cost is bounded.
    if (kind !== 'ping') expect(transportDrops.unproven).toBeGreaterThan(100);
    expect(residentBytes(b.pid) - before).toBeLessThan(64 * MIB);
  });
});

test('readers that stall cost a budget, and not so much each', async () => {
  const wire = await pair();
  const { b } = wire;
  const before = residentBytes(b.pid);
  await strangers(wire, 'stalled', 400);
  for (let i = 0; i < 5; i++) {
    await new Promise(resolve => setTimeout(resolve, 1_000));
    expect(await show(wire)).toBeLessThan(5_000);
  }
  // 400 readers at 9 MiB each would be 3,600.
  expect(residentBytes(b.pid) - before).toBeLessThan(128 * MIB);
});

describe.each([
  ['silent', 2_048],
  ['answered', 1_024],
] as const)('%s strangers', (kind, connections) => {
  test('hold no place that a newcomer needs', async () => {
    const wire = await pair();
    const { a, outer } = wire;
    await strangers(wire, kind, connections);
    for (let i = 0; i < 3; i++) {
      const answer = await a.exec(
        process.execPath,
        STRANGER,
        outer.b,
        `${PORT}`,
        wire.b.publicKey,
        'upgrade',
        '1',
      );
      expect(answer).toContain('101');
      await new Promise(resolve => setTimeout(resolve, 1_000));
    }
  });
});

test('the control: where nobody listens, no upgrade is seen', async () => {
  const { a, b, outer } = await startPair();
  const ask = a.exec(process.execPath, STRANGER, outer.b, `${PORT}`, b.publicKey, 'upgrade', '1');
  await expect(ask).rejects.toThrow(/ECONNREFUSED/);
});
