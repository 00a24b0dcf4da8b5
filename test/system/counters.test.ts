// Both sides count the same bytes: padding, keepalives and handshakes are of the same size on the wire.

import { afterEach, expect, it } from 'vitest';
import type { PeerInfo } from '../../sessions/device.js';
import type { OurPeer } from './support/our-peer.js';
import { closeAll, startPair } from './support/pair.js';
import { until } from './support/run.js';
import { OUR_V4, THEIR_V4, type WireguardGo } from './support/wireguard-go.js';

const INITIATION = 148;
const RESPONSE = 92;
const KEEPALIVE = 32;
/** An echo of 84 bytes, padded to 96, with header and tag. */
const ECHO = 96 + 32;

afterEach(closeAll);

it('ten pings of ours count the same on both sides, to the byte', async () => {
  const { ours, theirs } = await startPair();
  await ours.ping(THEIR_V4, { count: 1 });
  const warm = ours.device.peer(theirs.publicKey);
  // The first echo is staged, and confirms the session: no keepalive goes before it.
  expect(warm?.txBytes).toBe(INITIATION + ECHO);
  expect(warm?.rxBytes).toBe(RESPONSE + ECHO);

  await ours.ping(THEIR_V4, { count: 9 });
  const mine = ours.device.peer(theirs.publicKey);
  expect(mine?.txBytes).toBe(INITIATION + 10 * ECHO);
  expect(mine?.rxBytes).toBe(RESPONSE + 10 * ECHO);
  await agree(theirs, ours, mine);
});

it('a handshake without traffic is confirmed by one keepalive', async () => {
  const { ours, theirs } = await startPair();
  ours.device.initiateHandshake(theirs.publicKey);
  await until('the handshake', () => ours.has('handshakeComplete'));
  await ours.ping(THEIR_V4, { count: 10 });
  const mine = ours.device.peer(theirs.publicKey);
  expect(mine?.txBytes).toBe(INITIATION + KEEPALIVE + 10 * ECHO);
  expect(mine?.rxBytes).toBe(RESPONSE + 10 * ECHO);
  await agree(theirs, ours, mine);
});

it('ten pings of theirs count the same on both sides, to the byte', async () => {
  const { ours, theirs } = await startPair({ initiator: 'they' });
  expect(await theirs.ping(OUR_V4, { count: 10 })).toEqual({ sent: 10, received: 10 });
  const { received, sent } = await theirs.transfer(ours.publicKey);
  const mine = ours.device.peer(theirs.publicKey);
  expect(received).toBe(RESPONSE + 10 * ECHO);
  expect(mine?.txBytes).toBe(received);
  expect(mine?.rxBytes).toBe(sent);
  // wireguard-go may confirm with a keepalive before it sends what was staged.
  expect([INITIATION + 10 * ECHO, INITIATION + KEEPALIVE + 10 * ECHO]).toContain(sent);
});

// They count what they have sent a moment after they sent it.
async function agree(theirs: WireguardGo, ours: OurPeer, mine: PeerInfo | undefined): Promise<void> {
  await expect
    .poll(() => theirs.transfer(ours.publicKey), { timeout: 5_000 })
    .toEqual({ received: mine?.txBytes, sent: mine?.rxBytes });
}
