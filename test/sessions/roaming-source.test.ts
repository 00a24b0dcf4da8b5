import { describe, expect, it } from 'vitest';
import type { Context } from '../../sessions/context.js';
import type { Endpoint } from '../../sessions/ports.js';
import type { Peer } from '../../sessions/peer.js';
import { roam } from '../../sessions/roam.js';

/** Equal to every endpoint of its port, whichever way its datagrams come. */
function endpoint(port: number): Endpoint {
  return {
    ip: new Uint8Array(4),
    port,
    equals: other => other.port === port,
    toString: () => `0.0.0.0:${port}`,
  };
}

describe('roam', () => {
  it('takes the endpoint of the last datagram, and tells of it only when it is another address', () => {
    const told: unknown[] = [];
    const context = {
      emit: (event: { endpoint: Endpoint }) => told.push(event.endpoint),
    } as unknown as Context;
    const peer = { publicKey: new Uint8Array(32), endpoint: undefined } as unknown as Peer;
    const [first, sameElsewhere, other] = [endpoint(1), endpoint(1), endpoint(2)];
    roam(context, peer, first);
    roam(context, peer, sameElsewhere);
    expect(peer.endpoint).toBe(sameElsewhere);
    roam(context, peer, other);
    expect(peer.endpoint).toBe(other);
    expect(told).toEqual([first, other]);
  });
});
