// Endpoints follow whoever authenticates, on both sides.
// Read on: WireGuard paper 2.1.

import { afterEach, expect, it } from 'vitest';
import { freePort } from './support/our-peer.js';
import { closeAll, startPair } from './support/pair.js';
import { until } from './support/run.js';
import { OUR_V4, THEIR_V4 } from './support/wireguard-go.js';

const ALL = { sent: 3, received: 3 };

afterEach(closeAll);

it('their endpoint follows when we move to another port', async () => {
  const { ours, theirs } = await startPair();
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  expect(await theirs.endpointOf(ours.publicKey)).toBe(`127.0.0.1:${ours.port}`);
  const before = ours.port;

  await ours.move();
  expect(ours.port).not.toBe(before);
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  expect(await theirs.endpointOf(ours.publicKey)).toBe(`127.0.0.1:${ours.port}`);
  expect(await theirs.ping(OUR_V4)).toEqual(ALL);
  expect(ours.count('initiation')).toBe(1);
});

it('their endpoint follows when we move from IPv4 to IPv6', async () => {
  const { ours, theirs } = await startPair();
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  ours.setPeer(theirs, { address: '::1' });
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  expect(await theirs.endpointOf(ours.publicKey)).toBe(`[::1]:${ours.port}`);
  expect(await theirs.ping(OUR_V4)).toEqual(ALL);
  expect(ours.count('initiation')).toBe(1);
});

it('our endpoint follows when they move to another port', async () => {
  const { ours, theirs } = await startPair();
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  const before = theirs.listenPort;
  await theirs.setListenPort(await freePort());
  expect(theirs.listenPort).not.toBe(before);

  expect(await theirs.ping(OUR_V4)).toEqual(ALL);
  const endpoint = () => ours.device.peer(theirs.publicKey)?.endpoint?.toString();
  await until('our endpoint to follow', () => endpoint() === `127.0.0.1:${theirs.listenPort}`);
  expect(ours.has('roamed')).toBe(true);
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  expect(ours.count('initiation')).toBe(1);
});
