// Where the peers of an interface are kept, and the daemon that has to hear what was changed there.
// Promises: who was taken out has no session any more when the command has ended well.
// Read on: gateway/stores/file.ts; tunnel/daemon/uapi/client.ts.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AddressTakenError, GatewayError } from '../../gateway/errors.js';
import { FilePeerStore } from '../../gateway/stores/file.js';
import { UapiClient } from '../../tunnel/daemon/uapi/client.js';
import { wipeKeys } from '../../tunnel/daemon/uapi/parse.js';
import { SOCKET_FOLDER, socketPath } from '../../tunnel/daemon/uapi/socket-path.js';
import type { UapiPeerState } from '../../tunnel/daemon/uapi/types.js';
import { TunnelError } from '../../tunnel/errors.js';
import { encodeKey } from '../../tunnel/keys.js';
import { parseDaemonConfig } from '../../tunnel/config/daemon-config.js';
import { defaultStorePath } from '../../tunnel/config/enrolment-config.js';
import { rangeText } from '../../tunnel/peer-store/record-text.js';
import { isServiceUrl } from '../../tunnel/peer-store/open.js';
import { CliError } from '../errors.js';
import { unreadable } from '../trouble.js';

export interface PlaceOptions {
  /** The path of the store. Default: what the configuration of the interface says. */
  readonly store?: string;
  /** Where the sockets are. */
  readonly folder?: string;
  /** Where the configurations are. */
  readonly configFolder?: string;
  /** Wall-clock milliseconds. */
  readonly now?: () => number;
}

/**
 * Opens the store of an interface for as long as `work` takes. `create`: make it where there is none. Rejects as
 * `FilePeerStore.open` does, and with `ERR_CLI_INPUT` where peers are known to a service, or there is no store.
 */
export async function withStore<T>(
  name: string,
  options: PlaceOptions,
  create: boolean,
  work: (store: FilePeerStore) => Promise<T>,
): Promise<T> {
  const place = options.store ?? configuredStore(name, options);
  if (isServiceUrl(place))
    throw new CliError(
      'ERR_CLI_INPUT',
      `the peers of ${name} are known to a service: they are changed there`,
    );
  const store = await FilePeerStore.open(place, { create }).catch((error: Error) => {
    const isMissing = (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
    throw isMissing && !create ? noStore(name, place, error) : error;
  });
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

function noStore(name: string, place: string, cause: unknown): CliError {
  const hints = [
    'a gateway makes it when it starts, or the first: wireonce peers add',
    `peers that wg has set are in no store: wg show ${name}`,
  ];
  return new CliError('ERR_CLI_INPUT', `${place}: there is no store of peers of ${name}`, { cause, hints });
}

function configuredStore(name: string, { configFolder = '/etc/wireonce' }: PlaceOptions): string {
  const path = join(configFolder, `${name}.conf`);
  const text = existsSync(path) ? readText(path) : '';
  return parseDaemonConfig(text, path).settings.enrolment?.store ?? defaultStorePath(name);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** The peers that the device has now; none where no daemon runs. Throws `ERR_CLI_DAEMON`. */
export async function loadedPeers(name: string, options: PlaceOptions): Promise<readonly UapiPeerState[]> {
  return (await ask(name, options, devicePeers)) ?? [];
}

/**
 * Takes peers out of the running device, as far as it has them, and makes it ask anew for whom it has refused. Where no
 * daemon runs there is nothing to do. Throws `ERR_CLI_DAEMON`.
 */
export async function tellDaemon(
  name: string,
  options: PlaceOptions,
  changed: readonly Uint8Array[],
): Promise<void> {
  const keys = new Set(changed.map(encodeKey));
  await ask(name, options, async client => {
    const loaded = keys.size === 0 ? [] : await devicePeers(client);
    const peers = loaded
      .filter(({ publicKey }) => keys.has(encodeKey(publicKey)))
      .map(({ publicKey }) => ({
        publicKey,
        remove: true,
        updateOnly: false,
        replaceAllowedIps: false,
        allowedIps: [],
      }));
    await client.set({ replacePeers: false, forgetRefusals: true, peers });
  });
}

/** Without their keys. */
async function devicePeers(client: UapiClient): Promise<readonly UapiPeerState[]> {
  const state = await client.get();
  wipeKeys(state);
  return state.peers;
}

async function ask<T>(
  name: string,
  { folder = SOCKET_FOLDER }: PlaceOptions,
  question: (client: UapiClient) => Promise<T>,
): Promise<T | undefined> {
  try {
    return await question(new UapiClient(socketPath(name, folder)));
  } catch (error) {
    if (isNobody(error)) return undefined;
    const problem = `the store is changed, but the daemon of ${name} does not know: ${(error as Error).message}`;
    const hints = [`who was removed may stay connected until it does: try again, or start the daemon anew`];
    throw new CliError('ERR_CLI_DAEMON', problem, { cause: error, hints });
  }
}

function isNobody(error: unknown): boolean {
  const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
  return (
    error instanceof TunnelError &&
    error.code === 'ERR_UAPI_CONNECT' &&
    (code === 'ENOENT' || code === 'ECONNREFUSED')
  );
}

/** What an error says that is about one peer alone; `undefined` for every other. */
export function peerProblem(error: unknown): string | undefined {
  if (error instanceof AddressTakenError)
    return `${rangeText(error.range)} belongs to peer ${encodeKey(error.owner)}`;
  return error instanceof GatewayError && error.code === 'ERR_PEER_RECORD' ? error.message : undefined;
}
