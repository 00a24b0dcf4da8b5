import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  addDaemonOptions,
  type DaemonFlags,
  forwardedArguments,
  readDaemonOptions,
} from '../../../cli/daemon/options.js';
import { SETTINGS } from '../../../tunnel/config/daemon-config.js';
import { keyText } from '../../tunnel/daemon/status.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-options-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function flags(...argv: string[]): DaemonFlags {
  return addDaemonOptions(new Command('x')).exitOverride().parse(argv, { from: 'user' }).opts();
}

function file(text: string, name = 'wg0.conf', mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

function read(given: DaemonFlags = {}, env: Record<string, string> = {}) {
  return readDaemonOptions({ env }, 'wg0', given, folder);
}

test('nothing said is nothing set', () => {
  expect(read(flags())).toEqual({
    foreground: false,
    settings: { device: {} },
    peers: [],
    secrets: [],
    warnings: [],
  });
});

test('a variable that looks like one of ours, and is none, is warned of', () => {
  const env = {
    WIREONCE_STRICTT: 'true',
    WIREONCE_STRICT: 'true',
    WIREONCE_CONFIG: '',
    WIREONCE_DEBUG: '1',
    HOME: '/',
  };
  expect(read(flags(), env).warnings).toEqual(['WIREONCE_STRICTT is no setting, and is ignored']);
});

test('a LOG_LEVEL that is none is warned of, with those that are', () => {
  const warning =
    'LOG_LEVEL=loud is no level, and is ignored: take one of verbose, debug, info, error, silent';
  expect(read(flags(), { LOG_LEVEL: 'loud' }).warnings).toEqual([warning]);
  for (const level of ['', 'verbose', 'info', 'silent'])
    expect(read(flags(), { LOG_LEVEL: level }).warnings).toEqual([]);
});

test('a hook that every user may call is warned of, and a token without a hook', () => {
  const warningsOf = (env: Record<string, string>) => read(flags(), env).warnings;
  expect(warningsOf({ WIREONCE_HOOK: '127.0.0.1:7777' })).toEqual([
    expect.stringContaining('has no HookToken'),
  ]);
  expect(warningsOf({ WIREONCE_HOOK: '127.0.0.1:7777', WIREONCE_HOOK_TOKEN: 'x' })).toEqual([]);
  expect(warningsOf({ WIREONCE_HOOK: '/run/hook' })).toEqual([]);
  expect(warningsOf({ WIREONCE_HOOK_TOKEN: 'x' })).toEqual(['there is a HookToken, and no Hook']);
});

test('flags win over the environment, and that over the file', () => {
  file(
    `[Interface]\nHoldBackMs = 1\nForkPolicy = hold\nMetrics = 1\n[Peer]\nPublicKey = ${keyText(1)}\nEndpoint = ws://h`,
  );
  const env = { WIREONCE_HOLD_BACK_MS: '2', WIREONCE_METRICS: '2', WIREONCE_STRICT: '' };
  const { settings, peers, foreground } = read(flags('-f', '--hold-back-ms', '3', '--strict'), env);
  expect(settings).toEqual({ metrics: '2', device: { holdBackMs: 3, forkPolicy: 'hold', strict: true } });
  expect(peers).toHaveLength(1);
  expect(foreground).toBe(true);
});

describe('every setting', () => {
  const SAMPLES: Record<string, [text: string, value: unknown]> = {
    ForkPolicy: ['hold', 'hold'],
    Strict: ['true', true],
    HoldBackMs: ['7', 7],
    Tripwire: ['false', false],
    Offloads: ['false', false],
    Suite: ['noble', 'noble'],
    Hook: ['/h', '/h'],
    HookToken: ['t', 't'],
    GenerationFile: ['/g', '/g'],
    GenerationFileTiming: ['immediate', 'immediate'],
    GenerationFileFormat: ['counter32', 'counter32'],
    Acpi: ['off', false],
    Devicetree: ['off', false],
    Bpf: ['off', false],
    Vmclock: ['/v', '/v'],
    Kmsg: ['off', false],
    Gvisor: ['off', false],
    Metrics: ['9586', '9586'],
    MetricsHost: ['gw.example, Gw', ['gw.example', 'gw']],
    ListenWebSocket: ['8443', { port: 8443 }],
  };
  const names = [...SETTINGS.values()].map(({ name }) => name).filter(name => !name.startsWith('Enrolment'));

  test('has a sample here', () => {
    expect(Object.keys(SAMPLES)).toEqual(names);
  });

  test.each(names)('%s is read from the environment and from the file alike', name => {
    const [text, value] = SAMPLES[name];
    const variable = `WIREONCE_${name
      .replace('WebSocket', 'Websocket')
      .replace(/(?<=[a-z])(?=[A-Z])/g, '_')
      .toUpperCase()}`;
    const fromEnv = read(flags(), { [variable]: text });
    const { device, ...others } = fromEnv.settings;
    expect(Object.values({ ...device, ...others })).toEqual([value]);
    file(`[Interface]\n${name} = ${text}\n`);
    expect(read(flags()).settings).toEqual(fromEnv.settings);
  });

  test.each(names.filter(name => name !== 'HookToken'))('%s has a flag', name => {
    const kebab = name
      .replace('WebSocket', 'Websocket')
      .replace(/(?<=[a-z])(?=[A-Z])/g, '-')
      .toLowerCase();
    const help = addDaemonOptions(new Command('x')).helpInformation();
    expect(help).toMatch(new RegExp(`--(no-)?${kebab}\\b`));
  });

  test('but a token has none: every user could read it', () => {
    expect(addDaemonOptions(new Command('x')).helpInformation()).not.toContain('token');
  });
});

describe('[Enrolment]', () => {
  const SECRET = new Uint8Array(32).fill(9);
  const secretFile = (name = 'secret', mode?: number) => file(`${keyText(9)}\n`, name, mode);
  const words = (name: string, between: string) => name.replace(/(?<=[a-z])(?=[A-Z])/g, between);
  const WAYS = ['file', 'environment', 'flags'] as const;

  /** `ForkPolicy` stands in [Interface], all else in [Enrolment]. */
  function say(way: (typeof WAYS)[number], said: Record<string, string>) {
    const lines = Object.entries(said);
    if (way === 'file') {
      const [policy, rest] = [
        lines.filter(([name]) => name === 'ForkPolicy'),
        lines.filter(([name]) => name !== 'ForkPolicy'),
      ];
      const text = (title: string, of: typeof lines) =>
        [title, ...of.map(([name, value]) => `${name} = ${value}`)].join('\n');
      file(`${text('[Interface]', policy)}\n${text('[Enrolment]', rest)}\n`);
      return read(flags());
    }
    const full = lines.map(([name, value]) => [name === 'ForkPolicy' ? name : `Enrolment${name}`, value]);
    if (way === 'flags')
      return read(flags(...full.flatMap(([name, value]) => [`--${words(name, '-').toLowerCase()}`, value])));
    return read(
      flags(),
      Object.fromEntries(full.map(([name, value]) => [`WIREONCE_${words(name, '_').toUpperCase()}`, value])),
    );
  }

  test.each(WAYS)('makes a clone, by %s', way => {
    const shared = { ForkPolicy: 'enrol', SecretFile: secretFile(), Prefix: 'fd00::/64' };
    const { enrolment, secrets } = say(way, { ...shared, Gateway: keyText(1), IdentityFile: '/i' });
    expect(enrolment).toEqual({
      role: 'clone',
      method: {
        kind: 'derived',
        secretFile: shared.SecretFile,
        prefix: Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 0),
        gateways: [new Uint8Array(32).fill(1)],
      },
      identityFile: '/i',
    });
    expect(secrets).toEqual([SECRET]);
    const told = say(way, { ForkPolicy: 'enrol', Enrol: 'hook' });
    expect([told.enrolment, told.secrets]).toEqual([
      expect.objectContaining({ method: { kind: 'hook' } }),
      [],
    ]);
  });

  test.each(WAYS)('makes a gateway, by %s', way => {
    const [old, young] = [secretFile('old'), secretFile('young')];
    const { enrolment, secrets } = say(way, {
      SecretFile: `${old},${young}`,
      Prefix: 'fd00::/64',
      MaxPeers: '7',
      ExpireAfter: '1d',
      Store: '/p',
    });
    expect(enrolment).toEqual({
      role: 'gateway',
      secretFiles: [old, young],
      prefix: Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 0),
      maxPeers: 7,
      expireAfterMs: 86_400_000,
      store: '/p',
    });
    expect(secrets).toEqual([SECRET, SECRET]);
  });

  test('what stands in a flag takes the place of a list in the file', () => {
    const [old, young] = [secretFile('old'), secretFile('young')];
    file(`[Enrolment]\nSecretFile = ${old}\nPrefix = fd00::/64\nMaxPeers = 7\n`);
    expect(read(flags('--enrolment-secret-file', young)).enrolment).toMatchObject({
      secretFiles: [young],
      maxPeers: 7,
    });
  });

  test.each([
    [
      'that every user may read',
      () => secretFile('secret', 0o604),
      /can be read by every user of this machine: chmod 600/,
    ],
    ['of another length', () => file('AAAA', 'secret'), /does not hold 32 bytes in base64/],
    ['that is not there', () => join(folder, 'none'), /none: no such file/],
  ])('a secret %s is refused with file, line and field', (_, make, words) => {
    const path = file(
      `[Interface]\nForkPolicy = enrol\n[Enrolment]\nPrefix = fd00::/64\nSecretFile = ${make()}\n`,
    );
    const place = { code: 'ERR_CONFIG', file: path, line: 5, field: 'SecretFile' };
    expect(() => read(flags())).toThrow(
      expect.objectContaining({ ...place, message: expect.stringMatching(words) }),
    );
  });

  test('a policy without its section is refused where it was said', () => {
    const refused = (words: RegExp) =>
      expect.objectContaining({ code: 'ERR_CONFIG', message: expect.stringMatching(words) });
    expect(() => read(flags('--fork-policy', 'enrol'))).toThrow(
      refused(/^--fork-policy: enrol needs a section \[Enrolment\]/),
    );
    expect(() => read(flags(), { WIREONCE_FORK_POLICY: 'enrol' })).toThrow(
      refused(/^WIREONCE_FORK_POLICY: enrol needs/),
    );
  });
});

test('sources can be left out by flag', () => {
  expect(
    read(
      flags(
        '--no-acpi',
        '--no-devicetree',
        '--no-bpf',
        '--no-vmclock',
        '--no-kmsg',
        '--no-tripwire',
        '--no-offloads',
      ),
    ).settings,
  ).toEqual({
    acpi: false,
    devicetree: false,
    bpf: false,
    vmclock: false,
    kmsg: false,
    device: { tripwire: false, offloads: false },
  });
});

describe('the file', () => {
  test('may be named by flag or variable, and must exist then', () => {
    const other = file('[Interface]\nStrict = true\n', 'other.conf');
    expect(read(flags('--config', other)).settings).toEqual({ device: { strict: true } });
    expect(read(flags(), { WIREONCE_CONFIG: other }).settings).toEqual({ device: { strict: true } });
    const missing = { code: 'ERR_CLI_INPUT', message: expect.stringContaining('no such file') };
    expect(() => read(flags('--config', join(folder, 'none')))).toThrow(expect.objectContaining(missing));
    expect(() => read(flags(), { WIREONCE_CONFIG: join(folder, 'none') })).toThrow(
      expect.objectContaining(missing),
    );
  });

  test('that is wrong is named with line and field', () => {
    const path = file('[Interface]\n\nStrict = maybe\n');
    expect(() => read(flags())).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIG', file: path, line: 3, field: 'Strict' }),
    );
  });

  test('that is a folder is refused', () => {
    expect(() => read(flags('--config', folder))).toThrow(expect.objectContaining({ code: 'ERR_CLI_INPUT' }));
  });
});

test('a mistake in a flag or a variable names it', () => {
  expect(() => read(flags('--hold-back-ms', 'x'))).toThrow(
    expect.objectContaining({
      code: 'ERR_CLI_USAGE',
      message: expect.stringMatching(/^--hold-back-ms: 'x' is not/),
    }),
  );
  expect(() => read(flags(), { WIREONCE_FORK_POLICY: 'x' })).toThrow(
    expect.objectContaining({
      code: 'ERR_CLI_USAGE',
      message: expect.stringMatching(/^WIREONCE_FORK_POLICY: 'x' is none of/),
    }),
  );
});

test('what is forwarded to the background says the same there', () => {
  file('[Interface]\nStrict = true\n', 'rel.conf');
  const argv = [
    '--config',
    join(folder, 'rel.conf'),
    '--no-kmsg',
    '--acpi',
    '--vmclock',
    '/v',
    '--hold-back-ms',
    '5',
    '--strict',
  ];
  const args = forwardedArguments(flags(...argv));
  expect(read(flags(...args)).settings).toEqual(read(flags(...argv)).settings);
  expect(forwardedArguments(flags('--config', 'x.conf'))).toEqual(['--config', resolve('x.conf')]);
  expect(forwardedArguments(flags())).toEqual([]);
});
