// A real gateway, and clients that nobody told it of: a stock WireGuard and ours, by UDP and by a WebSocket.
// Read on: docs/architecture.md "Admission"; gateway/admission.ts.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { until } from '../support/run.js';
import { Gateway, PREFIX, secretOf } from './support/gateway.js';
import { atEnd, closeMachines, folder, INNER } from './support/machine.js';

afterEach(closeMachines);

const statusOf = async ({ machine }: Gateway) => {
  const { gateway, ...rest } = await machine.status();
  if (!gateway) throw new Error('it is no gateway');
  return { ...rest, gateway };
};

/** What `wg show` says of a peer's addresses; undefined when there is no such peer. */
async function shown({ machine }: Gateway, publicKey: string): Promise<string | undefined> {
  return machine.show('allowed-ips', publicKey).catch(() => undefined);
}

describe.each([
  ['wireguard-go', 'udp'],
  ['wireonce', 'udp'],
  ['wireonce', 'websocket'],
] as const)('%s by %s', (kind, by) => {
  test('with what is derived from the secret is a peer', async () => {
    const gateway = await Gateway.start();
    const client = await gateway.client({ kind, by });
    expect(await client.ping({ waitS: 20 })).toBe(3);
    expect(await shown(gateway, client.publicKey)).toBe(`${client.address}/128`);
    const { peers, gateway: counts, transportDrops } = await statusOf(gateway);
    expect(counts).toMatchObject({ known: 1, present: 1, provisional: 0, admitted: 1 });
    expect(peers.map(({ publicKey }) => publicKey)).toContain(client.publicKey);
    // A connection that a peer came by is no stranger's.
    if (by === 'websocket') expect(transportDrops.unproven).toBe(0);
    // And the one that was configured is one.
    expect(await gateway.configured.ping(INNER.b4)).toBe(3);
  });
});

test('a client with another secret is none, and nothing of it stays', async () => {
  const gateway = await Gateway.start();
  const client = await gateway.client({ kind: 'wireguard-go', secret: secretOf(2) });
  expect(await client.ping({ count: 2, waitS: 3 })).toBe(0);
  expect(await shown(gateway, client.publicKey)).toBeUndefined();
  const { gateway: counts } = await statusOf(gateway);
  expect(counts).toMatchObject({ known: 0, present: 0, admitted: 0 });
  expect(counts.lookups).toBeGreaterThan(0);
  await client.machine.end('SIGTERM');
  await until('it to be forgotten', async () => (await statusOf(gateway)).gateway.provisional === 0);
  expect((await statusOf(gateway)).gateway.unproven).toBeGreaterThan(0);
});

test('who was admitted is so after a crash of the gateway, by the store, though there is no room for newcomers', async () => {
  const gateway = await Gateway.start({ settings: ['MaxPeers = 1'] });
  const client = await gateway.client({ kind: 'wireguard-go' });
  expect(await client.ping({ waitS: 20 })).toBe(3);
  const late = await gateway.client({ kind: 'wireguard-go' });
  expect(await late.ping({ count: 1, waitS: 3 })).toBe(0);
  const { gateway: before, hints } = await statusOf(gateway);
  expect(before.refused.full).toBeGreaterThan(0);
  expect(hints.join()).toContain('MaxPeers');

  const { machine } = gateway;
  await machine.end('SIGKILL');
  await machine.launch();
  await machine.wg('set', machine.name, 'listen-port', `${gateway.port}`);
  await machine.up(`${PREFIX}1/64`);
  await client.beginAnew();
  expect(await client.ping({ waitS: 20 })).toBe(3);
  expect((await statusOf(gateway)).gateway).toMatchObject({ known: 1, present: 1, admitted: 1 });
});

test('two secrets: clients of the old and of the new one are peers, and each comes back', async () => {
  const gateway = await Gateway.start({ secrets: [secretOf(2), secretOf(1)] });
  const old = await gateway.client({ kind: 'wireguard-go', secret: secretOf(1) });
  const young = await gateway.client({ kind: 'wireguard-go', secret: secretOf(2) });
  expect(await old.ping({ waitS: 30 })).toBe(3);
  expect(await young.ping({ waitS: 30 })).toBe(3);
  expect((await statusOf(gateway)).gateway).toMatchObject({ known: 2, present: 2, admitted: 2 });
  const { machine } = gateway;
  for (const { publicKey } of [old, young])
    await machine.wg('set', machine.name, 'peer', publicKey, 'remove');
  for (const client of [old, young]) {
    await client.beginAnew();
    expect(await client.ping({ waitS: 30 })).toBe(3);
  }
  expect((await statusOf(gateway)).gateway).toMatchObject({ known: 2, present: 2, admitted: 4 });
});

test('an operator who removes a client ends its session at once; it may come again', async () => {
  const gateway = await Gateway.start();
  const client = await gateway.client({ kind: 'wireguard-go' });
  expect(await client.ping({ waitS: 20 })).toBe(3);
  const { machine } = gateway;
  await machine.wg('set', machine.name, 'peer', client.publicKey, 'remove');
  expect(await shown(gateway, client.publicKey)).toBeUndefined();
  expect(await client.ping({ count: 1, waitS: 1 })).toBe(0);
  await client.beginAnew();
  expect(await client.ping({ waitS: 20 })).toBe(3);
  expect((await statusOf(gateway)).gateway).toMatchObject({ known: 1, present: 1, admitted: 2 });
});

test('an operator who configures a client has it as he says, and the gateway lets go of it', async () => {
  const gateway = await Gateway.start();
  const client = await gateway.client({ kind: 'wireguard-go' });
  expect(await client.ping({ waitS: 20 })).toBe(3);
  const { machine } = gateway;
  await machine.wg('set', machine.name, 'peer', client.publicKey, 'persistent-keepalive', '25');
  expect((await statusOf(gateway)).gateway.present).toBe(0);
  expect(await client.ping()).toBe(3);
  expect(await shown(gateway, client.publicKey)).toBe(`${client.address}/128`);
});

test('an operator who revokes a client ends its session at once, and it cannot come again before he lets it', async () => {
  const gateway = await Gateway.start();
  const client = await gateway.client({ kind: 'wireguard-go' });
  expect(await client.ping({ waitS: 20 })).toBe(3);
  await gateway.peers('remove', client.publicKey);
  expect(await shown(gateway, client.publicKey)).toBeUndefined();
  await client.beginAnew();
  expect(await client.ping({ count: 2, waitS: 3 })).toBe(0);
  const { gateway: counts, drops } = await statusOf(gateway);
  expect(counts).toMatchObject({ known: 0, present: 0, provisional: 0 });
  expect(counts.refused.revoked).toBeGreaterThan(0);
  expect(drops.notAdmitted).toBeGreaterThan(0);
  await gateway.peers('remove', '--forget', client.publicKey);
  expect(await client.ping({ count: 1, waitS: 20 })).toBe(1);
});

test('a client that an operator has added has what he gave it, and needs no secret', async () => {
  const gateway = await Gateway.start();
  const client = await gateway.client({ kind: 'wireguard-go', secret: secretOf(9) });
  const psk = client.machine.file('given', Buffer.alloc(32, 3).toString('base64'));
  const { machine } = client;
  await machine.wg('set', machine.name, 'peer', gateway.machine.publicKey, 'preshared-key', psk);
  await gateway.peers('add', client.publicKey, '--allowed-ips', client.address, '--preshared-key-file', psk);
  expect(await client.ping({ waitS: 20 })).toBe(3);
  // And has what he gives it next, though it is there.
  await gateway.peers('add', client.publicKey, '--allowed-ips', 'fd00::7', '--preshared-key-file', psk);
  expect(await shown(gateway, client.publicKey)).toBeUndefined();
  await client.beginAnew();
  expect(await client.ping({ count: 1, waitS: 2 })).toBe(0);
  await until('it to be there', async () => (await shown(gateway, client.publicKey)) === 'fd00::7/128');
});

describe('a service that is asked', () => {
  const PORT = 9_997;
  const SERVICE = fileURLToPath(new URL('./support/peer-service.mjs', import.meta.url));

  /** In the gateway's namespace; `asked` for so many peers so far. */
  async function serve({ machine }: Gateway, home: string): Promise<{ asked(): number }> {
    const args = ['netns', 'exec', machine.namespace, process.execPath, SERVICE, `${PORT}`, home];
    const child: ChildProcess = spawn('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    atEnd(async () => {
      const gone = once(child, 'exit');
      child.kill();
      await gone;
    });
    let text = '';
    child.stdout?.on('data', chunk => (text += String(chunk)));
    await until('the service', () => text.includes('ready'));
    return { asked: () => text.split('asked').length - 1 };
  }

  test('lets in whom it knows, and its answer is of no use to a machine that was forked meanwhile', async () => {
    const home = folder();
    const generation = join(home, 'generation');
    const write = (byte: number) => {
      writeFileSync(`${generation}.new`, Buffer.alloc(16, byte));
      renameSync(`${generation}.new`, generation);
    };
    write(1);
    const gateway = await Gateway.start({
      store: `http://127.0.0.1:${PORT}/`,
      interface: [`GenerationFile = ${generation}`, 'GenerationFileTiming = immediate'],
    });
    const service = await serve(gateway, home);
    const client = await gateway.client({ kind: 'wireguard-go' });
    const pinging = client.ping({ count: 1, waitS: 50 });
    await until('a question', () => service.asked() === 1);
    write(2);
    await until('the fork to be seen', async () => (await gateway.machine.status()).forks === 1);
    const answer = { allowedIps: [`${client.address}/128`], enrolledUnder: 'any' };
    writeFileSync(join(home, 'answer'), JSON.stringify(answer));
    expect(await pinging).toBe(1);
    // Who was answered before had to be asked about anew.
    expect(service.asked()).toBeGreaterThan(1);
    expect((await statusOf(gateway)).gateway).toMatchObject({ known: null, present: 1, admitted: 1 });
  });

  test('keeps out whom it does not know, though he has the secret', async () => {
    const home = folder();
    writeFileSync(join(home, 'answer'), '');
    const gateway = await Gateway.start({ store: `http://127.0.0.1:${PORT}/` });
    const service = await serve(gateway, home);
    const client = await gateway.client({ kind: 'wireguard-go' });
    expect(await client.ping({ count: 1, waitS: 3 })).toBe(0);
    expect(service.asked()).toBeGreaterThan(0);
    expect((await statusOf(gateway)).gateway.refused.notEnrolled).toBeGreaterThan(0);
  });
});
