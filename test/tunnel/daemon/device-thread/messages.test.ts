import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import {
  buffersOfState,
  fromFailure,
  keyBuffersOf,
  packState,
  toFailure,
  unpackState,
} from '../../../../tunnel/daemon/device-thread/messages.js';
import { TunnelError } from '../../../../tunnel/errors.js';
import { type UapiChanges, UapiError, type UapiState } from '../../../../tunnel/daemon/uapi/types.js';

/** Sends a value through a channel, as between threads. */
function cross<T>(value: T, moved: ArrayBuffer[] = []): T {
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(value, moved);
  const { message } = receiveMessageOnPort(port2) as { message: T };
  port1.close();
  return message;
}

const key = (byte: number) => new Uint8Array(32).fill(byte);

function state(): UapiState {
  const peer = (byte: number, ranges: number) => ({
    publicKey: key(byte),
    presharedKey: key(byte + 1),
    endpoint: '192.0.2.1:7',
    persistentKeepalive: 25,
    allowedIps: Array.from({ length: ranges }, (_, i) =>
      i % 2
        ? { ip: new Uint8Array(16).fill(i), prefix: 128 - i }
        : { ip: Uint8Array.of(10, 0, i, 0), prefix: i },
    ),
    lastHandshakeAt: 1,
    rxBytes: 2,
    txBytes: 3,
  });
  return { privateKey: key(9), listenPort: 5, fwMark: 6, peers: [peer(1, 5), peer(3, 0)] };
}

describe('between the threads', () => {
  it('a state arrives as it left, and its keys are moved, not copied', () => {
    const packed = packState(state());
    expect(unpackState(cross(packed, buffersOfState(packed)))).toEqual(state());
    expect(packed.privateKey).toHaveLength(0);
    for (const { presharedKey } of packed.peers) expect(presharedKey).toHaveLength(0);
  });

  it('the keys of changes are moved, also where one buffer serves twice', () => {
    const shared = key(7);
    const peer = {
      publicKey: key(1),
      remove: false,
      updateOnly: false,
      replaceAllowedIps: false,
      allowedIps: [],
    };
    const changes: UapiChanges = {
      privateKey: key(2),
      replacePeers: false,
      peers: [{ ...peer, presharedKey: shared }, { ...peer, presharedKey: shared }, peer],
    };
    const arrived = cross(changes, keyBuffersOf(changes));
    expect(arrived.privateKey).toEqual(key(2));
    expect(arrived.peers.map(({ presharedKey }) => presharedKey)).toEqual([key(7), key(7), undefined]);
    expect([changes.privateKey, shared].map(moved => moved?.length)).toEqual([0, 0]);
  });

  it('an error keeps its code, its system call and the number that a client reads', () => {
    const bind = new TunnelError('ERR_UDP_BIND', 'bind failed', { call: 'bind', errno: 'EADDRINUSE' });
    expect(fromFailure(cross(toFailure(bind)))).toMatchObject({
      name: 'TunnelError',
      code: 'ERR_UDP_BIND',
      message: 'bind failed',
      call: 'bind',
      errno: 'EADDRINUSE',
    });
    const refused = fromFailure(cross(toFailure(new UapiError(22, 'no'))));
    expect(refused).toBeInstanceOf(UapiError);
    expect(refused).toMatchObject({ errorNumber: 22, message: 'no' });
    expect(fromFailure(toFailure('text'))).toMatchObject({ message: 'text' });
  });
});
