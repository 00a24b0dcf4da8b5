// docs/services.md and the pages of its services: their blocks and scripts as they stand there, on a machine that is forked.

import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { until } from '../support/run.js';
import { type Client, ServiceMachine } from './machine.js';

const NAMES = ['samba', 'nginx', 'sshd'] as const;
type Name = (typeof NAMES)[number];
const page = (name: Name) => `examples/${name}/README.md`;

/** A client that stays connected, what is said to it, and what shows that its server answers. */
const CLIENTS = {
  samba: {
    port: 445,
    unit: 'smbd',
    line: `smbclient --stderr --client-protection=encrypt --user=alice%wonderland --option='debug encryption=yes' //127.0.0.1/share`,
    say: 'ls\\n',
    answer: /blocks available/,
  },
  nginx: {
    port: 443,
    unit: 'nginx',
    line: 'openssl s_client -quiet -crlf -connect 127.0.0.1:443',
    say: 'GET / HTTP/1.1\\nHost: localhost\\n\\n',
    answer: /^hello/m,
  },
  sshd: { port: 22, unit: 'ssh', line: 'ssh 127.0.0.1 cat', say: 'hello\\n', answer: /^hello/m },
} as const satisfies Record<Name, object>;

/** Where smbd writes down what its sessions have agreed on. */
const KEY_FILE = '/run/samba/smbXsrv_session_global.tdb';

interface Session {
  readonly client: Client;
  /** The processes that serve it. */
  readonly pids: readonly string[];
}

let machine: ServiceMachine;
beforeAll(async () => {
  machine = await ServiceMachine.boot();
  await machine.putDocumented(page('samba'), '/etc/samba/smb.conf');
  await machine.putDocumented(page('nginx'), '/etc/nginx/conf.d/tls.conf');
  for (const name of NAMES) await machine.block(page(name), 'server');
  await machine.run('head -c 80 /dev/urandom >/etc/nginx/ticket.key');
  await machine.block(page('sshd'), 'client');
  await machine.serve();
}, 600_000);
afterAll(() => machine?.close());
afterEach(async () => {
  await machine.endClients();
  for (const { port } of Object.values(CLIENTS))
    await until(`nobody on port ${port}`, async () => (await machine.serving(port)).length === 0);
});

const answers = (name: Name, client: Client) => client.answers(CLIENTS[name].say, CLIENTS[name].answer);

async function open(name: Name): Promise<Session> {
  const client = await machine.background(CLIENTS[name].line);
  if (!(await answers(name, client))) throw new Error(`no session: ${await client.said()}`);
  const pids = await machine.serving(CLIENTS[name].port);
  expect(pids, name).not.toEqual([]);
  return { client, pids };
}

async function openAll(): Promise<Record<Name, Session>> {
  return { samba: await open('samba'), nginx: await open('nginx'), sshd: await open('sshd') };
}

/** Of an SMB session, in hexadecimal: what signs and what encrypts. */
async function keysOf({ client }: Session): Promise<string[]> {
  const lines = (await client.said()).matchAll(
    /^(?:Signing|ServerIn|ServerOut) Key +\[0000\] ((?:[\dA-F]{2} +){16})/gm,
  );
  const keys = [...lines].map(([, bytes]) => bytes.replaceAll(/\s/g, '').toLowerCase());
  expect(keys).toHaveLength(3);
  return keys;
}

/** Which keys smbd has written down. */
async function written(keys: readonly string[]): Promise<string[]> {
  const file = await machine.run(`[ ! -e ${KEY_FILE} ] || od -An -v -tx1 ${KEY_FILE} | tr -d ' \\n'`);
  return keys.filter(key => file.includes(key));
}

/** Whether the ticket that /root/ticket holds is accepted. */
const resumes = async () =>
  (await machine.run(
    `openssl s_client -tls1_2 -connect 127.0.0.1:443 -sess_in /root/ticket </dev/null 2>/dev/null | grep -oE '^(New|Reused)'`,
  )) === 'Reused\n';
const hostKey = () => machine.run('cat /etc/ssh/ssh_host_ed25519_key.pub');
const ticketKey = () => machine.run('od -An -v -tx1 /etc/nginx/ticket.key');

it('control: without the scripts every session goes on behind a fork, under its keys of before', async () => {
  const sessions = await openAll();
  const keys = await keysOf(sessions.samba);
  await machine.block(page('nginx'), 'client');
  const before = [await hostKey(), await ticketKey()];
  await machine.fork();
  await machine.reseed();
  for (const name of NAMES) {
    expect(await answers(name, sessions[name].client), name).toBe(true);
    expect(await machine.serving(CLIENTS[name].port), name).toEqual(sessions[name].pids);
  }
  expect(await written(keys)).toEqual(keys);
  expect(await resumes()).toBe(true);
  expect([await hostKey(), await ticketKey()]).toEqual(before);
});

it('control: what does less than the scripts leaves a session, its keys, or its ticket', async () => {
  const samba = await open('samba');
  const sshd = await open('sshd');
  const keys = await keysOf(samba);
  await machine.run('smbcontrol smbd close-share share');
  expect(await machine.alive(samba.pids)).toEqual(samba.pids);
  expect(await written(keys)).toEqual(keys);
  // The process that has the keys is gone, and the keys are there.
  await machine.run(`kill -KILL ${samba.pids.join(' ')}`);
  expect(await answers('samba', samba.client)).toBe(false);
  expect(await written(keys)).toEqual(keys);

  await machine.block(page('nginx'), 'client');
  await machine.run('systemctl reload nginx');
  expect(await resumes()).toBe(true);

  await machine.run('systemctl stop ssh');
  expect(await answers('sshd', sshd.client)).toBe(true);
  await machine.run('systemctl start ssh');
});

it('a fork ends every session at once, and what is started when the kernel has reseeded has keys of its own', async () => {
  // As after a boot: the broker is there before smbd has made its folder.
  await machine.run('systemctl stop smbd; rm -r /run/samba');
  for (const name of NAMES) await machine.install(name);
  await machine.run('systemctl start smbd');
  const sessions = await openAll();
  const keys = await keysOf(sessions.samba);
  await machine.block(page('nginx'), 'client');
  expect(await resumes()).toBe(true);
  const before = { host: await hostKey(), tickets: await ticketKey() };

  await machine.fork();
  for (const name of NAMES) {
    const { port, unit } = CLIENTS[name];
    expect(await machine.alive(sessions[name].pids), name).toEqual([]);
    expect(await machine.serving(port), name).toEqual([]);
    expect(await answers(name, sessions[name].client), name).toBe(false);
    // Nobody is let in while the random numbers may be those of a sibling, and nothing is made of them.
    expect(await machine.run(`systemctl is-active ${unit} || true`), name).not.toBe('active\n');
  }
  expect(await written(keys)).toEqual([]);
  expect(await hostKey()).toBe(before.host);

  await machine.reseed();
  expect(await resumes()).toBe(false);
  expect(await ticketKey()).not.toBe(before.tickets);
  expect(await hostKey()).not.toBe(before.host);
  // A client who knew the host is warned, until it is told.
  await expect(machine.run('ssh 127.0.0.1 true')).rejects.toThrow('IDENTIFICATION HAS CHANGED');
  await machine.block(page('sshd'), 'a client after the fork');
  await machine.block(page('samba'), 'client');
  const anew = await openAll();
  expect((await keysOf(anew.samba)).filter(key => keys.includes(key))).toEqual([]);
});
