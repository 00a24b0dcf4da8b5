import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { POLLIN } from '../../../tunnel/linux/libc.js';
import { LOOK_EVERY_MS, type LinkEvent, LinkMonitor } from '../../../tunnel/linux/net/link-monitor.js';
import { Poller } from '../../../tunnel/linux/wait/poller.js';
import type { LinuxTun } from '../../../tunnel/linux/tun/tun.js';
import { atEnd, freshName, ip, libc, namespace, tun } from './network.js';

/** What a device thread does about its link, and nothing else. */
class Watch {
  readonly monitor: LinkMonitor;
  readonly #poller = new Poller(libc);
  #events: LinkEvent[] = [];

  constructor(device: LinuxTun) {
    this.monitor = new LinkMonitor(libc, device);
    atEnd(() => this.monitor.close());
    this.#poller.add(this.monitor.fd, POLLIN);
  }

  /** What the kernel's messages alone tell, until it is quiet. Address and route changes aside. */
  told(): LinkEvent[] {
    this.#events = [];
    while (this.#poller.wait(0) !== 0) this.monitor.readable(event => this.#events.push(event));
    return this.#events.filter(({ type }) => type !== 'routing');
  }

  /** What the look of once a second finds. */
  found(): LinkEvent[] {
    const events: LinkEvent[] = [];
    this.monitor.look(event => events.push(event));
    return events;
  }

  /** Whether the last `told` had word of addresses or routes. */
  get routing(): boolean {
    return this.#events.some(({ type }) => type === 'routing');
  }
}

describe('LinkMonitor', () => {
  it('looks often enough to notice anything within a second', () => {
    expect(LOOK_EVERY_MS).toBeLessThanOrEqual(1_000);
  });

  it('begins with what is, and tells each change once, as the kernel’s message comes', () => {
    const device = tun({ mtu: 1420 });
    const watch = new Watch(device);
    expect(watch.monitor.status).toEqual({ state: 'down', name: device.name(), mtu: 1420, home: true });
    expect(watch.told()).toEqual([]);
    ip('link', 'set', device.name(), 'up');
    expect(watch.told()).toEqual([{ type: 'up' }]);
    ip('link', 'set', device.name(), 'mtu', '1280');
    expect(watch.told()).toEqual([{ type: 'mtu', mtu: 1280 }]);
    ip('link', 'set', device.name(), 'down');
    expect(watch.told()).toEqual([{ type: 'down' }]);
    const renamed = freshName();
    ip('link', 'set', device.name(), 'name', renamed);
    expect(watch.told()).toEqual([{ type: 'renamed', name: renamed }]);
    ip('link', 'set', renamed, 'up');
    ip('link', 'set', renamed, 'down');
    expect([...watch.told(), ...watch.found()]).toEqual([]);
  });

  it('tells of addresses and routes, and not of other links', () => {
    const device = tun();
    const watch = new Watch(device);
    const other = tun({ mtu: 1300 });
    ip('link', 'set', other.name(), 'mtu', '1200');
    expect(watch.told()).toEqual([]);
    expect(watch.routing).toBe(false);
    ip('addr', 'add', '10.78.1.1/32', 'dev', device.name());
    expect(watch.told()).toEqual([]);
    expect(watch.routing).toBe(true);
    ip('addr', 'del', '10.78.1.1/32', 'dev', device.name());
    watch.told();
    expect(watch.routing).toBe(true);
  });

  it('tells that the link was deleted, once and for all', () => {
    const device = tun();
    const watch = new Watch(device);
    ip('link', 'del', device.name());
    expect(watch.told()).toEqual([{ type: 'gone' }]);
    expect([...watch.told(), ...watch.found()]).toEqual([]);
    expect(watch.monitor.status.state).toBe('gone');
  });

  it('finds at the next look what no message told', () => {
    const device = tun({ mtu: 1420 });
    const watch = new Watch(device);
    ip('link', 'set', device.name(), 'up', 'mtu', '1300');
    expect(watch.found()).toEqual([{ type: 'mtu', mtu: 1300 }, { type: 'up' }]);
    expect(watch.told()).toEqual([]);
    ip('link', 'del', device.name());
    expect(watch.found()).toEqual([{ type: 'gone' }]);
  });

  it('follows the link into another network namespace: up, MTU, name, down, home again, gone', () => {
    const device = tun({ mtu: 1420 });
    const name = device.name();
    const watch = new Watch(device);
    const elsewhere = namespace();
    ip('link', 'set', name, 'netns', elsewhere);
    expect(watch.told()).toEqual([{ type: 'moved', home: false }]);
    expect(watch.monitor.status).toMatchObject({ state: 'down', mtu: 1420, home: false });
    // A namesake at home must not be taken for it.
    const namesake = tun({ name, mtu: 1300 });
    ip('link', 'set', name, 'up');
    expect([...watch.told(), ...watch.found()]).toEqual([]);
    namesake.close();
    ip('-n', elsewhere, 'link', 'set', name, 'up');
    ip('-n', elsewhere, 'link', 'set', name, 'mtu', '1280');
    expect(watch.found()).toEqual([{ type: 'mtu', mtu: 1280 }, { type: 'up' }]);
    ip('-n', elsewhere, 'link', 'set', name, 'down');
    ip('-n', elsewhere, 'link', 'set', name, 'name', 'wg0');
    expect(watch.found()).toEqual([{ type: 'renamed', name: 'wg0' }, { type: 'down' }]);
    ip('-n', elsewhere, 'link', 'set', 'wg0', 'netns', String(process.pid), 'name', name);
    expect(watch.found()).toEqual([
      { type: 'moved', home: true },
      { type: 'renamed', name },
    ]);
    watch.told();
    ip('link', 'set', name, 'up');
    expect(watch.told()).toEqual([{ type: 'up' }]);
    ip('link', 'del', name);
    expect(watch.told()).toEqual([{ type: 'gone' }]);
  });

  it('tells that the link went with its namespace', () => {
    const device = tun();
    const watch = new Watch(device);
    const elsewhere = namespace();
    ip('link', 'set', device.name(), 'netns', elsewhere);
    watch.told();
    ip('-n', elsewhere, 'link', 'del', device.name());
    expect(watch.found()).toEqual([{ type: 'gone' }]);
  });

  it('survives more messages than its socket holds', () => {
    const device = tun();
    const watch = new Watch(device);
    const lines = Array.from(
      { length: 1_500 },
      (_, i) => `addr add 10.79.${i >> 8}.${i & 255}/32 dev ${device.name()}`,
    );
    ip('-batch', batchFile(lines));
    ip('link', 'set', device.name(), 'up');
    expect(watch.told()).toEqual([{ type: 'up' }]);
    expect(watch.routing).toBe(true);
  });
});

function batchFile(lines: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'wireonce-links-'));
  atEnd(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'batch');
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}
