// The systemd units: the broker is held as tightly as the daemon, and neither tighter than its options need.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

/** The settings of a unit's [Service], each with all its values. */
function service(name: string): Map<string, string[]> {
  const text = readFileSync(new URL(`../../systemd/${name}`, import.meta.url), 'utf8');
  const settings = new Map<string, string[]>();
  const [, section] = /^\[Service\]\n(.*?)^\[/ms.exec(text) ?? [];
  for (const line of section.split('\n')) {
    const [, key, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (key !== undefined) settings.set(key, [...(settings.get(key) ?? []), value]);
  }
  return settings;
}

const words = (settings: Map<string, string[]>, key: string) =>
  (settings.get(key) ?? []).flatMap(value => value.split(' '));
const daemon = service('wireonce@.service');
const broker = service('wireonce-vmgenid.service');

it('whatever the daemon may not do, the broker may not do either', () => {
  const bans = /^(Protect|Private|Restrict(?!Addr)|Lock|NoNew|Keyring|Remove|SystemCall|DevicePolicy|UMask)/;
  const banned = [...daemon].filter(([key]) => bans.test(key));
  expect(banned.length).toBeGreaterThan(15);
  for (const [key, value] of banned) expect([key, broker.get(key)]).toEqual([key, value]);
  for (const key of ['CapabilityBoundingSet', 'RestrictAddressFamilies']) {
    expect(words(broker, key).length).toBeGreaterThan(0);
    for (const right of words(broker, key)) expect(words(daemon, key)).toContain(right);
  }
  for (const device of broker.get('DeviceAllow') ?? []) expect(daemon.get('DeviceAllow')).toContain(device);
});

it.each([
  ['daemon', daemon],
  ['broker', broker],
])('a hook may listen on a socket or on a port of this machine: %s', (_, settings) => {
  for (const family of ['AF_UNIX', 'AF_INET', 'AF_INET6', 'AF_VSOCK']) {
    expect(words(settings, 'RestrictAddressFamilies')).toContain(family);
  }
  const denied = settings.get('IPAddressDeny');
  if (denied) expect(settings.get('IPAddressAllow')).toEqual(['localhost']);
});
