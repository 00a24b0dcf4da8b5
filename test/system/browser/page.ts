// What runs in the page: a peer that calls the peer of the test, sends a packet, and says what came back.

import {
  BrowserDialer,
  Crng,
  EventLoopTunnel,
  VmGenId,
  decodeKey,
  kernelEntropy,
  nobleSuite,
  parseAllowedIp,
  systemClock,
} from 'wireonce/browser';

/** What the test hands in. */
export interface PageOptions {
  readonly url: string;
  readonly privateKey: string;
  readonly peer: string;
  /** The peer's address in the tunnel. */
  readonly address: string;
  /** An IPv4 packet. */
  readonly packet: readonly number[];
}

/** Resolves with the first packet that comes out of the tunnel. */
export async function talk({ url, privateKey, peer, address, packet }: PageOptions) {
  const vmgenid = new VmGenId([]);
  const entropy = kernelEntropy();
  const crng = new Crng({ entropy, vmgenid, now: systemClock.now });
  const dialer = new BrowserDialer(url, { randomness: crng });
  const answer = await new Promise<number[]>(resolve => {
    const tunnel = new EventLoopTunnel({
      crng,
      vmgenid,
      suite: nobleSuite,
      privateKey: decodeKey(privateKey),
      transports: [dialer],
      peers: [
        {
          publicKey: decodeKey(peer),
          endpoint: dialer.endpoint,
          allowedIps: [parseAllowedIp(address)],
          persistentKeepalive: 25,
        },
      ],
      onPacket: received => {
        resolve(Array.from(received));
        void tunnel.close();
      },
    });
    dialer.start();
    tunnel.sendPacket(Uint8Array.from(packet));
  });
  return { answer, entropy: entropy.name, protection: vmgenid.protection };
}

Object.assign(globalThis, { talk });
