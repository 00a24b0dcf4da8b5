// vmgenid serve: the broker as a command, from its options to its end.

import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCli } from '../../cli/program.js';
import { BrokerTestClient } from '../support/broker-client.js';
import { type Terminal, terminal } from './terminal.js';

const GUIDS = ['00112233-4455-6677-8899-aabbccddeeff', 'ffeeddcc-bbaa-9988-7766-554433221100'];
let folder: string;
let file: string;
let page: string;
let socket: string;
const running: { io: Terminal; ended: Promise<number> }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-serve-'));
  file = join(folder, 'generation');
  // In a folder that is not there yet.
  page = join(folder, 'run', 'vmgenid');
  socket = join(folder, 'run', 'vmgenid.sock');
  setGeneration(GUIDS[0]);
});
afterEach(async () => {
  for (const { io, ended } of running.splice(0)) {
    io.interrupt();
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

function setGeneration(guid: string): void {
  writeFileSync(`${file}.new`, `${guid}\n`);
  renameSync(`${file}.new`, file);
}

function serve(...more: string[]) {
  const io = terminal();
  const places = ['--counter-file', page, '--socket', socket];
  const sources = ['--no-acpi', '--no-bpf', '--no-vmclock', '--no-kmsg', '--file', file];
  const ended = runCli(['vmgenid', 'serve', ...sources, ...places, ...more], io);
  running.push({ io, ended });
  const said = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const look = () => pattern.test(io.out) && resolve();
      io.onOut = look;
      look();
      void ended.then(() => reject(new Error(`ended before ${pattern}: ${io.out}${io.err}`)));
    });
  return { io, ended, said };
}

/** What the hook answers. */
function ask(
  path: string,
  method = 'GET',
): Promise<{ status: number | undefined; json: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    request({ socketPath: join(folder, 'hook.sock'), path, method, agent: false }, response => {
      let text = '';
      response.on('data', chunk => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode, json: JSON.parse(text) }));
    })
      .on('error', reject)
      .end();
  });
}

const counter = () => readFileSync(page).readUInt32LE(0);

describe('vmgenid serve', () => {
  test('tells a fork by page, socket and command, and prints when it is settled', async () => {
    const mark = join(folder, 'mark');
    const { io, ended, said } = serve('--exec', `echo "$WIREONCE_EPOCH $WIREONCE_VMGENID" > ${mark}`);
    await said(/serving/);
    const client = await BrokerTestClient.connect(socket);
    client.say('subscribe');
    await client.line(/^subscribed 1/);
    setGeneration(GUIDS[1]);
    await client.line(/^fork 2 counter 1 /);
    expect(counter()).toBe(1);
    client.say('ack 2');
    await said(/settled: epoch 2, 2 acknowledged, 0 missed\n/);
    expect(readFileSync(mark, 'utf8')).toBe(`2 ${GUIDS[1]}\n`);
    expect(io.out).toMatch(/^\S+Z watching file:.*\n\S+Z counter page: new, counter 0\n\S+Z serving /);
    expect(io.out).toMatch(/Z fork: epoch 2, seen by file:.*\n(.*\n)*.*Z settled/);
    io.interrupt();
    expect(await ended).toBe(0);
    await client.end();
    expect(existsSync(socket)).toBe(false);
  });

  test('prints JSON, one object for each event', async () => {
    const { io, said } = serve('--json', '--exec', 'exit 7');
    await said(/"serving"/);
    setGeneration(GUIDS[1]);
    await said(/"settled"/);
    const events = io.out
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>);
    expect(events.map(({ event }) => event)).toEqual([
      'watching',
      'page',
      'serving',
      'fork',
      'commandFailed',
      'settled',
    ]);
    expect(events[5]).toMatchObject({ epoch: 2, acknowledged: 0, missed: 1 });
  });

  test('says ready at the hook when the command has succeeded for the fork, and never before', async () => {
    const ready = join(folder, 'may-succeed');
    const { said } = serve('--hook', join(folder, 'hook.sock'), '--exec', `test -e ${ready}`);
    await said(/serving/);
    expect((await ask('/fork')).json).toMatchObject({ epoch: 1, ready: true, missing: [] });
    setGeneration(GUIDS[1]);
    await said(/the command failed \(epoch 2\)/);
    expect(await ask('/fork?wait=2s')).toMatchObject({
      status: 504,
      json: { epoch: 2, missing: ['command'] },
    });
    expect((await ask('/fork', 'POST')).json).toMatchObject({ epoch: 2, ready: false });
    writeFileSync(ready, '');
    // It is tried again.
    expect(await ask('/fork?wait=60s')).toMatchObject({ status: 200, json: { epoch: 2, ready: true } });
  });

  test('says at its start that a fork was missed', async () => {
    const first = serve();
    await first.said(/serving/);
    first.io.interrupt();
    await first.ended;
    setGeneration(GUIDS[1]);
    const { io, said } = serve();
    await said(/serving/);
    expect(io.out).toContain(
      'counter page: moved on: this machine was forked while nobody served, counter 1',
    );
  });

  test('serves what it was told to alone', async () => {
    const { said } = serve('--no-counter-file', '--socket-mode', '660');
    await said(/serving/);
    expect(existsSync(page)).toBe(false);
    expect(statSync(socket).mode & 0o777).toBe(0o660);
  });

  test.each([
    ['--socket-mode', '888'],
    ['--ack-timeout', '0'],
  ])('refuses %s %s', async (...option) => {
    const { io, ended } = serve(...option);
    expect(await ended).toBe(2);
    expect(io.err).toMatch(/^wireonce: .* wanted/);
  });

  test('a page that cannot be had ends it, with the reason', async () => {
    const { io, ended } = serve('--counter-file', file);
    expect(await ended).toBe(1);
    expect(io.err).toMatch(/^wireonce: counter page .*: has 37 bytes, so it is no counter page/);
    expect(existsSync(socket)).toBe(false);
  });
});
