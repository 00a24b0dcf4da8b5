import { describe, expect, test } from 'vitest';
import { parseDaemonConfig, sourcesOf } from '../../../tunnel/config/daemon-config.js';
import { TunnelError } from '../../../tunnel/errors.js';
import { keyText } from '../daemon/status.js';

const KEY = keyText(7);
const TOKEN = 'aVeryLongTokenIndeed0123';

test('reads every setting', () => {
  const { settings, peers } = parseDaemonConfig(`
# what wg has no words for
[Interface]
ForkPolicy = expire-sending
Strict = true
holdbackms = 300
Tripwire = false
Offloads = false
Suite = Sodium
Hook = /run/wireonce.hook
HookToken = ${TOKEN}
GenerationFile = /run/generation
GenerationFileTiming = immediate
GenerationFileFormat = counter32
Acpi = on
Devicetree = on
Vmclock = off
Kmsg = /dev/kmsg
Metrics = 9586
ListenWebSocket = [::]:8443

[Peer]
PublicKey = ${KEY}
Endpoint = wss://gate.example/tunnel
[Peer]
PublicKey = ${keyText(8)}
Endpoint = home.example:51820
`);
  expect(settings).toEqual({
    device: {
      forkPolicy: 'expire-sending',
      strict: true,
      holdBackMs: 300,
      tripwire: false,
      offloads: false,
      suite: 'sodium',
    },
    hook: '/run/wireonce.hook',
    hookToken: TOKEN,
    generationFile: '/run/generation',
    generationFileTiming: 'immediate',
    generationFileFormat: 'counter32',
    acpi: true,
    devicetree: true,
    vmclock: false,
    kmsg: '/dev/kmsg',
    metrics: '9586',
    listenWebSocket: { host: '::', port: 8443 },
  });
  expect(peers).toEqual([
    { publicKey: new Uint8Array(32).fill(7), endpoint: { url: 'wss://gate.example/tunnel' } },
    { publicKey: new Uint8Array(32).fill(8), endpoint: { host: 'home.example', port: 51820 } },
  ]);
});

test('the sources get what concerns them, and the device nothing that is secret', () => {
  const { settings } = parseDaemonConfig(`[Interface]
ForkPolicy = hold
Hook = /run/hook
HookToken = ${TOKEN}
GenerationFile = /run/generation
GenerationFileTiming = immediate
Kmsg = off
`);
  expect(sourcesOf(settings)).toEqual({
    hook: { listen: '/run/hook', token: TOKEN },
    file: { path: '/run/generation', timing: 'immediate' },
    kmsg: false,
  });
  expect(settings.device).toEqual({ forkPolicy: 'hold' });
  expect(sourcesOf({ device: {}, hookToken: TOKEN, generationFileTiming: 'immediate' })).toEqual({});
});

test('an empty file says nothing', () => {
  expect(parseDaemonConfig('')).toEqual({ settings: { device: {} }, peers: [], places: new Map() });
});

test('reads lines as wg does: blanks anywhere but in paths, the last of two counts', () => {
  const { settings, peers } = parseDaemonConfig(`[ interface ]
Hold Back Ms = 3 00
Hold Back Ms = 4 00
[Interface]
Strict = TRUE
GenerationFile = /run/my generation
[Peer]
PublicKey = ${KEY}
Endpoint = a : 1
[ Peer ]
PublicKey = ${KEY}
Endpoint = 127.1 : domain
`);
  expect(settings).toEqual({
    device: { holdBackMs: 400, strict: true },
    generationFile: '/run/my generation',
  });
  expect(peers).toEqual([
    { publicKey: new Uint8Array(32).fill(7), endpoint: { host: '127.0.0.1', port: 53 } },
  ]);
});

describe('a mistake is told with file, line and field', () => {
  test.each([
    ['ForkPolicy = panic', 'ForkPolicy', "'panic' is none of wipe, expire-sending, hold"],
    ['Strict = yes', 'Strict', 'not true or false'],
    ['HoldBackMs = -1', 'HoldBackMs', 'not a number of milliseconds (0 to 10000)'],
    ['HoldBackMs = 60000', 'HoldBackMs', '0 to 10000'],
    ['Suite = rot13', 'Suite', 'none of fastest, ipsec-mb'],
    ['Hook = hook.sock', 'Hook', 'neither an absolute path nor 127.0.0.1:port nor [::1]:port nor vsock:port'],
    ['Hook = vsock:0:7000', 'Hook', 'vsock:port'],
    ['Hook = 0.0.0.0:7', 'Hook', 'neither an absolute path'],
    ['GenerationFile = generation', 'GenerationFile', 'not an absolute path'],
    ['Metrics = localhost:9586', 'Metrics', 'not a port, address:port or [address]:port'],
    ['ListenWebSocket = x', 'ListenWebSocket', 'not a port'],
    ['PrivateKey = x', 'PrivateKey', 'is set by wg'],
    ['MTU = 1420', 'MTU', 'belongs in the file of wg-quick'],
    ['Colour = red', 'Colour', 'is no key of [Interface]'],
    ['Endpoint = wss://x', 'Endpoint', 'does not belong in [Interface]'],
    ['HookToken =', 'HookToken', 'needs a value'],
    [`[Peer]\nPublicKey = ${KEY}`, 'Endpoint', 'is missing from this [Peer]'],
    ['[Peer]\nEndpoint = wss://x', 'PublicKey', 'is missing from this [Peer]'],
    [`[Peer]\nPublicKey = ${KEY}\nEndpoint = http://x`, 'Endpoint', 'not a ws:// or wss:// URL'],
    [`[Peer]\nPublicKey = ${KEY}\nAllowedIPs = 10.0.0.0/8`, 'AllowedIPs', 'is set by wg'],
  ])('%j', (text, field, problem) => {
    const lines = `[Interface]\n${text}`;
    let caught: unknown;
    try {
      parseDaemonConfig(lines, '/etc/wireonce/wg0.conf');
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(TunnelError);
    expect(caught).toMatchObject({ code: 'ERR_CONFIG', file: '/etc/wireonce/wg0.conf', field });
    expect((caught as Error).message).toMatch(/^\/etc\/wireonce\/wg0\.conf:\d+: /);
    expect((caught as Error).message).toContain(problem);
  });

  test('and a token in the wrong place is not shown', () => {
    for (const name of ['Hook', 'ForkPolicy', 'Strict', 'Metrics', 'GenerationFile']) {
      expect(() => parseDaemonConfig(`[Interface]\n${name} = ${TOKEN}`)).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining(TOKEN) }),
      );
    }
  });
});
