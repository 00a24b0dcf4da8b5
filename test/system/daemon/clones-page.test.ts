// docs/clones.md: its commands, as they stand there, on two machines of this test's own; then the template is cloned.

import { randomUUID } from 'node:crypto';
import { afterEach, expect, it } from 'vitest';
import { documentBlocks } from '../../support/document-blocks.js';
import { until } from '../support/run.js';
import { closeMachines } from './support/machine.js';
import { type Shell, startShells } from './support/shell.js';

afterEach(closeMachines);

const blocks = documentBlocks('docs/clones.md');
const block = (who: string) => {
  const found = blocks.filter(each => each.startsWith(`# ${who}\n`));
  expect(found).toHaveLength(1);
  return found[0];
};

interface Enrolled {
  readonly publicKey: string;
  readonly addresses: readonly string[];
}

/** Who a machine is, by its status and by its interface. */
async function identity(shell: Shell): Promise<Enrolled> {
  const publicKey = (await shell.run('wg show wg0 public-key')).trim();
  const links = JSON.parse(await shell.run('ip -j -6 addr show dev wg0 scope global')) as [
    { addr_info: { local?: string }[] },
  ];
  // What was left out stands there empty.
  const addresses = links[0].addr_info.flatMap(({ local }) => local ?? []);
  return { publicKey, addresses };
}

const pings = (shell: Shell) =>
  shell.run('ping -6 -c 1 -W 1 fd5e:7c1a:9b2d::1 >/dev/null 2>&1 && echo yes || echo no');

it('makes a gateway and a template, whose clone has a key and an address of its own', async () => {
  const [gateway, template] = await startShells();
  await gateway.run(block('gateway'));
  const key = (await gateway.run('cat /etc/wireonce/wg0.pub')).trim();
  const secret = await gateway.run('cat /etc/wireonce/enrolment.secret');
  await template.run(
    `mkdir -p /etc/wireonce; umask 077; echo ${secret.trim()} >/etc/wireonce/enrolment.secret`,
  );
  // The hypervisor: a file that it writes before the clone runs.
  await template.run(`echo ${randomUUID()} >/etc/generation`);
  await template.run(
    'export WIREONCE_GENERATION_FILE=/etc/generation WIREONCE_GENERATION_FILE_TIMING=immediate',
  );
  await template.run(`GATEWAY=${gateway.address} GATEWAY_KEY=${key}`);
  await template.run(block('template'));
  await until('the template to reach its gateway', async () => (await pings(template)).trim() === 'yes');
  const parent = await identity(template);
  expect(parent.addresses).toHaveLength(1);
  expect(parent.addresses[0]).toMatch(/^fd5e:7c1a:9b2d:/);

  await template.run(`echo ${randomUUID()} >/etc/generation`);
  await until('the clone to be somebody else', async () => {
    const { publicKey } = await identity(template);
    return publicKey !== '(none)' && publicKey !== parent.publicKey;
  });
  await until('the clone to reach its gateway', async () => (await pings(template)).trim() === 'yes');
  const clone = await identity(template);
  expect(clone.addresses).toHaveLength(1);
  expect(clone.addresses).not.toEqual(parent.addresses);

  const known = await gateway.run('wireonce peers list wg0');
  expect(known).toContain(parent.publicKey);
  expect(known).toContain(clone.publicKey);
  // What is to be done when a snapshot leaks.
  await gateway.run(`wireonce peers remove wg0 ${clone.publicKey}`);
  expect((await gateway.run('wg show wg0 peers')).split('\n')).not.toContain(clone.publicKey);
  expect((await pings(template)).trim()).toBe('no');
}, 120_000);
