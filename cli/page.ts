// What every command does that shows a page: says where it is, opens it, and ends with the signal.
// Promises: the address is a line of its own on standard output; a browser that cannot be opened is no failure. Without a
// terminal, and in CI, none is opened; over ssh it is said how to come to it.
// Read on: web/server/serve.ts (the page).

import { spawn } from 'node:child_process';
import { InvalidArgumentError } from 'commander';
import { CliError } from './errors.js';
import { type CliIo, printLine } from './io.js';

export interface ShownPage {
  readonly url: string;
  close(): Promise<void>;
}

export interface PageOptions {
  /** Of `--no-open`. */
  readonly open: boolean;
  /** The program that opens an address. Default: that of the system. */
  readonly opener?: readonly [program: string, ...rest: string[]];
}

const HIGHEST_PORT = 65_535;

/** For `--port`. */
export function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= HIGHEST_PORT) return port;
  throw new InvalidArgumentError(`It takes a port, from 1 to ${HIGHEST_PORT}.`);
}

/** Throws `ERR_CLI_PAGE`: why there is no page at that port. */
export function refusePort(error: unknown): never {
  const { code, message } = error as NodeJS.ErrnoException;
  const hints = code === 'EADDRINUSE' ? ['without --port one is chosen that is free'] : [];
  throw new CliError('ERR_CLI_PAGE', `the page cannot be served: ${message}`, { cause: error, hints });
}

/** Resolves when the signal has come, and the page is closed. */
export async function showPage(page: ShownPage, { open, opener }: PageOptions, io: CliIo): Promise<void> {
  const isTerminal = 'isTTY' in io.stdout && io.stdout.isTTY === true;
  printLine(io.stdout, page.url);
  if (isTerminal) {
    const far = fromAfar(page.url, io.env['SSH_CONNECTION']);
    if (far) printLine(io.stderr, far);
    printLine(io.stderr, 'Ctrl-C ends it.');
  }
  if (open && isTerminal && !io.env['CI']) openInBrowser(page.url, opener ?? systemOpener());
  await new Promise<void>(resolve => {
    if (io.signal.aborted) resolve();
    else io.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await page.close();
}

/** How a browser at the other end of ssh comes to a page that is on loopback here. */
function fromAfar(url: string, sshConnection = ''): string | undefined {
  const [, , here] = sshConnection.split(' ');
  const { port } = new URL(url);
  return (
    here &&
    `From where you came by ssh: ssh -L ${port}:127.0.0.1:${port} ${here}, and open that address there.`
  );
}

function openInBrowser(url: string, [program, ...rest]: readonly [string, ...string[]]): void {
  const child = spawn(program, [...rest, url], { stdio: 'ignore', detached: true });
  child.on('error', () => undefined);
  child.unref();
}

function systemOpener(): readonly [string, ...string[]] {
  if (process.platform === 'darwin') return ['open'];
  return process.platform === 'win32' ? ['cmd', '/c', 'start', ''] : ['xdg-open'];
}
