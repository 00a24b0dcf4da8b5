// `wireonce peers`: whom the gateway of an interface knows, beside those that `wg` has set.
// Promises: reads the command line, no more.
// Read on: peers/ (each of them); docs/configuration.md "Peers of a gateway".

import { type Command, InvalidArgumentError } from 'commander';
import type { AllowedIp } from '../sessions/allowed-ips.js';
import { BadValue, readRange, words } from '../tunnel/config/config-values.js';
import { readDuration } from '../tunnel/config/enrolment-config.js';
import { decodeKey } from '../tunnel/keys.js';
import { CliError } from './errors.js';
import { INTERFACE_NAME_RULE, isInterfaceName } from './interface-name.js';
import type { CliIo, Finish } from './io.js';
import {
  type AddOptions,
  type ExpireOptions,
  type RemoveOptions,
  addPeer,
  expire,
  removePeers,
} from './peers/change.js';
import { importPeers } from './peers/import.js';
import { type ListOptions, listPeers } from './peers/list.js';
import type { PlaceOptions } from './peers/place.js';

export function registerPeers(program: Command, io: CliIo, finish: Finish): void {
  const group = program
    .command('peers')
    .description('whom the gateway of an interface knows: who may be a peer when it calls');
  const command = (name: string, description: string) =>
    group
      .command(name)
      .description(description)
      .argument('<interface>', 'the name of an interface', interfaceName)
      .option('--store <path>', 'where its peers are kept (default: /var/lib/wireonce/INTERFACE.peers)');

  command('add', 'add a peer, or change what is said of one that is there')
    .argument('<key>', 'its public key', publicKey)
    .option('--allowed-ips <ranges>', 'its inner addresses, parted by commas; a new peer has some', ranges)
    .option('--preshared-key-file <file>', 'the file with the preshared key')
    .action(async (name: string, key: Uint8Array, options: AddOptions) =>
      finish(await addPeer(io, name, key, options)),
    );
  command('remove', 'take peers out; one that has enrolled is revoked: it cannot enrol again')
    .argument('[keys...]', 'their public keys', (text: string, before?: Uint8Array[]) => [
      ...(before ?? []),
      publicKey(text),
    ])
    .option(
      '--secret <name>',
      'instead: all that have enrolled under this secret, by the name that list --json shows',
    )
    .option('--forget', 'leave no revocation, and take out those that are there')
    .action(async (name: string, keys: Uint8Array[], options: RemoveOptions) => {
      if (keys.length > 0 === (options.secret !== undefined))
        throw new CliError(
          'ERR_CLI_USAGE',
          'remove wants the keys of peers, or --secret with the name of one',
        );
      finish(await removePeers(io, name, keys, options));
    });
  command('list', 'print them')
    .option('--json', 'print JSON, a line for each')
    .option('--preshared-keys', 'print preshared keys too: what import takes')
    .action(async (name: string, options: ListOptions) => finish(await listPeers(io, name, options)));
  command(
    'import',
    'add or change peers by a file: JSON, a line for each, or CSV whose first line is publicKey,allowedIps',
  )
    .argument('[file]', 'default: standard input')
    .action(async (name: string, file: string | undefined, options: PlaceOptions) =>
      finish(await importPeers(io, name, file, options)),
    );
  command('expire', 'take out who has enrolled and was not seen for long; revocations stay')
    .requiredOption('--older-than <time>', 'such as 30d, 12h, 90m', duration)
    .option('--added', 'those too that were added by add and import')
    .action(async (name: string, options: ExpireOptions) => finish(await expire(io, name, options)));
}

/** A reader of a word for commander, by one that throws a sentence. */
function reader<T>(read: (text: string) => T): (text: string) => T {
  return text => {
    try {
      return read(text);
    } catch (error) {
      throw new InvalidArgumentError(`${(error as Error).message}.`);
    }
  };
}

const publicKey = reader(decodeKey);

const ranges = reader((text): AllowedIp[] => words(text).map(readRange));

const duration = reader(text => {
  const ms = readDuration(text);
  if (ms === Number.POSITIVE_INFINITY) throw new BadValue('a time is wanted');
  return ms;
});

const interfaceName = reader(text => {
  if (isInterfaceName(text)) return text;
  throw new BadValue(`The name of an interface is wanted: ${INTERFACE_NAME_RULE}`);
});
