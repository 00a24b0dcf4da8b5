// From a configuration file to a running tunnel in this process, with a packet source of the caller's own: no TUN.

import type { Crng, CrngEvent } from '../crng/index.js';
import type { Suite } from '../protocol/suite.js';
import { fastestSuite } from '../protocol/suites/fastest.js';
import type { DeviceOptions, PeerOptions } from '../sessions/device.js';
import type { VmGenId } from '../vmgenid/index.js';
import type { PeerConfig, TunnelConfig } from './config.js';
import type { TunnelError } from './errors.js';
import { systemClock } from './clock.js';
import { EventLoopTunnel } from './event-loop.js';
import { openCrng } from './open-crng.js';
import { resolveEndpoint } from './resolve.js';
import { UdpTransport } from './udp.js';
import { WebSocketDialer } from './websocket.js';

export interface OpenTunnelOptions
  extends Partial<
    Pick<DeviceOptions, 'forkPolicy' | 'strict' | 'holdBackMs' | 'tripwire' | 'onEvent' | 'mtu'>
  > {
  readonly config: TunnelConfig;
  /** Called for each packet that comes out of the tunnel. */
  readonly onPacket: (packet: Uint8Array, peerPublicKey: Uint8Array) => void;
  readonly onTransportError?: (error: TunnelError) => void;
  readonly onCrngEvent?: (event: CrngEvent) => void;
  /** Default: the best sources of this machine. One that is given stays the caller's to close. */
  readonly vmgenid?: VmGenId;
  /** Default: the fastest that loads. */
  readonly suite?: Suite;
}

export interface OpenTunnel {
  readonly tunnel: EventLoopTunnel;
  readonly udp: UdpTransport;
  readonly vmgenid: VmGenId;
  readonly crng: Crng;
  /** Ends everything that was opened here. */
  close(): Promise<void>;
}

/** Opens sources, generator, sockets and device. Throws what they throw, with everything closed again. */
export async function openTunnel(options: OpenTunnelOptions): Promise<OpenTunnel> {
  const { config, vmgenid: given, onPacket, onTransportError, onCrngEvent, suite, ...device } = options;
  const closers: (() => void | Promise<void>)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const opened = await openCrng({ vmgenid: given, onEvent: onCrngEvent });
    const { crng, vmgenid } = opened;
    closers.push(() => opened.close());

    const udp = await UdpTransport.open({ port: config.interface.listenPort ?? 0 });
    closers.push(() => udp.close());
    // Peers behind one URL share one connection: an endpoint names its dialer.
    const dialers = new Map<string, WebSocketDialer>();
    const peers = await Promise.all(config.peers.map(peer => toPeer(peer, crng, dialers)));
    const tunnel = new EventLoopTunnel({
      privateKey: config.interface.privateKey,
      ...(config.interface.mtu !== undefined && { mtu: config.interface.mtu }),
      ...device,
      suite: suite ?? (await fastestSuite(systemClock)),
      crng,
      vmgenid,
      transports: [udp, ...dialers.values()],
      peers,
      onPacket,
      ...(onTransportError && { onTransportError }),
    });
    closers.push(() => tunnel.close());
    for (const dialer of dialers.values()) dialer.start();
    return { tunnel, udp, vmgenid, crng, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function toPeer(
  config: PeerConfig,
  crng: Crng,
  dialers: Map<string, WebSocketDialer>,
): Promise<PeerOptions> {
  const { publicKey, presharedKey, allowedIps, persistentKeepalive, endpoint: where } = config;
  let endpoint: PeerOptions['endpoint'];
  if (where && 'url' in where) {
    const dialer = dialers.get(where.url) ?? new WebSocketDialer(where.url, { randomness: crng });
    dialers.set(where.url, dialer);
    endpoint = dialer.endpoint;
  } else if (where) {
    endpoint = await resolveEndpoint(where.host, where.port);
  }
  return {
    publicKey,
    allowedIps,
    ...(presharedKey && { presharedKey }),
    ...(persistentKeepalive !== undefined && { persistentKeepalive }),
    ...(endpoint && { endpoint }),
  };
}
