// `wireonce enrol`: the secret of an enrolment, and what is derived from it, for a client that does not do it by itself.
// Promises: nothing is asked of anybody; the secret is not printed by what derives from it.
// Read on: gateway/derive.ts; docs/configuration.md "Enrolment".

import type { Command } from 'commander';
import { deriveAddress, derivePresharedKey } from '../gateway/index.js';
import { BadValue } from '../tunnel/config/config-values.js';
import { readPrefix } from '../tunnel/config/enrolment-config.js';
import { readEnrolmentSecret } from '../tunnel/config/enrolment-secret.js';
import { formatIp } from '../tunnel/ip.js';
import { decodeKey, encodeKey } from '../tunnel/keys.js';
import { CliError } from './errors.js';
import { type CliIo, type Finish, printJson, printLine } from './io.js';
import { genpsk } from './keys.js';
import { unreadable } from './trouble.js';

export interface DeriveOptions {
  readonly secretFile: string;
  readonly prefix: string;
  readonly gateway: string;
  readonly publicKey: string;
  readonly json?: boolean;
}

export function registerEnrol(program: Command, io: CliIo, finish: Finish): void {
  const group = program
    .command('enrol')
    .description('keys and addresses of clones: the secret, and what is derived from it');
  group
    .command('secret')
    .description('print a new secret, for the clones and their gateway')
    .addHelpText('after', '\nExample: (umask 077; wireonce enrol secret > /etc/wireonce/enrolment.secret)')
    .action(async () => finish(await genpsk(io)));
  group
    .command('derive')
    .description('print the preshared key and the address of one client, for any WireGuard')
    .requiredOption('--secret-file <file>', 'the secret')
    .requiredOption('--prefix <prefix>', 'the /64 that all addresses are in')
    .requiredOption('--gateway <key>', 'the public key of the gateway')
    .requiredOption('--public-key <key>', 'the public key of the client')
    .option('--json', 'print JSON')
    .action((options: DeriveOptions) => finish(derive(io, options)));
}

/** Throws `ERR_CLI_USAGE` for a value that is none, `ERR_CLI_INPUT` for the file. */
export function derive(io: CliIo, options: DeriveOptions): number {
  const prefix = read('--prefix', () => readPrefix(options.prefix));
  const gateway = read('--gateway', () => decodeKey(options.gateway));
  const publicKey = read('--public-key', () => decodeKey(options.publicKey));
  const secret = readSecret(options.secretFile);
  const presharedKey = derivePresharedKey(secret, gateway, publicKey);
  try {
    const text = encodeKey(presharedKey);
    const address = formatIp(deriveAddress(prefix, publicKey));
    if (options.json) printJson(io.stdout, { presharedKey: text, address });
    else {
      printLine(io.stdout, `PresharedKey = ${text}`);
      printLine(io.stdout, `Address = ${address}/64`);
    }
    return 0;
  } finally {
    secret.fill(0);
    presharedKey.fill(0);
  }
}

function readSecret(path: string): Uint8Array {
  try {
    return readEnrolmentSecret(path);
  } catch (error) {
    if (error instanceof BadValue) throw new CliError('ERR_CLI_INPUT', error.message);
    throw unreadable(path, error);
  }
}

function read<T>(flag: string, reader: () => T): T {
  try {
    return reader();
  } catch (error) {
    throw new CliError('ERR_CLI_USAGE', `${flag}: ${(error as Error).message}`);
  }
}
