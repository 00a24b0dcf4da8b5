import { describe, expect, it } from 'vitest';
import { Lookout } from '../../../../tunnel/linux/wait/lookout.js';

const CALL_MS = 0.001;
const WAKE_MS = 0.1;
/** What `wait` says when a packet is there. */
const READY = 1;

/** A core on which time passes by what is done, and a packet that comes `gapMs` after the last one was taken. */
class Core {
  now = 0;
  gapMs: number;
  /** How long somebody else runs whenever the core is yielded. */
  keptMs = 0;
  /** Waits that ended without a sleep, and with one. */
  spared = 0;
  woken = 0;
  yields = 0;
  watchedMs = 0;
  readonly #lookout: Lookout;
  #arrival = 0;
  #isAsleep = false;
  #asleepAt = 0;

  constructor(gapMs: number) {
    this.gapMs = gapMs;
    this.#lookout = new Lookout({
      libc: {
        yieldCore: () => {
          this.yields++;
          this.now += CALL_MS + this.keptMs;
          return 0;
        },
      },
      poller: { wait: timeoutMs => this.#poll(timeoutMs) },
      now: () => this.now,
    });
  }

  /** As many packets, one after the other. */
  packets(count: number, inBulk = false): void {
    for (let i = 0; i < count; i++) {
      const start = this.now;
      this.#arrival = start + this.gapMs;
      this.#isAsleep = false;
      expect(this.#lookout.wait(-1, inBulk)).toBe(READY);
      if (this.#isAsleep) this.woken++;
      else this.spared++;
      this.watchedMs += (this.#isAsleep ? this.#asleepAt : this.now) - start;
    }
  }

  #poll(timeoutMs: number): number {
    this.now += CALL_MS;
    if (this.now >= this.#arrival) return READY;
    if (timeoutMs === 0) return 0;
    this.#isAsleep = true;
    this.#asleepAt = this.now;
    this.now = this.#arrival + WAKE_MS;
    return READY;
  }
}

describe('keeping watch before sleeping', () => {
  it('spares every sleep where packets soon follow each other', () => {
    const core = new Core(0.06);
    core.packets(1_000);
    expect([core.spared, core.woken]).toEqual([1_000, 0]);
  });

  it('spares one too that is late, up to 200 microseconds, or 50 in bulk', () => {
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

  it.each([0.1, 0.15, 0.19])('hardly happens where a packet takes more than it is worth: %f ms', gapMs => {
    const core = new Core(gapMs);
    core.packets(20_000);
    expect(core.watchedMs / 20_000).toBeLessThan(0.01);
  });

  it('does not happen where packets are farther apart, after the first few', () => {
    const core = new Core(1);
    core.packets(6);
    const { yields } = core;
    expect(yields).toBeGreaterThan(100);
    core.packets(20_000);
    expect([core.spared, core.yields]).toEqual([0, yields]);
  });

  it('is not paid for by packets that were there already, nor brought about by them', () => {
    const core = new Core(0);
    const bursts = (count: number) => {
      for (let i = 0; i < count; i++) {
        core.gapMs = 0;
        core.packets(30);
        core.gapMs = 1;
        core.packets(1);
      }
    };
    bursts(10);
    const { yields } = core;
    bursts(1_000);
    expect(core.yields).toBe(yields);
  });

  it('hardly happens where it spares less than it takes', () => {
    const core = new Core(0);
    const gaps = [0.03, 1, 1];
    for (let i = 0; i < 30_000; i++) {
      core.gapMs = gaps[i % gaps.length];
      core.packets(1);
    }
    expect(core.spared).toBeGreaterThan(0);
    expect(core.spared).toBeLessThan(500);
  });

  it('lets others run for a moment, as to answer', () => {
    const core = new Core(0.04);
    core.keptMs = 0.04;
    core.packets(1_000);
    core.packets(1_000, true);
    expect(core.woken).toBe(0);
  });
});

describe('trials', () => {
  /** Short sleeps from here to the next trial, if each finds nothing. */
  const sleepsToTrial = (core: Core) => {
    core.gapMs = 0.19;
    const { yields, woken } = core;
    while (core.yields === yields) core.packets(1, true);
    return core.woken - woken - 1;
  };
  /** Fails the trial that has begun. */
  const fail = (core: Core) => {
    core.gapMs = 1;
    core.packets(25, true);
  };
  /** A core on which the first trial has failed, and so many after it. */
  const failed = (more: number) => {
    const core = new Core(1);
    fail(core);
    for (let i = 0; i < more; i++) {
      sleepsToTrial(core);
      fail(core);
    }
    return core;
  };

  it('come after 16 short sleeps, and after twice as many each time that one has failed, up to 1024', () => {
    const core = failed(0);
    const sleeps = Array.from({ length: 9 }, () => {
      const count = sleepsToTrial(core);
      fail(core);
      return count;
    });
    expect(sleeps).toEqual([16, 32, 64, 128, 256, 512, 1_024, 1_024, 1_024]);
  });

  it('that pay are followed by watches, and their failures before are forgotten', () => {
    const core = failed(4);
    sleepsToTrial(core);
    core.gapMs = 0.01;
    core.packets(100);
    const { woken } = core;
    core.packets(1_000);
    expect(core.woken).toBe(woken);
    core.gapMs = 1;
    core.packets(25);
    expect(sleepsToTrial(core)).toBe(16);
  });

  it('begin anew after a pause', () => {
    const core = failed(4);
    core.gapMs = 25;
    core.packets(1);
    expect(sleepsToTrial(core)).toBe(16);
    fail(core);
    expect(sleepsToTrial(core)).toBe(16);
  });

  it('are rare where somebody keeps the core for long, pauses or not', () => {
    const core = new Core(0.15);
    core.keptMs = 4;
    for (let frame = 0; frame < 500; frame++) {
      core.gapMs = 33;
      core.packets(1);
      core.gapMs = 0.15;
      core.packets(40);
    }
    expect(core.yields).toBeGreaterThan(0);
    expect(core.yields).toBeLessThan(30);
  });
});

it('does not watch where it is asked not to wait', () => {
  const calls: number[] = [];
  const lookout = new Lookout({
    libc: { yieldCore: () => expect.unreachable('nobody waits') },
    poller: { wait: timeoutMs => calls.push(timeoutMs) && 0 },
    now: () => 0,
  });
  expect([lookout.wait(0, false), calls]).toEqual([0, [0]]);
});
