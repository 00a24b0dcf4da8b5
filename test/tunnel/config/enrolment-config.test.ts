// [Enrolment] in a daemon's file, and what it makes of a machine together with all else that was said.

import { describe, expect, test } from 'vitest';
import { parseDaemonConfig } from '../../../tunnel/config/daemon-config.js';
import { type EnrolmentSettings, settleEnrolment } from '../../../tunnel/config/enrolment-config.js';
import { TunnelError } from '../../../tunnel/errors.js';
import { keyText } from '../daemon/status.js';

const CONF = '/etc/wireonce/wg0.conf';
const PREFIX = Uint8Array.of(0xfd, 0x5e, 0x7c, 0x1a, 0x9b, 0x2d, 0, 0);

function settle(text: string): EnrolmentSettings | undefined {
  const { settings, places } = parseDaemonConfig(text, CONF);
  return settleEnrolment(settings.device.forkPolicy, settings.enrolment, places, 'wg0');
}

const SHARED = 'SecretFile = /etc/wireonce/our secret\nPrefix = fd5e:7c1a:9b2d::/64';

describe('a clone', () => {
  test('derives from a secret and a prefix, for every peer that has no preshared key', () => {
    expect(settle(`[Interface]\nForkPolicy = enrol\n[Enrolment]\n${SHARED}`)).toEqual({
      role: 'clone',
      method: {
        kind: 'derived',
        secretFile: '/etc/wireonce/our secret',
        prefix: PREFIX,
        gateways: undefined,
      },
      identityFile: '/var/lib/wireonce/wg0.identity',
    });
  });

  test('for the gateways that are named, wherever the section stands', () => {
    const text = `[Enrolment]\n${SHARED}\nGateway = ${keyText(1)} ${keyText(2)}\nGateway = ${keyText(3)}\nIdentityFile = /srv/id\n[Interface]\nForkPolicy = enrol`;
    expect(settle(text)).toEqual({
      role: 'clone',
      method: {
        kind: 'derived',
        secretFile: '/etc/wireonce/our secret',
        prefix: PREFIX,
        gateways: [1, 2, 3].map(byte => new Uint8Array(32).fill(byte)),
      },
      identityFile: '/srv/id',
    });
  });

  test.each([
    ['exec:/usr/local/bin/enrol me', { kind: 'exec', program: '/usr/local/bin/enrol me' }],
    ['hook', { kind: 'hook' }],
  ])('is told by %s', (text, method) => {
    expect(settle(`[Interface]\nForkPolicy = enrol\n[Enrolment]\nEnrol = ${text}`)).toMatchObject({ method });
  });
});

describe('a gateway', () => {
  test('has one secret, or two while it is changed, and its defaults', () => {
    expect(settle(`[Enrolment]\n${SHARED}\nMaxPeers = 1000`)).toEqual({
      role: 'gateway',
      secretFiles: ['/etc/wireonce/our secret'],
      prefix: PREFIX,
      maxPeers: 1_000,
      expireAfterMs: 30 * 86_400_000,
      store: '/var/lib/wireonce/wg0.peers',
    });
    const second = 'SecretFile = /old\nExpireAfter = 12h\nStore = https://peers.example/v1';
    expect(settle(`[Enrolment]\n${SHARED}\n${second}`)).toMatchObject({
      secretFiles: ['/etc/wireonce/our secret', '/old'],
      expireAfterMs: 12 * 3_600_000,
      store: 'https://peers.example/v1',
    });
  });

  test.each([
    ['90s', 90_000],
    ['15m', 900_000],
    ['1d', 86_400_000],
    ['never', Number.POSITIVE_INFINITY],
  ])('forgets after %s', (text, expireAfterMs) => {
    expect(settle(`[Enrolment]\n${SHARED}\nExpireAfter = ${text}`)).toMatchObject({ expireAfterMs });
  });
});

test('without a section and without the policy there is nothing', () => {
  expect(settle('[Interface]\nForkPolicy = hold')).toBeUndefined();
});

describe('a mistake is told with file, line and field', () => {
  const CLONE = '[Interface]\nForkPolicy = enrol\n[Enrolment]\n';
  const GATEWAY = '[Enrolment]\nMaxPeers = 7\n';
  test.each([
    [
      '[Interface]\nForkPolicy = enrol',
      2,
      'ForkPolicy',
      'needs a section [Enrolment] with SecretFile and Prefix',
    ],
    [CLONE, 3, undefined, 'SecretFile is missing'],
    [`${CLONE}SecretFile = /s`, 3, undefined, 'Prefix is missing'],
    [`${CLONE}${SHARED}\nSecretFile = /t`, 6, 'SecretFile', 'a clone has one secret'],
    [`${CLONE}${SHARED}\nMaxPeers = 1`, 6, 'MaxPeers', 'MaxPeers is for a gateway, and ForkPolicy = enrol'],
    [`${CLONE}${SHARED}\nExpireAfter = 1d`, 6, 'ExpireAfter', 'leave one of them out'],
    [`${CLONE}${SHARED}\nStore = /p`, 6, 'Store', 'Store is for a gateway'],
    [`${CLONE}Enrol = hook\n${SHARED}`, 5, 'SecretFile', 'Enrol says who tells them'],
    [`${CLONE}Enrol = hook\nGateway = ${keyText(1)}`, 5, 'Gateway', 'Gateway is for keys that are derived'],
    [GATEWAY, 1, undefined, 'SecretFile is missing'],
    [`${GATEWAY}SecretFile = /s`, 1, undefined, 'Prefix is missing'],
    [`${GATEWAY}${SHARED}\nSecretFile = /t\nSecretFile = /u`, 6, 'SecretFile', 'there are 3'],
    [`${GATEWAY}${SHARED}\nEnrol = hook`, 5, 'Enrol', 'Enrol is for a clone'],
    [`${GATEWAY}${SHARED}\nIdentityFile = /i`, 5, 'IdentityFile', 'made by ForkPolicy = enrol'],
    [`[Enrolment]\n${SHARED}`, 1, undefined, 'here is neither'],
    ['[Enrolment]', 1, undefined, 'here is neither'],
    [`${CLONE}Prefix = fd5e:7c1a:9b2d::/48`, 4, 'Prefix', 'no /64 of IPv6'],
    [`${CLONE}Prefix = fd5e:7c1a:9b2d::1`, 4, 'Prefix', 'no /64 of IPv6'],
    [`${CLONE}Prefix = 10.0.0.0/24`, 4, 'Prefix', 'no /64 of IPv6'],
    [`${CLONE}Prefix = fe80::/64`, 4, 'Prefix', 'cannot hold the addresses'],
    [`${CLONE}Prefix = ff02::/64`, 4, 'Prefix', 'cannot hold the addresses'],
    [`${CLONE}Prefix = ::/64`, 4, 'Prefix', 'cannot hold the addresses'],
    [`${CLONE}SecretFile = secret`, 4, 'SecretFile', 'not an absolute path'],
    [`${CLONE}Enrol = /bin/true`, 4, 'Enrol', 'neither exec:/path nor hook'],
    [`${CLONE}Enrol = exec:enrol`, 4, 'Enrol', 'neither exec:/path nor hook'],
    [`${CLONE}Gateway = x`, 4, 'Gateway', 'a key has 44 characters'],
    [`${GATEWAY}MaxPeers = 0`, 3, 'MaxPeers', 'a number of peers (1 to'],
    [`${GATEWAY}ExpireAfter = 0d`, 3, 'ExpireAfter', 'no time, such as 12h'],
    [`${GATEWAY}ExpireAfter = 30`, 3, 'ExpireAfter', 'no time, such as 12h'],
    [`${GATEWAY}Store = peers`, 3, 'Store', 'neither an absolute path nor an http(s):// URL'],
    [`${GATEWAY}ForkPolicy = enrol`, 3, 'ForkPolicy', 'does not belong in [Enrolment]'],
    ['[Interface]\nPrefix = fd5e::/64', 2, 'Prefix', 'does not belong in [Interface]'],
    ['[Enrolement]', 1, undefined, '[Interface], [Enrolment] or [Peer] was expected'],
  ])('%j', (text, line, field, problem) => {
    let caught: unknown;
    try {
      settle(text);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(TunnelError);
    expect(caught).toMatchObject({ code: 'ERR_CONFIG', file: CONF, line, field });
    expect((caught as Error).message).toMatch(new RegExp(`^${CONF}:${line}: `));
    expect((caught as Error).message).toContain(problem);
  });
});
