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

  test.each([{}, { WIREONCE_DEBUG: '1' }] as Record<string, string>[])(
    'an error repeats what it was given, and that steers no terminal (%j)',
    async env => {
      const { err } = await run(
        ['ping', '/nonexistent/\u001b]0;owned\u0007\u009b2J\u202e.conf', '10.0.0.1'],
        env,
      );
      expect(err).toContain(String.raw`/nonexistent/\u001b]0;owned\u0007\u009b2J\u202e.conf: no such file`);
      expect(err.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    },
  );

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

describe('a word that is no interface to whoever types it', () => {
  const WG = ['show', 'showconf', 'set', 'setconf', 'addconf', 'syncconf'];
  const WG_QUICK = ['up', 'down', 'strip', 'save'];

  test.each([...WG.map(verb => [verb, 'wg']), ...WG_QUICK.map(verb => [verb, 'wg-quick'])])(
    '%s, a verb of %s: what was meant is said, with what stood behind it',
    async (verb, of) => {
      for (const before of [[], ['-f']]) {
        const { exitCode, out, err } = await run([...before, verb, ...(before.length > 0 ? [] : ['wg0'])]);
        expect([exitCode, out]).toEqual([2, '']);
        expect(err).toContain(`wireonce: '${verb}' is no command here, a verb of ${of}: did you mean '`);
        if (before.length === 0) expect(err).toContain(`${of} ${verb} wg0'?`);
        expect(err).toContain(`an interface of that name: wireonce -- ${verb}\n`);
      }
    },
  );

  test.each(['genkey', 'genpsk', 'pubkey'])('%s, a verb of wg, is one of ours', async verb => {
    expect((await run([verb, '--help'])).exitCode).toBe(0);
  });

  test.each([
    ['statsu', "unknown command 'statsu': did you mean 'wireonce status'?"],
    ['statsu --json wg0', "unknown command 'statsu': did you mean 'wireonce status --json wg0'?"],
    ['pnig wg0.conf 10.0.0.1', "unknown command 'pnig': did you mean 'wireonce ping wg0.conf 10.0.0.1'?"],
    ['genky', "unknown command 'genky': did you mean 'wireonce genkey'?"],
    ['wg0.conf', "'wg0.conf' is the name of a file, and an interface is asked for: did you mean 'WG_QUICK_"],
    ['./wg0.conf', "wg-quick up ./wg0.conf'?"],
    ['quick up wg0', "wg-quick up wg0'?"],
    ['shwo', "unknown command 'shwo': did you mean 'wg show'?"],
    ['stop', "'stop' is no command here: did you mean 'ip link del NAME'?"],
    ['version', "did you mean 'wireonce --version'?"],
  ])('%s: refused, with what was probably meant', async (line, message) => {
    const words = line.split(' ');
    const { exitCode, err } = await run(words);
    expect(exitCode).toBe(2);
    expect(err).toContain(message);
    expect(err).toContain(`an interface of that name: wireonce -- ${words[0]}\n`);
  });

  // The name behind `--` gets as far as the daemon's settings, of which one is none.
  test.each([...WG, ...WG_QUICK, 'status', 'genky', 'help'])('behind -- %s is an interface', async name => {
    const { exitCode, err } = await run(['--fork-policy', 'x', '--', name]);
    expect([exitCode, err]).toEqual([2, expect.stringContaining('--fork-policy: ')]);
  });

  test.each(['wg0', 'set0', 'u', 'home', 'office', 'showcase'])('%s is a name like any other', async name => {
    const { exitCode, err } = await run(['--fork-policy', 'x', name]);
    expect([exitCode, err]).toEqual([2, expect.stringContaining('--fork-policy: ')]);
  });
});
