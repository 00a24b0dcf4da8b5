// `genkey`, `pubkey` and `genpsk`, as `wg` has them.
// Promises: secrets come from our own generator, which knows of forks; the same checks and warnings as `wg`.
// Read on: wireguard-tools src/genkey.c, src/pubkey.c.

import { accessSync, constants, fstatSync } from 'node:fs';
import type { Command } from 'commander';
import type { Crng } from '../crng/crng.js';
import { nobleKeystream } from '../crng/keystream.js';
import { decodeKey, encodeKey, KEY_BYTES } from '../tunnel/keys.js';
import { openCrng } from '../tunnel/loop/open-crng.js';
import { VmGenId } from '../vmgenid/driver.js';
import { CliError } from './errors.js';
import { type CliIo, type Finish, printLine, readStdin } from './io.js';
import { printWarning } from './trouble.js';

const KEY_CHARACTERS = 44;
/** Room for whatever spaces may follow a key. */
const STDIN_MAX = 4_096;
const OTHERS_MAY_ACCESS = 0o007;

export function registerGenkey(program: Command, io: CliIo, finish: Finish): void {
  program
    .command('genkey')
    .description('print a new private key')
    .action(async () => finish(await genkey(io)));
}

export function registerPubkey(program: Command, io: CliIo, finish: Finish): void {
  program
    .command('pubkey')
    .description('read a private key from standard input and print its public key')
    .addHelpText('after', '\nExample: wireonce genkey | tee private.key | wireonce pubkey > public.key')
    .action(async () => finish(await pubkey(io)));
}

export function registerGenpsk(program: Command, io: CliIo, finish: Finish): void {
  program
    .command('genpsk')
    .description('print a new preshared key')
    .action(async () => finish(await genpsk(io)));
}

/** Prints a clamped X25519 private key in base64. Throws what the generator throws. */
export function genkey(io: CliIo): Promise<number> {
  return printSecret(io, crng => crng.x25519PrivateKey());
}

/** Prints 32 random bytes in base64. Throws what the generator throws. */
export function genpsk(io: CliIo): Promise<number> {
  return printSecret(io, crng => crng.bytes(KEY_BYTES));
}

/** Prints the public key of the private key on standard input. Throws `ERR_CLI_INPUT`, in the words of `wg`. */
export async function pubkey(io: CliIo): Promise<number> {
  const text = (await readStdin(io, STDIN_MAX)).toString('latin1');
  if (text.length < KEY_CHARACTERS) throw badKey();
  // As `wg`: white space and zero bytes may follow, nothing may stand before.
  if (/[^\0\t-\r ]/.test(text.slice(KEY_CHARACTERS))) {
    throw new CliError('ERR_CLI_INPUT', 'Trailing characters found after key');
  }
  const { readableInput } = await import('./readable-secret.js');
  const exposed = readableInput(io.stdin, 'a private key');
  if (exposed) printWarning(io, exposed);
  let privateKey: Uint8Array;
  try {
    privateKey = decodeKey(text.slice(0, KEY_CHARACTERS));
  } catch {
    throw badKey();
  }
  const { publicKeyOf } = await import('../protocol/suite.js');
  const { nobleSuite } = await import('../protocol/suites/noble.js');
  const publicKey = publicKeyOf(nobleSuite, privateKey);
  privateKey.fill(0);
  printLine(io.stdout, encodeKey(publicKey));
  return 0;
}

async function printSecret(io: CliIo, draw: (crng: Crng) => Uint8Array): Promise<number> {
  warnIfReadable(io);
  const vmgenid = await openImmediate();
  try {
    // This process ends at once, and a faster cipher takes longer to load.
    const { crng, close } = await openCrng({ vmgenid, keystream: nobleKeystream, healOpenSsl: false });
    try {
      const secret = draw(crng);
      printLine(io.stdout, encodeKey(secret));
      secret.fill(0);
      return 0;
    } finally {
      await close();
    }
  } finally {
    await vmgenid.close();
  }
}

/** Through these alone a fork can be seen at once, and what tells of it later comes too late for one draw. */
const IMMEDIATE = ['/dev/vmclock0', '/dev/mem'];

async function openImmediate(): Promise<VmGenId> {
  const sources = IMMEDIATE.some(isReadable)
    ? (await import('../vmgenid/detect.js')).openImmediateSources()
    : [];
  const vmgenid = new VmGenId(sources);
  await vmgenid.start();
  return vmgenid;
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function warnIfReadable({ stdout, stderr }: CliIo): void {
  if (typeof stdout.fd !== 'number') return;
  const stat = fstatSync(stdout.fd);
  if (!stat.isFile() || (stat.mode & OTHERS_MAY_ACCESS) === 0) return;
  printLine(stderr, 'Warning: writing to world accessible file.');
  printLine(stderr, 'Consider setting the umask to 077 and trying again.');
}

function badKey(): CliError {
  return new CliError('ERR_CLI_INPUT', 'Key is not the correct length or format');
}
