import { expect, it } from 'vitest';
import { demo, demonstrates } from '../../cli/demo.js';
import { runCli } from '../../cli/program.js';
import { terminal } from './terminal.js';

it('shows reuse without protection, reads the plaintext off the wire, and shows none with it', async () => {
  let out = '';
  const report = await demo({ forks: 2, json: true, colour: false, write: text => (out += text) });
  expect(JSON.parse(out)).toEqual(report);
  expect(demonstrates(report)).toBe(true);
  // Two clones say four things each: the second repeats the counters of the first.
  expect(report.unguarded.reusedNonces).toBe(2 * 4);
  expect(report.unguarded.recovered).toContain('card=4111111111111111');
  expect(report.guarded).toMatchObject({ reusedNonces: 0, newHandshakes: 4, wipedKeypairs: 4 });
  expect(report.guarded.datagrams).toBeGreaterThan(2 * 8);
  expect(report.enrolled).toMatchObject({ clones: 4, keys: 4, addresses: 4, reached: 4 });
  expect(report.enrolled).toMatchObject({ underParentKey: 0, reusedNonces: 0 });
});

it('tells the story in lines a person can read', async () => {
  let out = '';
  await demo({ forks: 1, json: false, colour: false, write: text => (out += text) });
  expect(out).toContain('snapshot of the sandbox, restored twice');
  expect(out).toMatch(/without +\d+ +4/);
  expect(out).toMatch(/with +\d+ +0/);
  expect(out).toMatch(/enrolled +\d+ +0 +2 clones, 2 keys, 2 reached/);
  expect(out).not.toContain('\u001b');
});

it.each([
  ['wireonce', {}],
  ['node dist/cli/main.js', { npm_lifecycle_event: 'start' }],
])('ends with what to look at next, as a command that there is: %s', async (name, env) => {
  const io = terminal('', env);
  expect(await runCli(['demo'], io)).toBe(0);
  const commands = [...io.out.matchAll(/: +((?:wireonce|node) .*)$/gm)].map(([, command]) => command);
  expect(commands).toEqual([`${name} demo --web`, `${name} vmgenid status`]);
});

it('ends at the signal', async () => {
  const signal = AbortSignal.abort();
  const options = { forks: 1_000, json: true, colour: false, write: () => undefined, signal };
  await expect(demo(options)).rejects.toMatchObject({ code: 'ERR_CLI_INTERRUPTED' });
});

it('does not call a run without harm a demonstration', () => {
  const guarded = { datagrams: 10, reusedNonces: 0, wipedKeypairs: 2, newHandshakes: 2 };
  const recovered = 'POST /pay HTTP/1.1  card=4111111111111111 cvc=737 name=A.Turing';
  const harmed = { datagrams: 10, reusedNonces: 4, recovered };
  const enrolled = {
    clones: 2,
    keys: 2,
    addresses: 2,
    reached: 2,
    underParentKey: 0,
    datagrams: 9,
    reusedNonces: 0,
  };
  const good = { unguarded: harmed, guarded, enrolled, forks: 1 };
  expect(demonstrates(good)).toBe(true);
  const bad = [
    { unguarded: { ...harmed, reusedNonces: 0 } },
    { guarded: { ...guarded, reusedNonces: 1 } },
    { guarded: { ...guarded, newHandshakes: 1 } },
    { enrolled: { ...enrolled, keys: 1 } },
    { enrolled: { ...enrolled, addresses: 1 } },
    { enrolled: { ...enrolled, reached: 1 } },
    { enrolled: { ...enrolled, underParentKey: 1 } },
    { enrolled: { ...enrolled, reusedNonces: 1 } },
    { enrolled: { ...enrolled, clones: 1, keys: 1, addresses: 1, reached: 1 } },
  ];
  for (const part of bad) expect(demonstrates({ ...good, ...part })).toBe(false);
});
