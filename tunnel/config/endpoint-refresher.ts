// Names of endpoints, resolved when a peer is added and again while it stays silent: a peer may have moved.
// Promises: no name is asked for more often than RETRY_MS; a peer that answers is left alone; where a name has several
// addresses, each is tried in turn. No clock, timer or resolver but those given.
// Read on: wireguard-tools contrib/reresolve-dns (the same from outside); tunnel/config/resolve.ts.

import { ipVersion } from '../../native/ip-version.js';
import type { DeviceEvent } from '../../sessions/events.js';
import type { UdpEndpoint } from '../endpoint.js';
import type { TunnelError } from '../errors.js';

/** An initiation with this number has gone unanswered for two times REKEY_TIMEOUT: 10 seconds. */
export const SILENT_ATTEMPT = 2;
/** Between two questions for one peer's name. Milliseconds. */
export const RETRY_MS = 10_000;

/** A host by its name, and a port. */
export interface NamedHost {
  readonly host: string;
  readonly port: number;
}

/** Whom a refresher looks after, and how often. */
export interface EndpointRefresherOptions {
  /** All addresses of a name, in the order to try them. Throws `ERR_ENDPOINT_UNRESOLVED`. */
  readonly resolve: (host: string, port: number) => Promise<readonly UdpEndpoint[]>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Calls back after so many milliseconds; returns what ends the wait. */
  readonly after: (ms: number, callback: () => void) => () => void;
  /** The peer is to be looked for there from now on. Must not throw. */
  readonly onResolved: (publicKey: Uint8Array, endpoint: UdpEndpoint) => void;
  /** Hears that a name could not be looked up. It is tried again. */
  readonly onFailed?: (publicKey: Uint8Array, error: TunnelError) => void;
}

interface Watched {
  readonly publicKey: Uint8Array;
  readonly at: NamedHost;
  /** Which of the name's addresses comes next. */
  turn: number;
  askedAt: number;
  asking: boolean;
  cancel: (() => void) | undefined;
}

/** What it needs to know of an event of a device. */
type Heard = Pick<Extract<DeviceEvent, { peer: Uint8Array }>, 'type' | 'peer'> & {
  readonly attempt?: number;
};

/** Looks the names of silent peers up again. */
export class EndpointRefresher {
  readonly #options: EndpointRefresherOptions;
  readonly #watched = new Map<string, Watched>();

  constructor(options: EndpointRefresherOptions) {
    this.#options = options;
  }

  /** Resolves the name of a peer now, until that works, and again whenever the peer stays silent. */
  watch(publicKey: Uint8Array, at: NamedHost): void {
    void this.#ask(this.#add(publicKey, at, 0));
  }

  /** The same for a peer that looks for the first of its name's addresses already. */
  watchResolved(publicKey: Uint8Array, at: NamedHost): void {
    this.#add(publicKey, at, 1);
  }

  /** Call when a peer is removed, or was given another endpoint by hand. */
  forget(publicKey: Uint8Array): void {
    const id = idOf(publicKey);
    this.#watched.get(id)?.cancel?.();
    this.#watched.delete(id);
  }

  /** Call with every event of the device that names a peer. */
  hear(event: Heard): void {
    const isSilent =
      event.type === 'handshakeGivenUp' ||
      (event.type === 'handshakeInitiated' && (event.attempt ?? 0) >= SILENT_ATTEMPT);
    if (!isSilent) return;
    const watched = this.#watched.get(idOf(event.peer));
    // An address stays what it is.
    if (!watched || ipVersion(watched.at.host) !== 0) return;
    if (watched.cancel || this.#options.now() - watched.askedAt < RETRY_MS) return;
    void this.#ask(watched);
  }

  /** Ends all waits. A question that is under way has no effect any more. */
  close(): void {
    for (const { cancel } of this.#watched.values()) cancel?.();
    this.#watched.clear();
  }

  #add(publicKey: Uint8Array, at: NamedHost, turn: number): Watched {
    this.forget(publicKey);
    const askedAt = this.#options.now();
    const watched: Watched = { publicKey, at, turn, askedAt, asking: false, cancel: undefined };
    this.#watched.set(idOf(publicKey), watched);
    return watched;
  }

  async #ask(watched: Watched): Promise<void> {
    if (watched.asking) return;
    const { resolve, now, after, onResolved, onFailed } = this.#options;
    watched.asking = true;
    watched.askedAt = now();
    const { publicKey, at } = watched;
    const isStillMeant = () => this.#watched.get(idOf(publicKey)) === watched;
    try {
      const found = await resolve(at.host, at.port);
      if (isStillMeant()) onResolved(publicKey, found[watched.turn++ % found.length]);
    } catch (error) {
      if (!isStillMeant()) return;
      onFailed?.(publicKey, error as TunnelError);
      watched.cancel = after(RETRY_MS, () => {
        watched.cancel = undefined;
        void this.#ask(watched);
      });
    } finally {
      watched.asking = false;
    }
  }
}

function idOf(publicKey: Uint8Array): string {
  return publicKey.join();
}
