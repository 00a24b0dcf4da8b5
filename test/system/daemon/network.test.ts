// What comes and goes around a tunnel: a translator's memory, the link, its namespace, the outer addresses.
// Read on: paths.test.ts (the ways that datagrams take); nft(8) for the translator.

import { afterEach, describe, expect, test } from 'vitest';
import { INITIATIONS_PER_SECOND } from '../../../protocol/constants.js';
import { run, sleep, until } from '../support/run.js';
import {
  closeMachines,
  endpoint,
  freshName,
  INNER,
  type Machine,
  namespace,
  type Pair,
  startPair,
} from './support/machine.js';

afterEach(closeMachines);

/** The plug of the wire in a machine's namespace. */
async function plugOf(machine: Machine): Promise<string> {
  return JSON.parse(await machine.ip('-j', 'link', 'show', 'type', 'veth'))[0].ifname as string;
}

describe('behind a translator that forgets after two seconds', () => {
  const FORGETS_S = 2;

  /** A behind one that masquerades: A, the translator, B. */
  async function translated(): Promise<Pair> {
    const pair = await startPair();
    const { a, b, outer, ports } = pair;
    // The wire's end of A moves on to the translator, and A gets a wire of its own.
    const middle = await namespace();
    const plug = await plugOf(a);
    await a.ip('link', 'set', plug, 'netns', middle);
    await run('ip', ['-n', middle, 'address', 'add', `${outer.a}/24`, 'dev', plug]);
    await run('ip', ['-n', middle, 'link', 'set', plug, 'up']);
    const [inside, home] = [freshName(), freshName()];
    const ends = ['type', 'veth', 'peer', 'name', home, 'netns', a.namespace];
    await run('ip', ['-n', middle, 'link', 'add', inside, ...ends]);
    await run('ip', ['-n', middle, 'address', 'add', '192.168.1.1/24', 'dev', inside]);
    await run('ip', ['-n', middle, 'link', 'set', inside, 'up']);
    await a.ip('address', 'add', '192.168.1.2/24', 'dev', home);
    await a.ip('link', 'set', home, 'up');
    await a.ip('route', 'add', 'default', 'via', '192.168.1.1');
    const rules = `
      table ip nat {
        chain post { type nat hook postrouting priority 100; oifname "${plug}" masquerade random; }
      }
      table ip filter {
        chain forward {
          type filter hook forward priority 0; policy drop;
          iifname "${inside}" accept;
          ct state established accept;
        }
      }
    `;
    const settings = ['udp_timeout', 'udp_timeout_stream'].map(
      name => `echo ${FORGETS_S} > /proc/sys/net/netfilter/nf_conntrack_${name}`,
    );
    settings.push('echo 1 > /proc/sys/net/ipv4/ip_forward');
    const inMiddle = (...command: string[]) => run('ip', ['netns', 'exec', middle, ...command]);
    await run('ip', ['netns', 'exec', middle, 'nft', '-f', '-'], rules);
    await inMiddle('sh', '-c', settings.join(' && '));
    await b.wg('set', b.name, 'peer', a.publicKey, 'persistent-keepalive', '0');
    await a.wg('set', a.name, 'peer', b.publicKey, 'endpoint', endpoint(outer.b, ports.b));
    return pair;
  }

  test('persistent keepalive keeps the way open; without it (control) nobody comes in', async () => {
    const { a, b, outer, ports } = await translated();
    expect(await a.ping(INNER.b4)).toBe(3);
    const seen = await b.show('endpoints', a.publicKey);
    expect(seen).toMatch(new RegExp(`^${outer.a.replaceAll('.', '\\.')}:\\d+$`));
    expect(seen).not.toBe(endpoint(outer.a, ports.a));

    const forgotten = async () => {
      const command = ['netns', 'exec', a.namespace, 'sleep', `${FORGETS_S + 2}`];
      await run('ip', command);
    };
    await forgotten();
    expect(await b.ping(INNER.a4, { count: 1, waitS: 2 })).toBe(0);

    await a.wg('set', a.name, 'peer', b.publicKey, 'persistent-keepalive', '1');
    // The first keepalive goes at once.
    await until('the way to be open', async () => (await b.ping(INNER.a4, { count: 1, waitS: 1 })) === 1);
    await forgotten();
    expect(await b.ping(INNER.a4)).toBe(3);
  });
});

test('an interface that is moved to another namespace works there: up, down, another MTU, and back', async () => {
  const { a, b } = await startPair();
  expect(await a.ping(INNER.b4)).toBe(3);
  const container = await namespace();
  const there = (...args: string[]) => run('ip', ['-n', container, ...args]);
  const ping = async () => {
    const command = ['netns', 'exec', container, 'ping', '-n', '-q', '-c', '1', '-W', '10', INNER.b4];
    return (await run('ip', command).catch((error: Error) => error.message)).includes(' 1 received');
  };
  await a.ip('link', 'set', a.name, 'netns', container);
  await there('address', 'add', `${INNER.a4}/24`, 'dev', a.name);
  await there('link', 'set', a.name, 'up');
  expect(await ping()).toBe(true);
  expect(await b.ping(INNER.a4, { waitS: 10 })).toBe(3);

  await there('link', 'set', a.name, 'mtu', '1300');
  await until('the new MTU', async () => (await a.status()).mtu === 1_300);
  await there('link', 'set', a.name, 'down');
  await until('the socket to close', async () => !(await a.status()).peers[0].hasSession);
  expect(await b.ping(INNER.a4, { count: 1, waitS: 1 })).toBe(0);
  await there('link', 'set', a.name, 'up');
  expect(await ping()).toBe(true);

  await there('link', 'set', a.name, 'netns', a.namespace);
  await a.up(`${INNER.a4}/24`);
  expect(await a.ping(INNER.b4, { waitS: 10 })).toBe(3);
});

test('down and up again, five times: no session survives, the port stays, and traffic comes back', async () => {
  const { a, b, ports } = await startPair();
  for (let time = 0; time < 5; time++) {
    expect(await a.ping(INNER.b4, { count: 1 })).toBe(1);
    await a.ip('link', 'set', a.name, 'down');
    await until('the end of the session', async () => !(await a.status()).peers[0].hasSession);
    // B takes no two initiations within this time, and all this may take less.
    await sleep(1_000 / INITIATIONS_PER_SECOND);
    await a.ip('link', 'set', a.name, 'up');
    expect(await a.listenPort()).toBe(ports.a);
  }
  await a.up(`${INNER.a6}/64`);
  expect(await a.ping(INNER.b6)).toBe(3);
  expect(await b.ping(INNER.a4)).toBe(3);
});

test('addresses of the outer network that go and come back do not end a tunnel', async () => {
  const { a, b, outer } = await startPair();
  expect(await a.ping(INNER.b4)).toBe(3);
  const plug = await plugOf(b);
  await b.ip('address', 'del', `${outer.b}/24`, 'dev', plug);
  expect(await a.ping(INNER.b4, { count: 1, waitS: 1 })).toBe(0);
  await b.ip('address', 'add', `${outer.b}/24`, 'dev', plug);
  expect(await a.ping(INNER.b4, { waitS: 15 })).toBe(3);
  expect(await b.ping(INNER.a4)).toBe(3);
});
