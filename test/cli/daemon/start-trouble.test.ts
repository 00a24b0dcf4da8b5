// What is said of an interface that cannot be made since one of its name is there.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { startTrouble } from '../../../cli/daemon/start-trouble.js';

const links = mkdtempSync(join(tmpdir(), 'wireonce-links-'));
afterAll(() => rmSync(links, { recursive: true }));

it.each([
  [
    'DEVTYPE=wireguard\n',
    "wg0 is there already, by the kernel's WireGuard, which does not notice a fork",
    /wg-quick down wg0/,
  ],
  ['DEVTYPE=vlan\n', 'wg0 is an interface already, and of another kind', /ip -details link show wg0/],
  [undefined, 'the kernel makes no interface wg0', /choose another name/],
])('by its kind: %j', (kind, message, hint) => {
  rmSync(join(links, 'wg0'), { recursive: true, force: true });
  if (kind !== undefined) {
    mkdirSync(join(links, 'wg0'));
    writeFileSync(join(links, 'wg0', 'uevent'), `${kind}INTERFACE=wg0\n`);
  }
  const refused = Object.assign(new Error('ioctl TUNSETIFF: EINVAL'), {
    call: 'ioctl TUNSETIFF',
    errno: 'EINVAL',
  });
  expect(startTrouble(refused, 'wg0', links)).toMatchObject({
    message,
    hints: [expect.stringMatching(hint)],
  });
});
