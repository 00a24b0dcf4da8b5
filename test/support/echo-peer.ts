// A WireGuard peer on loopback that answers echo requests inside its tunnel: the other end for tests of `ping`.

import { Crng, kernelEntropy } from '../../crng/index.js';
import { type Echo, DEFAULT_HOP_LIMIT, echoPacket, parseIcmp } from '../../cli/icmp.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { systemClock } from '../../tunnel/clock.js';
import { EventLoopTunnel } from '../../tunnel/loop/event-loop.js';
import { parseIp } from '../../tunnel/ip.js';
import { encodeKey } from '../../tunnel/keys.js';
import { UdpTransport } from '../../tunnel/loop/udp.js';
import { WebSocketListener } from '../../tunnel/websocket/index.js';
import { VmGenId } from '../../vmgenid/index.js';

export const INSIDE = { v4: '10.99.0.1', v6: 'fd99::1' } as const;
export const CLIENT = { v4: '10.99.0.2', v6: 'fd99::2' } as const;
const PEER_KEY = new Uint8Array(32).fill(0x41);
const CLIENT_KEY = new Uint8Array(32).fill(0x42);

export interface EchoPeerOptions {
  readonly presharedKey?: Uint8Array;
  /** What comes back for a request. Default: its one reply. */
  readonly answer?: (request: Echo) => readonly Uint8Array[];
  /** From here it expects the client. Default: both client addresses. */
  readonly allowedIps?: readonly { readonly ip: Uint8Array; readonly prefix: number }[];
  readonly underLoadThreshold?: number;
}

export interface ClientConfig {
  /** Default: UDP over IPv4. */
  readonly outside?: 'udp4' | 'udp6' | 'ws';
  readonly endpoint?: string;
  readonly presharedKey?: Uint8Array;
  readonly peerPublicKey?: Uint8Array;
  readonly address?: string;
  readonly allowedIps?: string;
}

export interface EchoPeer {
  readonly tunnel: EventLoopTunnel;
  /** The text of a wg-quick file for a client of this peer. */
  config(options?: ClientConfig): string;
  close(): Promise<void>;
}

/** The reply to a request. */
export function replyTo({ source, destination, ...request }: Echo, changes: Partial<Echo> = {}): Uint8Array {
  const there = { source: destination, destination: source };
  return echoPacket({ ...request, ...there, kind: 'reply', hopLimit: DEFAULT_HOP_LIMIT, ...changes });
}

export function address(text: string): Uint8Array {
  return (parseIp(text) as { ip: Uint8Array }).ip;
}

export function publicKeyOf(privateKey: Uint8Array): Uint8Array {
  const publicKey = new Uint8Array(32);
  nobleSuite.publicKey(privateKey, publicKey);
  return publicKey;
}

/** Listens on loopback, on free ports. */
export async function openEchoPeer(options: EchoPeerOptions = {}): Promise<EchoPeer> {
  const answer = options.answer ?? (request => [replyTo(request)]);
  const vmgenid = new VmGenId([]);
  const entropy = kernelEntropy();
  const crng = new Crng({ entropy, vmgenid, now: systemClock.now });
  const udp = await UdpTransport.open({ ipv4: '127.0.0.1', ipv6: '::1' });
  const listener = await WebSocketListener.listen({ host: '127.0.0.1' });
  const tunnel: EventLoopTunnel = new EventLoopTunnel({
    privateKey: PEER_KEY,
    crng,
    vmgenid,
    transports: [udp, listener],
    ...(options.underLoadThreshold !== undefined && { underLoadThreshold: options.underLoadThreshold }),
    peers: [
      {
        publicKey: publicKeyOf(CLIENT_KEY),
        allowedIps: options.allowedIps ?? [
          { ip: address(CLIENT.v4), prefix: 32 },
          { ip: address(CLIENT.v6), prefix: 128 },
        ],
        ...(options.presharedKey && { presharedKey: options.presharedKey }),
      },
    ],
    onPacket: packet => {
      const message = parseIcmp(packet);
      if (message?.kind === 'request') for (const reply of answer(message)) tunnel.sendPacket(reply);
    },
  });
  const endpoints = {
    udp4: `127.0.0.1:${udp.port}`,
    udp6: `[::1]:${udp.port}`,
    ws: `ws://127.0.0.1:${listener.port}/`,
  };
  return {
    tunnel,
    config: ({ outside = 'udp4', ...client } = {}) => {
      const psk = client.presharedKey ? `PresharedKey = ${encodeKey(client.presharedKey)}\n` : '';
      return `[Interface]
PrivateKey = ${encodeKey(CLIENT_KEY)}
Address = ${client.address ?? `${CLIENT.v4}/24, ${CLIENT.v6}/64`}

[Peer]
PublicKey = ${encodeKey(client.peerPublicKey ?? publicKeyOf(PEER_KEY))}
${psk}AllowedIPs = ${client.allowedIps ?? '10.99.0.0/24, fd99::/64'}
Endpoint = ${client.endpoint ?? endpoints[outside]}
`;
    },
    close: async () => {
      await tunnel.close();
      crng.close();
      entropy.close();
      await vmgenid.close();
    },
  };
}
