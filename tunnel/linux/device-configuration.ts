// What the UAPI sets and shows, on a device and its UDP socket.
// Promises: what can fail (a port, a mark, an interface's name) is done before anything else is changed, so that a
// refused request changes nothing; while the interface is down there is no socket.
// Read on: wireguard-go device/uapi.go IpcSetOperation(), device/device.go upLocked(); Linux netlink.c wg_set_device().

import type { Device, PeerInfo } from '../../sessions/device.js';
import type { Endpoint } from '../../sessions/ports.js';
import { TunnelError } from '../errors.js';
import { RelayEndpoint, RelayTable } from '../daemon/relay-endpoint.js';
import type {
  UapiChanges,
  UapiEndpoint,
  UapiPeerChange,
  UapiPeerState,
  UapiState,
} from '../daemon/uapi/types.js';
import type { Libc } from './libc.js';
import { LinuxUdpEndpoint } from './net/udp-endpoint.js';
import { type LinuxUdpOptions, LinuxUdpSocket } from './net/udp.js';

/** A peer's change with its endpoint resolved. */
interface ReadyChange {
  readonly change: UapiPeerChange;
  readonly endpoint: Endpoint | undefined;
}

export class DeviceConfiguration {
  readonly relays = new RelayTable();
  readonly #device: Device;
  readonly #libc: Libc;
  readonly #socketOptions: LinuxUdpOptions;
  #socket: LinuxUdpSocket | undefined;
  #listenPort = 0;
  #fwMark = 0;

  /** `socketOptions`: what stays the same from socket to socket. */
  constructor(device: Device, libc: Libc, socketOptions: LinuxUdpOptions) {
    this.#device = device;
    this.#libc = libc;
    this.#socketOptions = socketOptions;
    device.paused = true;
  }

  /** None while the interface is down. */
  get socket(): LinuxUdpSocket | undefined {
    return this.#socket;
  }

  /** Of the socket, or the one to be bound; 0 for any. */
  get listenPort(): number {
    return this.#listenPort;
  }

  /** Binds. Throws `ERR_UDP_BIND` when the port is taken, and may be tried again. */
  up(): void {
    if (this.#socket) return;
    this.#socket = this.#bind(this.#listenPort, this.#fwMark);
    this.#listenPort = this.#socket.port;
    this.#device.paused = false;
  }

  down(): void {
    this.#device.paused = true;
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** Call after `up`: keepalives begin. */
  greetPeers(): void {
    for (const { publicKey, persistentKeepalive } of this.#device.peers()) {
      if (persistentKeepalive > 0) this.#device.sendKeepalive(publicKey);
    }
  }

  /** All or nothing. Throws `TunnelError` with the system's number. */
  apply(changes: UapiChanges): void {
    const peers = changes.peers.map(change => ({ change, endpoint: this.#endpoint(change.endpoint) }));
    this.#applySocket(changes);
    const device = this.#device;
    if (changes.privateKey) device.setPrivateKey(changes.privateKey);
    if (changes.replacePeers) for (const { publicKey } of device.peers()) device.removePeer(publicKey);
    for (const peer of peers) this.#applyPeer(peer);
    if (changes.forgetRefusals) device.forgetRefusals();
  }

  /** The keys in it are copies. */
  state(): UapiState {
    const device = this.#device;
    return {
      privateKey: device.exportPrivateKey(),
      listenPort: this.#listenPort,
      fwMark: this.#fwMark,
      peers: this.peers().map((peer): UapiPeerState => {
        const { publicKey, endpoint, persistentKeepalive, allowedIps, lastHandshakeAt, rxBytes, txBytes } =
          peer;
        return {
          publicKey,
          presharedKey: device.exportPresharedKey(publicKey),
          endpoint: endpoint?.toString(),
          persistentKeepalive,
          allowedIps,
          lastHandshakeAt,
          rxBytes,
          txBytes,
        };
      }),
    };
  }

  /** Those that an operator sees: strangers who have proven nothing are none. */
  peers(): PeerInfo[] {
    return this.#device.peers().filter(({ origin }) => origin !== 'provisional');
  }

  relayUrls(): string[] {
    const urls = new Set<string>();
    for (const { endpoint } of this.#device.peers()) {
      if (endpoint instanceof RelayEndpoint && endpoint.url !== undefined) urls.add(endpoint.url);
    }
    return [...urls];
  }

  #applySocket({ listenPort = this.#listenPort, fwMark = this.#fwMark }: UapiChanges): void {
    if (!this.#socket) {
      this.#listenPort = listenPort;
    } else if (listenPort !== this.#listenPort) {
      // The new one first: when its port is taken the old one stays.
      const socket = this.#bind(listenPort, fwMark);
      this.#socket.close();
      this.#socket = socket;
      this.#listenPort = socket.port;
    } else if (fwMark !== this.#fwMark) {
      this.#socket.setMark(fwMark);
    }
    this.#fwMark = fwMark;
  }

  #bind(port: number, mark: number): LinuxUdpSocket {
    return LinuxUdpSocket.open(this.#libc, { ...this.#socketOptions, port, mark });
  }

  #applyPeer({ change, endpoint }: ReadyChange): void {
    const device = this.#device;
    const { publicKey, presharedKey, persistentKeepalive, replaceAllowedIps } = change;
    if (change.remove) {
      device.removePeer(publicKey);
      return;
    }
    if (change.updateOnly && !device.peer(publicKey)) return;
    // Ranges are added and taken away in the order of the request: runs of one kind go together.
    const { allowedIps } = change;
    let end = allowedIps.findIndex(({ remove }) => remove);
    if (end < 0) end = allowedIps.length;
    const added = allowedIps.slice(0, end);
    device.setPeer({
      publicKey,
      presharedKey,
      endpoint,
      persistentKeepalive,
      allowedIps: added,
      replaceAllowedIps,
    });
    // Our own key: ignored.
    if (end < allowedIps.length && !device.peer(publicKey)) return;
    for (const { ip, prefix, remove } of allowedIps.slice(end)) {
      if (remove) device.removeAllowedIp(publicKey, { ip, prefix });
      else device.setPeer({ publicKey, allowedIps: [{ ip, prefix }] });
    }
  }

  #endpoint(endpoint: UapiEndpoint | undefined): Endpoint | undefined {
    if (!endpoint) return undefined;
    if ('url' in endpoint) return this.relays.dialled(endpoint.url);
    return LinuxUdpEndpoint.of(endpoint.ip, endpoint.port, this.#scopeId(endpoint.scope));
  }

  /** An interface by number or by name, in the namespace where the sockets are. */
  #scopeId(scope: string | undefined): number {
    if (scope === undefined) return 0;
    const index = /^\d+$/.test(scope) ? Number(scope) : this.#libc.ifNameToIndex(scope);
    if (index > 0 && index <= 0x7fff_ffff) return index;
    throw new TunnelError('ERR_ENDPOINT', 'endpoint: there is no interface of that scope', {
      errno: 'EINVAL',
    });
  }
}
