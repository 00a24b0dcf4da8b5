// A device in memory behind the UAPI, for tests: applies changes as a device would, in the order they are given.

import { formatPrefix } from '../../../../tunnel/daemon/uapi/values.js';
import type {
  UapiBackend,
  UapiChanges,
  UapiPeerState,
  UapiState,
} from '../../../../tunnel/daemon/uapi/types.js';

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** 32 bytes of one value. */
export const key = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);

interface Peer extends Omit<UapiPeerState, 'allowedIps'> {
  readonly allowedIps: Map<string, { ip: Uint8Array; prefix: number }>;
}

export class MemoryBackend implements UapiBackend {
  privateKey: Uint8Array | undefined;
  listenPort = 0;
  fwMark = 0;
  peers = new Map<string, Peer>();
  /** How many sets were applied. */
  sets = 0;

  get(): UapiState {
    const { listenPort, fwMark } = this;
    // Keys are erased when they were sent: copies.
    const privateKey = this.privateKey?.slice();
    const peers = Array.from(this.peers.values(), peer => ({
      ...peer,
      presharedKey: peer.presharedKey.slice(),
      allowedIps: [...peer.allowedIps.values()],
    }));
    return { privateKey, listenPort, fwMark, peers };
  }

  set(changes: UapiChanges): void {
    this.sets += 1;
    // Keys are erased after the call: what stays is copied.
    if (changes.privateKey) this.privateKey = changes.privateKey.slice();
    this.listenPort = changes.listenPort ?? this.listenPort;
    this.fwMark = changes.fwMark ?? this.fwMark;
    if (changes.replacePeers) this.peers.clear();
    for (const change of changes.peers) {
      const id = hex(change.publicKey);
      const known = this.peers.get(id);
      if (change.remove) this.peers.delete(id);
      if (change.remove || (change.updateOnly && !known)) continue;
      const { endpoint } = change;
      const peer: Peer = {
        publicKey: change.publicKey.slice(),
        presharedKey: (change.presharedKey ?? known?.presharedKey ?? key(0)).slice(),
        persistentKeepalive: change.persistentKeepalive ?? known?.persistentKeepalive ?? 0,
        allowedIps: change.replaceAllowedIps ? new Map() : (known?.allowedIps ?? new Map()),
        endpoint: endpoint ? textOf(endpoint) : known?.endpoint,
        lastHandshakeAt: known?.lastHandshakeAt ?? 0,
        rxBytes: known?.rxBytes ?? 0,
        txBytes: known?.txBytes ?? 0,
      };
      this.peers.set(id, peer);
      for (const { ip, prefix, remove } of change.allowedIps) {
        const range = formatPrefix({ ip, prefix });
        if (remove) {
          peer.allowedIps.delete(range);
          continue;
        }
        for (const other of this.peers.values()) other.allowedIps.delete(range);
        peer.allowedIps.set(range, { ip, prefix });
      }
    }
  }
}

function textOf(endpoint: NonNullable<UapiChanges['peers'][number]['endpoint']>): string {
  if ('url' in endpoint) return endpoint.url;
  const ip = formatPrefix({ ip: endpoint.ip, prefix: 0 }).slice(0, -2);
  const scope = endpoint.scope === undefined ? '' : `%${endpoint.scope}`;
  return endpoint.ip.length === 4 ? `${ip}:${endpoint.port}` : `[${ip}${scope}]:${endpoint.port}`;
}
