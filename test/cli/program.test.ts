// The command line itself: help, version, suggestions, one line per error.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { runCli } from '../../cli/program.js';
import { terminal } from './terminal.js';

async function run(argv: string[], env: Record<string, string> = {}) {
  const io = terminal('', env);
  const exitCode = await runCli(argv, io);
  return { exitCode, out: io.out, err: io.err };
}

describe('wireonce', () => {
  test('--version prints the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(await run(['--version'])).toEqual({ exitCode: 0, out: `${version}\n`, err: '' });
  });

  test('--help names every command, and each command has a help of its own', async () => {
    const { exitCode, out } = await run(['--help']);
    expect(exitCode).toBe(0);
    for (const name of ['ping', 'vmgenid', 'genkey', 'pubkey', 'genpsk']) {
      expect(out).toContain(`  ${name}`);
      const own = await run([name, '--help']);
      expect([own.exitCode, own.err]).toEqual([0, '']);
      expect(own.out).toMatch(new RegExp(`^Usage: wireonce ${name}`));
    }
  });

  test.each([
    [['-f'], 'wireonce: the name of an interface is missing\n'],
    [['--no-tripwire'], 'wireonce: the name of an interface is missing\n'],
    [
      ['--metrics', '9', 'status'],
      "wireonce: --metrics is for an interface: before 'status' it says nothing\n",
    ],
    [['--no-tripwire', 'vmgenid', 'status'], "wireonce: --no-tripwire is for an interface: before 'vmgenid'"],
    [['genky'], "wireonce: unknown command 'genky' (Did you mean genkey?)\n"],
    [['vmgenid', 'stats'], "wireonce: unknown command 'stats' (Did you mean status?)\n"],
    [['genkey', '--fast'], "wireonce: unknown option '--fast'\n"],
    [['genkey', 'more'], 'wireonce: too many arguments'],
    [['ping', 'wg0.conf'], "wireonce: missing required argument 'address'\n"],
    [['ping', 'wg0.conf', 'example.com'], 'names are not looked up in the tunnel'],
    [['ping', '-c', '0', 'wg0.conf', '10.0.0.1'], 'A whole number from 1 to'],
    [['ping', '-i', '-1', 'wg0.conf', '10.0.0.1'], 'A number of seconds from'],
    [['ping', '-W', '.', 'wg0.conf', '10.0.0.1'], 'A number of seconds from'],
    [['ping', '-s', '1e3', 'wg0.conf', '10.0.0.1'], 'A whole number from 0 to'],
  ])('%j: one line, exit status 2', async (argv, message) => {
    const { exitCode, out, err } = await run(argv);
    expect([exitCode, out]).toEqual([2, '']);
    expect(err).toContain(message);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });

  test('a stack trace is shown on request alone', async () => {
    const argv = ['ping', '/nonexistent/wg0.conf', '10.0.0.1'];
    const plain = await run(argv);
    expect(plain).toEqual({
      exitCode: 1,
      out: '',
      err: 'wireonce: /nonexistent/wg0.conf: no such file\n',
    });
    expect((await run(argv, { WIREONCE_DEBUG: '1' })).err).toMatch(/\n\s+at /);
  });
});
