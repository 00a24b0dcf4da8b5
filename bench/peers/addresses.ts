// Where the peers of a crowd live: each has an address of its own, inside the tunnel and outside.
// Read on: crowd.ts, gateway.ts (the route to each of the two networks).

/** RFC 2544: a network for benchmarks. Twice 65,536 addresses. */
export const OUTER_NETWORK = '198.18.0.0/15';
export const INNER_NETWORK = '10.0.0.0/8';
/** The gateway's own address in there, which no peer has. */
export const GATEWAY_INNER = '10.255.255.254';
/** What the crowd sends goes to an address (RFC 5737) that the gateway has no use for, and drops without an answer. */
export const NOWHERE = Uint8Array.of(203, 0, 113, 1);
export const MAX_PEERS = 2 ** 17;

/** The next peer is so many further on: in an order that no cache foresees. Primes, so that each is met as often. */
const STRIDE = 7_919;
const OTHER_STRIDE = 7_907;

export function nextPeer(peer: number, peers: number): number {
  return (peer + (peers % STRIDE === 0 ? OTHER_STRIDE : STRIDE)) % peers;
}

export function outerAddress(peer: number): Uint8Array {
  return Uint8Array.of(198, 18 + (peer >>> 16), peer >>> 8, peer);
}

export function innerAddress(peer: number): Uint8Array {
  return Uint8Array.of(10, peer >>> 16, peer >>> 8, peer);
}
