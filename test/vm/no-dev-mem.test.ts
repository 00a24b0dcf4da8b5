// Real clones of a machine whose page no program may map: it is read by one in the kernel. The same under lockdown is in
// `npm run prove -- --only bpf`.

import { describe, expect, it } from 'vitest';
import { wireonce } from './subjects/wg-interface.js';
import { haveReturned, isHarmed, useLab } from './support.js';

const test = useLab();
/** Nothing else may tell of the fork, or protect. */
const alone = { before: 'rm /dev/mem', settings: { KMSG: 'off' }, immediate: ['bpf'] };

describe('clones of wireonce without /dev/mem', () => {
  it('use no key and nonce twice, and return by new handshakes', async () => {
    const instants = ['mid-burst', 'packet by packet'];
    const results = await test.forks(wireonce('wireonce (bpf)', alone), instants);
    expect(results.map(result => result.reused)).toEqual(instants.map(() => 0));
    expect(results.every(haveReturned)).toBe(true);
  });

  it('control: where the page is read once and for all, they use a nonce or an ephemeral key twice', async () => {
    const frozen = wireonce('wireonce (bpf, frozen)', {
      ...alone,
      replaced: { 'vmgenid/sources/bpf': 'frozen-bpf' },
    });
    // On a busy machine one clone may come to send when its peer has not answered for long, and begins anew by itself.
    const attempts = Array<string>(8).fill('steady traffic');
    const results = await test.forks(frozen, attempts, { enough: 2_000, until: 'harm' });
    expect(results.some(isHarmed)).toBe(true);
  });
});
