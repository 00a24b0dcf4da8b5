// Real clones of real machines talk to one peer that keeps the tags of what it received. Whatever runs in the clones, and
// whether they know of their fork or not: the first counter that two of them use gives them away.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { HostPeer } from './harness/host-peer.js';
import { VmLab } from './harness/lab.js';
import { Trial } from './harness/trial.js';
import type { Subject } from './subjects/subject.js';
import { kernelWireguard, wireguardGo, wireonce } from './subjects/wg-interface.js';

const NOTICED_MS = 90_000;
const POLL_MS = 10;
/** Datagrams of each clone. The first some hundred are the same in both: their packets waited in a queue that was cloned. */
const ENOUGH = 5_000;

let lab: VmLab;
let trial: Trial | undefined;

beforeAll(async () => {
  lab = await VmLab.open();
});
afterEach(async () => {
  await trial?.close();
  trial = undefined;
});
afterAll(() => lab?.close());

/** Two clones under one generation ID, which tells nobody anything, on two cables to the peer that the original had. */
async function clonesOf(subject: Subject, { tripwire = true } = {}): Promise<HostPeer> {
  trial = await Trial.start(lab, subject);
  if (!tripwire) {
    trial.meet(await HostPeer.start(trial.keys.host, trial.keys.guest, { tripwire }));
    await trial.conversation();
  }
  const peer = trial.hostPeer;
  const snapshot = await lab.snapshot(trial.machine);
  const { generationId } = trial.machine;
  const clones = await snapshot.restore(2, { running: false, generationId });
  snapshot.remove();
  try {
    expect(peer.hasSession).toBe(true);
    for (const { link } of clones) peer.attach(link);
    const before = clones.map(({ link }) => link.log.length);
    await Promise.all(clones.map(clone => clone.resume()));
    const end = performance.now() + NOTICED_MS;
    const isOver = () =>
      peer.clonesFound > 0 || clones.every(({ link }, i) => link.log.length - before[i] > ENOUGH);
    while (!isOver() && performance.now() < end) await new Promise(resolve => setTimeout(resolve, POLL_MS));
    return peer;
  } finally {
    await Promise.all(clones.map(clone => clone.close()));
  }
}

describe('two clones under one generation ID are found out by their peer', () => {
  it.each([wireguardGo, kernelWireguard, wireonce('wireonce (immediate)')])('$name', async subject => {
    expect((await clonesOf(subject)).clonesFound).toBeGreaterThan(0);
  });

  it('control: not by one whose tripwire is off', async () => {
    const peer = await clonesOf(wireguardGo, { tripwire: false });
    expect(peer.clonesFound).toBe(0);
    expect(peer.hasSession).toBe(true);
  });
});
