// OpenSSL's generator is cloned with the process and repeats in both clones. Here it is replaced by zeros: whatever
// drew a secret from it would show zeros, or the same secret twice.

import { afterAll, expect, it, vi } from 'vitest';
import { Crng, kernelEntropy } from '../../crng/index.js';
import { INITIATION, RESPONSE } from '../../protocol/messages.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import {
  EventLoopTunnel,
  type Transport,
  UdpEndpoint,
  UdpTransport,
  systemClock,
} from '../../tunnel/index.js';
import { WebSocketDialer, WebSocketListener } from '../../tunnel/websocket/index.js';
import { VmGenId } from '../../vmgenid/index.js';
import { ipv4Packet } from '../support/packets.js';

// Before anything is loaded: libraries take their functions out of node:crypto when they load.
const { draws, restore } = vi.hoisted(() => {
  const crypto = process.getBuiltinModule('node:crypto');
  const { syncBuiltinESMExports } = process.getBuiltinModule('node:module');
  const { randomBytes, randomFillSync, randomUUID, randomInt } = crypto;
  const names: string[] = [];
  const zeroed = (name: string) => (target: ArrayBufferView) => {
    names.push(name);
    new Uint8Array(target.buffer, target.byteOffset, target.byteLength).fill(0);
    return target;
  };
  const replace = (functions: object) => {
    Object.assign(crypto, functions);
    syncBuiltinESMExports();
  };
  replace({
    randomBytes: (size: number) => zeroed('randomBytes')(Buffer.alloc(size)),
    randomFillSync: zeroed('randomFillSync'),
    randomUUID: () => {
      names.push('randomUUID');
      return '00000000-0000-4000-8000-000000000000';
    },
    randomInt: () => {
      names.push('randomInt');
      return 0;
    },
  });
  vi.stubGlobal('crypto', { getRandomValues: zeroed('getRandomValues') });
  return {
    draws: names,
    restore: () => replace({ randomBytes, randomFillSync, randomUUID, randomInt }),
  };
});

afterAll(() => {
  restore();
  vi.unstubAllGlobals();
});

/** Two peers talk; returns the ephemeral keys that crossed the wire. */
async function talk(
  crng: Crng,
  vmgenid: VmGenId,
  ours: Transport,
  theirs: Transport,
  to: UdpEndpoint | WebSocketDialer['endpoint'],
) {
  const ephemerals: string[] = [];
  const keys = [crng.x25519PrivateKey(), crng.x25519PrivateKey()];
  const publicKeys = keys.map(key => {
    const out = new Uint8Array(32);
    nobleSuite.publicKey(key, out);
    return out;
  });
  let arrived = () => {};
  const arrival = new Promise<void>(resolve => {
    arrived = resolve;
  });
  const spy = (transport: Transport) => {
    const send = transport.send.bind(transport);
    transport.send = (datagram, endpoint) => {
      const at = datagram[0] === 1 ? INITIATION.ephemeral : RESPONSE.ephemeral;
      if (datagram[0] <= 2) ephemerals.push(Buffer.from(datagram.subarray(at, at + 32)).toString('hex'));
      return send(datagram, endpoint);
    };
  };
  spy(ours);
  spy(theirs);
  const allowed = (host: number) => [{ ip: Uint8Array.of(10, 0, 0, host), prefix: 32 }];
  const common = { crng, vmgenid };
  const a = new EventLoopTunnel({
    ...common,
    privateKey: keys[0],
    transports: [ours],
    peers: [{ publicKey: publicKeys[1], endpoint: to, allowedIps: allowed(2) }],
    onPacket: () => {},
  });
  const b = new EventLoopTunnel({
    ...common,
    privateKey: keys[1],
    transports: [theirs],
    peers: [{ publicKey: publicKeys[0], allowedIps: allowed(1) }],
    onPacket: () => arrived(),
  });
  a.sendPacket(ipv4Packet('10.0.0.1', '10.0.0.2', Uint8Array.of(1)));
  await arrival;
  await Promise.all([a.close(), b.close()]);
  return [...ephemerals, ...keys.map(key => Buffer.from(key).toString('hex'))];
}

it('no secret of the package comes from it: keys and ephemerals differ though it gives zeros', async () => {
  // noble asks once, at load, whether there is a generator at all.
  draws.length = 0;
  const entropy = kernelEntropy();
  const vmgenid = new VmGenId([]);
  const secrets: string[] = [];
  const open = () => new Crng({ entropy, vmgenid, now: systemClock.now });
  for (let round = 0; round < 2; round++) {
    const crng = open();
    const ours = await UdpTransport.open({ ipv4: '127.0.0.1', ipv6: false });
    const theirs = await UdpTransport.open({ ipv4: '127.0.0.1', ipv6: false });
    secrets.push(...(await talk(crng, vmgenid, ours, theirs, UdpEndpoint.of('127.0.0.1', theirs.port))));
    secrets.push(crng.uuid(), Buffer.from(crng.bytes(32)).toString('hex'));
    crng.close();
  }
  expect(draws).toEqual([]);
  expect(secrets.length).toBe(2 * (2 + 2 + 2));
  expect(new Set(secrets).size).toBe(secrets.length);
  entropy.close();
});

it('over a WebSocket only the library’s public Sec-WebSocket-Key is drawn from it, no frame mask', async () => {
  draws.length = 0;
  const entropy = kernelEntropy();
  const vmgenid = new VmGenId([]);
  const crng = new Crng({ entropy, vmgenid, now: systemClock.now });
  const listener = await WebSocketListener.listen({ host: '127.0.0.1', port: 0 });
  const dialer = new WebSocketDialer(`ws://127.0.0.1:${listener.port}/`, { randomness: crng });
  dialer.start();
  await dialer.whenOpen();
  const secrets = await talk(crng, vmgenid, dialer, listener, dialer.endpoint);
  expect(draws).toEqual(['randomBytes']);
  expect(new Set(secrets).size).toBe(4);
  crng.close();
  entropy.close();
});

it('control: the replacement is in force for whoever draws from it', async () => {
  draws.length = 0;
  expect((await import('node:crypto')).randomBytes(4).every(byte => byte === 0)).toBe(true);
  expect(globalThis.crypto.getRandomValues(new Uint8Array(4))).toEqual(new Uint8Array(4));
  expect(draws).toEqual(['randomBytes', 'getRandomValues']);
});
