// A command that shows a page: what it prints, what it opens, and how it ends.

import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { refusePort, showPage } from '../../cli/page.js';
import { runCli } from '../../cli/program.js';
import { terminal } from './terminal.js';

const folder = mkdtempSync(join(tmpdir(), 'wireonce-page-'));
afterAll(() => rmSync(folder, { recursive: true }));

function shown(io: ReturnType<typeof terminal>, options: Parameters<typeof showPage>[1]) {
  let isClosed = false;
  const page = { url: 'http://127.0.0.1:1/', close: async () => void (isClosed = true) };
  return { ended: showPage(page, options, io), isClosed: () => isClosed };
}

/** A program that notes what it was told to open. */
function opener(): { program: readonly [string]; opened: () => string } {
  const [program, note] = ['open', 'opened'].map(name => join(folder, name));
  writeFileSync(note, '');
  writeFileSync(program, `#!/bin/sh\nprintf %s "$1" > ${note}\n`);
  chmodSync(program, 0o755);
  return { program: [program], opened: () => readFileSync(note, 'utf8') };
}

it('prints the address, opens the browser, and ends with the signal', async () => {
  const io = terminal();
  Object.assign(io.stdout, { isTTY: true });
  const { program, opened } = opener();
  const changes = watch(folder);
  const { ended, isClosed } = shown(io, { open: true, opener: program });
  while (opened() === '') await once(changes, 'change');
  changes.close();
  expect([opened(), io.out]).toEqual(['http://127.0.0.1:1/', 'http://127.0.0.1:1/\n']);
  expect(isClosed()).toBe(false);
  io.interrupt();
  await ended;
  expect(isClosed()).toBe(true);
});

it.each([
  [
    '192.0.2.9 50123 2001:db8::7 22',
    'From where you came by ssh: ssh -L 1:127.0.0.1:1 2001:db8::7, and open that address there.\nCtrl-C ends it.\n',
  ],
  [undefined, 'Ctrl-C ends it.\n'],
])('by ssh (%s) it is said how to come to the page', async (connection, said) => {
  const io = terminal('', connection === undefined ? {} : { SSH_CONNECTION: connection });
  Object.assign(io.stdout, { isTTY: true });
  const { ended } = shown(io, { open: false });
  io.interrupt();
  await ended;
  expect([io.out, io.err]).toEqual(['http://127.0.0.1:1/\n', said]);
});

it('goes on where there is no program that opens a browser', async () => {
  const io = terminal();
  Object.assign(io.stdout, { isTTY: true });
  const { ended, isClosed } = shown(io, { open: true, opener: ['/nonexistent'] });
  await new Promise(resolve => setImmediate(resolve));
  expect(isClosed()).toBe(false);
  io.interrupt();
  await ended;
});

it.each([
  ['by --no-open', { open: false }, {}, true],
  ['without a terminal', { open: true }, {}, false],
  ['in CI', { open: true }, { CI: 'true' }, true],
])('opens nothing %s', async (_, options, env, isTTY) => {
  const io = terminal('', env);
  Object.assign(io.stdout, { isTTY });
  const { program, opened } = opener();
  const { ended } = shown(io, { ...options, opener: program });
  io.interrupt();
  await ended;
  expect([opened(), io.out]).toEqual(['', 'http://127.0.0.1:1/\n']);
});

it.each([
  [['demo', '--web', '--json'], "option '--web' cannot be used with option '--json'"],
  [['demo', '--web', '--port', '0'], 'It takes a port, from 1 to 65535.'],
  [['demo', '--web', '--port', '65536'], 'It takes a port, from 1 to 65535.'],
])('%j is refused', async (argv, reason) => {
  const io = terminal();
  expect(await runCli(argv, io)).toBe(2);
  expect(io.err).toContain(reason);
});

it('a page that cannot be served is said in a line, with what to do where its port is taken', () => {
  const taken = Object.assign(new Error('listen EADDRINUSE: address already in use'), { code: 'EADDRINUSE' });
  const refused = (error: Error) => {
    try {
      return refusePort(error);
    } catch (thrown) {
      return thrown;
    }
  };
  expect(refused(taken)).toMatchObject({
    code: 'ERR_CLI_PAGE',
    message: `the page cannot be served: ${taken.message}`,
    hints: ['without --port one is chosen that is free'],
  });
  expect(refused(new Error('the page is not built'))).toMatchObject({ code: 'ERR_CLI_PAGE', hints: [] });
});
