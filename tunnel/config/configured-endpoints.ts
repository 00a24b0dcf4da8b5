// Endpoints that a daemon's own file gives to peers, put into what `wg` sets: URLs, which `wg` cannot say, and names,
// which `wg` resolves once and forgets.
// Promises: an entry counts from the moment on in which `wg` adds that peer, and until `wg` says otherwise; a name that
// does not resolve keeps nobody waiting.
// Read on: daemon-config.ts (the entries), endpoint-refresher.ts (the names).

import type { DaemonPeer } from './daemon-config.js';
import { EndpointRefresher, type EndpointRefresherOptions } from './endpoint-refresher.js';
import type { UdpEndpoint } from '../endpoint.js';
import type { TunnelError } from '../errors.js';
import type { DrillAnswer } from '../daemon/drill.js';
import type { DeviceStatus } from '../daemon/status.js';
import { oneByOne } from '../one-by-one.js';
import type { UapiBackend, UapiChanges, UapiPeerChange, UapiState } from '../daemon/uapi/types.js';

export interface ConfiguredEndpointsOptions
  extends Pick<EndpointRefresherOptions, 'resolve' | 'now' | 'after'> {
  readonly peers: readonly DaemonPeer[];
  /** A name does not resolve, or the device refused where it leads. It is tried again. */
  readonly onTrouble: (error: TunnelError) => void;
}

export class ConfiguredEndpoints implements UapiBackend {
  readonly #device: Required<UapiBackend>;
  readonly #entries: ReadonlyMap<string, DaemonPeer>;
  readonly #refresher: EndpointRefresher;
  /** The peers that the device has. */
  #known = new Set<string>();
  /** Changes to the device. */
  readonly #inTurn = oneByOne();

  /** `device` has no peers yet. */
  constructor(device: Required<UapiBackend>, options: ConfiguredEndpointsOptions) {
    const { peers, onTrouble, resolve, now, after } = options;
    this.#device = device;
    this.#entries = new Map(peers.map(peer => [idOf(peer.publicKey), peer]));
    this.#refresher = new EndpointRefresher({
      resolve,
      now,
      after,
      onResolved: (publicKey, endpoint) => {
        this.#inTurn(() => this.#device.set(found(publicKey, endpoint))).catch(onTrouble);
      },
      onFailed: (_, error) => onTrouble(error),
    });
  }

  async get(): Promise<UapiState> {
    return this.#device.get();
  }

  async status(): Promise<DeviceStatus> {
    return this.#device.status();
  }

  async drill(): Promise<DrillAnswer> {
    return this.#device.drill();
  }

  async set(changes: UapiChanges): Promise<void> {
    await this.#inTurn(async () => {
      const known = new Set(changes.replacePeers ? [] : this.#known);
      // What the entries add, and what becomes of the names when the device has taken it all.
      const afterwards: (() => void)[] = [];
      const peers = changes.peers.map(change => this.#complete(change, known, afterwards));
      await this.#device.set({ ...changes, peers });
      if (changes.replacePeers)
        for (const { publicKey } of this.#entries.values()) this.#refresher.forget(publicKey);
      for (const each of afterwards) each();
      this.#known = known;
    });
  }

  /** Call with every event of the device that names a peer. */
  hear(event: Parameters<EndpointRefresher['hear']>[0]): void {
    this.#refresher.hear(event);
  }

  close(): void {
    this.#refresher.close();
  }

  /** `known` becomes what it is after this change. */
  #complete(change: UapiPeerChange, known: Set<string>, afterwards: (() => void)[]): UapiPeerChange {
    const id = idOf(change.publicKey);
    const wasKnown = known.has(id);
    if (change.remove) known.delete(id);
    else if (!change.updateOnly) known.add(id);
    const entry = this.#entries.get(id);
    if (!entry) return change;
    const { publicKey, endpoint } = entry;
    if (change.remove || change.endpoint) {
      afterwards.push(() => this.#refresher.forget(publicKey));
      return change;
    }
    if (wasKnown || change.updateOnly) return change;
    if ('url' in endpoint) return { ...change, endpoint };
    afterwards.push(() => this.#refresher.watch(publicKey, endpoint));
    return change;
  }
}

/** The change that tells a device where a peer is. */
function found(publicKey: Uint8Array, { ip, port, zone }: UdpEndpoint): UapiChanges {
  const endpoint = { ip, port, ...(zone !== '' && { scope: zone }) };
  const change = {
    publicKey,
    remove: false,
    updateOnly: true,
    replaceAllowedIps: false,
    allowedIps: [],
    endpoint,
  };
  return { replacePeers: false, peers: [change] };
}

function idOf(publicKey: Uint8Array): string {
  return publicKey.join();
}
