import { describe, expect, it } from 'vitest';
import { Lookout } from '../../../tunnel/linux/lookout.js';

const CALL_MS = 0.001;
const WAKE_MS = 0.1;
/** What `wait` says when a packet is there. */
const READY = 1;

/** A core on which time passes by what is done, and a packet that comes `gapMs` after the last one was found. */
class Core {
  now = 0;
  gapMs: number;
  /** How long somebody else runs whenever the core is yielded. */
  keptMs = 0;
  /** Packets that were found by looking, and that woke us. */
  found = 0;
  woken = 0;
  lookingMs = 0;
  kept = 0;
  readonly lookout: Lookout;
  #arrival = 0;

  constructor(gapMs: number) {
    this.gapMs = gapMs;
    this.lookout = new Lookout({
      libc: {
        yieldCore: () => {
          if (this.keptMs > 0) this.kept++;
          this.now += CALL_MS + this.keptMs;
          this.lookingMs += CALL_MS;
          return 0;
        },
      },
      poller: { wait: timeoutMs => this.#poll(timeoutMs) },
      now: () => this.now,
    });
  }

  /** As many packets, one after the other, or batches of them. */
  packets(count: number, inBulk = false): void {
    for (let i = 0; i < count; i++) {
      this.#arrival = this.now + this.gapMs;
      expect(this.lookout.wait(-1, inBulk)).toBe(READY);
    }
  }

  #poll(timeoutMs: number): number {
    this.now += CALL_MS;
    if (timeoutMs === 0) this.lookingMs += CALL_MS;
    const isHere = this.now >= this.#arrival;
    if (timeoutMs === 0) {
      if (isHere) this.found++;
      return isHere ? READY : 0;
    }
    if (!isHere) this.now = this.#arrival + WAKE_MS;
    this.woken++;
    return READY;
  }
}

describe('looking before sleeping', () => {
  it('finds what soon comes, and never sleeps', () => {
    const core = new Core(0.06);
    core.packets(1_000);
    expect([core.found, core.woken]).toEqual([1_000, 0]);
  });

  it('finds a late one among them within 200 microseconds, and within 50 while packets come in bulk', () => {
    const core = new Core(0.03);
    core.packets(100);
    core.gapMs = 0.18;
    core.packets(1);
    expect(core.woken).toBe(0);
    core.packets(1, true);
    expect(core.woken).toBe(1);
    core.gapMs = 0.04;
    core.packets(1_000, true);
    expect(core.woken).toBe(1);
  });

  it.each([0.1, 0.15, 0.19])('spends no more on a packet than that is worth: %f ms between two', gapMs => {
    const core = new Core(gapMs);
    core.packets(20_000);
    expect(core.lookingMs / 20_000).toBeLessThan(0.005);
  });

  it('costs nothing where packets are farther apart, after the first few', () => {
    const core = new Core(1);
    core.packets(6);
    const { lookingMs } = core;
    expect(lookingMs).toBeGreaterThan(0.9);
    core.packets(20_000);
    expect([core.found, core.lookingMs]).toEqual([0, lookingMs]);
  });

  it('hardly ever looks where it finds less than it misses', () => {
    const core = new Core(0);
    const gaps = [0.03, 1, 1];
    for (let i = 0; i < 30_000; i++) {
      core.gapMs = gaps[i % gaps.length];
      core.packets(1);
    }
    expect(core.found).toBeGreaterThan(0);
    expect(core.found).toBeLessThan(500);
  });

  it('begins again after 16 short sleeps', () => {
    const core = new Core(1);
    core.packets(100);
    core.gapMs = 0.03;
    core.packets(1_000);
    expect([core.woken, core.found]).toEqual([100 + 16, 1_000 - 16]);
  });

  it('after trials that failed begins again when 1024 short sleeps have passed, at the latest', () => {
    const core = failTrials();
    const { woken } = core;
    core.gapMs = 0.03;
    core.packets(3_000);
    expect(core.woken - woken).toBeGreaterThan(16);
    expect(core.woken - woken).toBeLessThanOrEqual(1_024);
  });

  it('after a pause has forgotten that trials failed', () => {
    const core = failTrials();
    core.gapMs = 25;
    core.packets(1);
    const { woken } = core;
    core.gapMs = 0.03;
    core.packets(3_000);
    expect(core.woken - woken).toBe(16);
  });

  it('does not yield a core again and again that somebody keeps for long', () => {
    const core = new Core(0.15);
    core.keptMs = 4;
    core.packets(10_000);
    expect(core.kept).toBeGreaterThan(0);
    expect(core.kept).toBeLessThan(20);
  });

  it('does not take for that whoever runs for a moment, as to answer', () => {
    const core = new Core(0.04);
    core.keptMs = 0.02;
    core.packets(1_000);
    expect(core.woken).toBe(0);
  });

  it('does not look where it is asked not to wait', () => {
    const calls: number[] = [];
    const lookout = new Lookout({
      libc: { yieldCore: () => expect.unreachable('nobody waits') },
      poller: { wait: timeoutMs => calls.push(timeoutMs) && 0 },
      now: () => 0,
    });
    expect([lookout.wait(0, false), calls]).toEqual([0, [0]]);
  });
});

/** A core on which ten trials were made: after short sleeps nothing came that a look would have found. */
function failTrials(): Core {
  const core = new Core(0.15);
  while (core.woken < 10_000) core.packets(1, true);
  expect(core.found).toBe(0);
  core.gapMs = 1;
  core.packets(20, true);
  return core;
}
