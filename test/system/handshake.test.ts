// Handshakes with an unmodified WireGuard, in both roles, and traffic under the keys that come of them.
// Read on: WireGuard paper 5.4.

import { afterEach, describe, expect, it } from 'vitest';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { newPresharedKey, ipOf } from './support/our-peer.js';
import { echoRequest } from './support/echo.js';
import { closeAll, createTunnelTo, startPair } from './support/pair.js';
import { until } from './support/run.js';
import { OUR_V4, OUR_V6, THEIR_V4, THEIR_V6, WireguardGo } from './support/wireguard-go.js';

const ALL = { sent: 3, received: 3 };
const NONE = { sent: 3, received: 0 };

afterEach(closeAll);

describe.each(['127.0.0.1', '::1'] as const)('over %s', outer => {
  describe.each([
    { name: 'with a preshared key', withPsk: true },
    { name: 'without a preshared key', withPsk: false },
  ])('$name', ({ withPsk }) => {
    it.each(['we', 'they'] as const)('%s initiate, and IPv4 and IPv6 pass both ways', async initiator => {
      const psk = withPsk ? await newPresharedKey() : undefined;
      const { ours, theirs } = await startPair({
        initiator,
        outer,
        ...(psk && { ourPresharedKey: psk, theirPresharedKey: psk }),
      });

      if (initiator === 'we') {
        expect(await ours.ping(THEIR_V4)).toEqual(ALL);
        expect(await ours.ping(THEIR_V6)).toEqual(ALL);
      }
      expect(await theirs.ping(OUR_V4)).toEqual(ALL);
      expect(await theirs.ping(OUR_V6)).toEqual(ALL);
      if (initiator === 'they') {
        expect(await ours.ping(THEIR_V4)).toEqual(ALL);
        expect(await ours.ping(THEIR_V6)).toEqual(ALL);
      }

      const roles = ours.events.flatMap(event => (event.type === 'handshakeComplete' ? [event.role] : []));
      expect(roles).toEqual([initiator === 'we' ? 'initiator' : 'responder']);
      expect(ours.count('initiation')).toBe(initiator === 'we' ? 1 : 0);
      expect(ours.sessions().size).toBe(1);
      expect(drops(ours.device.stats().drops)).toEqual({});
    });
  });
});

it('the reference suite interoperates too', async () => {
  const { ours, theirs } = await startPair({ device: { suite: nobleSuite } });
  expect(await ours.ping(THEIR_V4)).toEqual(ALL);
  expect(await theirs.ping(OUR_V6)).toEqual(ALL);
});

it.each([
  { initiator: 'we', what: 'a wrong preshared key' },
  { initiator: 'we', what: 'none of ours where they have one' },
  { initiator: 'they', what: 'a wrong preshared key' },
] as const)('with $what nothing passes when $initiator initiate, until it is put right', async test => {
  const { initiator, what } = test;
  const right = await newPresharedKey();
  const { ours, theirs } = await startPair({
    initiator,
    theirPresharedKey: right,
    ...(what === 'a wrong preshared key' && { ourPresharedKey: await newPresharedKey() }),
  });
  const ping = () =>
    initiator === 'we' ? ours.ping(THEIR_V4, { timeoutMs: 500 }) : theirs.ping(OUR_V4, { waitSeconds: 1 });
  expect(await ping()).toMatchObject(NONE);
  expect(ours.has('handshakeComplete')).toBe(false);
  expect(ours.count('data')).toBe(0);
  // The initiator is the first who can tell: the key goes into the response.
  if (initiator === 'we') expect(ours.device.stats().drops.badTag).toBe(1);
  else expect(ours.count('response')).toBeGreaterThan(0);

  ours.setPeer(theirs, { presharedKey: right });
  if (initiator === 'we') {
    ours.skip(5_500);
    await until('a handshake', () => ours.has('handshakeComplete'));
    expect(await ping()).toEqual(ALL);
  } else {
    // They try again five seconds after they did.
    const { received } = await theirs.ping(OUR_V4, { waitSeconds: 8 });
    expect(received).toBeGreaterThan(0);
  }
});

it('a peer that they do not know gets no answer, and one that we do not know gets none from us', async () => {
  const { ours, theirs } = await startPair();
  await theirs.removePeer(ours.publicKey);
  expect(await ours.ping(THEIR_V4, { timeoutMs: 500 })).toMatchObject(NONE);
  expect(ours.device.peer(theirs.publicKey)?.rxBytes).toBe(0);

  ours.device.removePeer(theirs.publicKey);
  await theirs.setPeer({ publicKey: ours.publicKey, endpoint: `127.0.0.1:${ours.port}` });
  expect(await theirs.ping(OUR_V4, { waitSeconds: 1 })).toMatchObject(NONE);
  expect(ours.count('response')).toBe(0);
  expect(ours.device.stats().drops.unknownPeer).toBeGreaterThan(0);
});

it('a tunnel opened from a wg-quick file reaches them', async () => {
  const { opened, replies } = await createTunnelTo(await WireguardGo.start());
  opened.tunnel.sendPacket(echoRequest(ipOf(OUR_V4), ipOf(THEIR_V4), 7, 1));
  opened.tunnel.sendPacket(echoRequest(ipOf(OUR_V6), ipOf(THEIR_V6), 7, 2));
  await until('both replies', () => replies.size === 2);
});

function drops(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}
