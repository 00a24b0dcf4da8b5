// A tunnel in this process, with a packet source of the caller's own: no TUN, no privileges, any system.
// Promises: peers over UDP and over WebSockets, dialled or listened for, are peers of one device; names are resolved
// again while a peer stays silent; what was opened here is closed by `close`, or when anything fails.
// Read on: event-loop.ts (what it runs on); ../config/config.ts (the file); ../daemon/device-thread.ts (the same for
// a daemon, with a TUN).

import type { Crng, CrngEvent } from '../../crng/index.js';
import { keystreamOf } from '../../protocol/keystream.js';
import type { Suite } from '../../protocol/suite.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import type { DeviceOptions, PeerOptions } from '../../sessions/device.js';
import type { DeviceSettings } from '../../sessions/settings.js';
import type { VmGenId } from '../../vmgenid/index.js';
import { systemClock } from '../clock.js';
import type { PeerConfig, TunnelConfig } from '../config/config.js';
import { EndpointRefresher } from '../config/endpoint-refresher.js';
import type { UdpEndpoint } from '../endpoint.js';
import type { TunnelError } from '../errors.js';
import { EventLoopTunnel } from './event-loop.js';
import { ForkClock } from './fork-clock.js';
import { type KeyMemoryReport, openKeyMemory } from './key-memory.js';
import { openCrng } from './open-crng.js';
import { resolveEndpoints } from '../config/resolve.js';
import type { Transport } from '../transport.js';
import { UdpTransport } from './udp.js';
import { WebSocketDialer, WebSocketListener } from '../websocket/index.js';

/** What a tunnel is made of: a configuration, and who hears of it. */
export interface CreateTunnelOptions
  extends DeviceSettings,
    Pick<DeviceOptions, 'admission' | 'onEvent' | 'mtu'> {
  /** What is for an interface (`dns`, `table`, `fwMark`, `saveConfig`, the commands) changes nothing here. */
  readonly config: TunnelConfig;
  /** Called for each packet that comes out of the tunnel. */
  readonly onPacket: (packet: Uint8Array, peerPublicKey: Uint8Array) => void;
  /** Hears what the system reports of sockets. The tunnel goes on. */
  readonly onTransportError?: ((error: TunnelError) => void) | undefined;
  /** Hears of reseeds, of the barrier and of failures of the generator. */
  readonly onCrngEvent?: ((event: CrngEvent) => void) | undefined;
  /** Default: the best sources of this machine. One that is given stays the caller's to close. */
  readonly vmgenid?: VmGenId | undefined;
  /** Default: the fastest that loads. */
  readonly suite?: Suite | undefined;
  /** Every address of a name, in the order to try them. Default: the system's resolver. */
  readonly resolve?: ((host: string, port: number) => Promise<readonly UdpEndpoint[]>) | undefined;
}

/** A tunnel that runs, and what it runs on. */
export interface CreatedTunnel {
  readonly tunnel: EventLoopTunnel;
  readonly udp: UdpTransport;
  /** Takes connections of WebSocket peers, where the configuration has `ListenWebSocket`. */
  readonly webSockets: WebSocketListener | undefined;
  readonly vmgenid: VmGenId;
  readonly crng: Crng;
  /** Whether the keys lie in memory that is kept out of swap and core dumps, and if not, why. */
  keyMemory(): KeyMemoryReport;
  /** Ends everything that was opened here. */
  close(): Promise<void>;
}

/**
 * Opens sources, generator, sockets and device. Throws what they throw, with everything closed again.
 *
 * A packet that comes out of the tunnel and is given to `tunnel.sendPacket` goes on to the peer it is for: so peers
 * route to each other, whatever each is connected by.
 *
 * @example
 * const { tunnel, close } = await createTunnel({ config: parseConfig(text), onPacket: packet => receive(packet) });
 * tunnel.sendPacket(packet);
 */
export async function createTunnel(options: CreateTunnelOptions): Promise<CreatedTunnel> {
  const { config, vmgenid: given, onPacket, onTransportError, onCrngEvent, ...rest } = options;
  const {
    resolve = resolveEndpoints,
    onEvent,
    mtu = config.interface.mtu,
    suite: chosen,
    ...settings
  } = rest;
  const closers: (() => void | Promise<void>)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const suite = chosen ?? (await fastestSuite(systemClock));
    const opened = await openCrng({ vmgenid: given, keystream: keystreamOf(suite), onEvent: onCrngEvent });
    const { crng, vmgenid } = opened;
    closers.push(() => opened.close());
    const { keyMemory, report } = openKeyMemory();
    const clock = new ForkClock({ vmgenid });
    closers.push(() => clock.close());

    const udp = await UdpTransport.open({ port: config.interface.listenPort ?? 0 });
    closers.push(() => udp.close());
    const { listenWebSocket } = config.interface;
    const webSockets = listenWebSocket && (await WebSocketListener.listen(listenWebSocket));
    if (webSockets) closers.push(() => webSockets.close());
    // Peers behind one URL share one connection: an endpoint names its dialer.
    const dialers = new Map<string, WebSocketDialer>();
    const peers = await Promise.all(config.peers.map(peer => toPeer(peer, crng, dialers, resolve)));
    const transports: Transport[] = [udp, ...dialers.values()];
    if (webSockets) transports.push(webSockets);

    const names = new EndpointRefresher({
      resolve,
      now: systemClock.now,
      after: unreferencedTimer,
      onResolved: (publicKey, endpoint) => tunnel.setPeer({ publicKey, endpoint }),
      onFailed: (_, error) => onTransportError?.(error),
    });
    const tunnel: EventLoopTunnel = new EventLoopTunnel({
      privateKey: config.interface.privateKey,
      mtu,
      ...settings,
      suite,
      crng,
      vmgenid,
      clock,
      keyMemory,
      transports,
      peers,
      onPacket,
      onTransportError,
      onEvent: event => {
        if ('peer' in event) names.hear(event);
        onEvent?.(event);
      },
    });
    closers.push(() => tunnel.close());
    closers.push(() => names.close());
    for (const { publicKey, endpoint } of config.peers) {
      if (endpoint && 'host' in endpoint) names.watchResolved(publicKey, endpoint);
    }
    for (const dialer of dialers.values()) dialer.start();
    return { tunnel, udp, webSockets, vmgenid, crng, keyMemory: report, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function toPeer(
  config: PeerConfig,
  crng: Crng,
  dialers: Map<string, WebSocketDialer>,
  resolve: NonNullable<CreateTunnelOptions['resolve']>,
): Promise<PeerOptions> {
  const { publicKey, presharedKey, allowedIps, persistentKeepalive, endpoint: where } = config;
  let endpoint: PeerOptions['endpoint'];
  if (where && 'url' in where) {
    const dialer = dialers.get(where.url) ?? new WebSocketDialer(where.url, { randomness: crng });
    dialers.set(where.url, dialer);
    endpoint = dialer.endpoint;
  } else if (where) {
    [endpoint] = await resolve(where.host, where.port);
  }
  return { publicKey, allowedIps, presharedKey, persistentKeepalive, endpoint };
}

/** A wait that does not keep the process alive. */
function unreferencedTimer(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, ms).unref();
  return () => clearTimeout(timer);
}
