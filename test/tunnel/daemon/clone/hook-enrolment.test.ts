// An identity that the hook's call brings to a clone: to whom it is given, and when.

import { expect, it } from 'vitest';
import type { Clone } from '../../../../tunnel/daemon/clone/clone.js';
import { hookEnrolment } from '../../../../tunnel/daemon/clone/hook-enrolment.js';
import { encodeKey } from '../../../../tunnel/keys.js';

const KEY = new Uint8Array(32).fill(1);
const ADDRESS = { ip: Uint8Array.of(192, 0, 2, 7), prefix: 32 };

/** A clone that speaks under whatever it is brought. */
function clone() {
  const brought: unknown[] = [];
  const parts: Partial<Clone> = {
    bring: (epoch, { addresses }) => void brought.push([epoch, addresses]),
    become: async (epoch, privateKey, { addresses }) => brought.push([epoch, addresses, privateKey]) > 0,
    enrolledIn: async epoch => ({ publicKey: KEY, parent: undefined, since: 0, addresses: [ADDRESS], epoch }),
  };
  return { brought, clone: parts as Clone };
}

const unresolved = async () => {
  throw new Error('no such host');
};

it.each([undefined, encodeKey(new Uint8Array(32).fill(5))])(
  'a call that comes while the daemon starts waits for its device, and nothing of it is lost (a key: %j)',
  async privateKey => {
    const own = clone();
    let started: (clone: Clone) => void = () => {};
    const enrol = hookEnrolment('hook', new Promise(resolve => (started = resolve)), unresolved);
    const answer = enrol({ address: '192.0.2.7', ...(privateKey && { privateKey }) })(2);
    await new Promise(resolve => setImmediate(resolve));
    started(own.clone);
    expect(await answer).toEqual({ publicKey: encodeKey(KEY), addresses: ['192.0.2.7/32'] });
    expect(own.brought).toEqual([privateKey ? [2, [ADDRESS], new Uint8Array(32).fill(5)] : [2, [ADDRESS]]]);
  },
);

it('one whose names cannot be resolved is refused with the reason, and the clone is told nothing', async () => {
  const own = clone();
  const enrol = hookEnrolment('hook', Promise.resolve(own.clone), unresolved);
  const peers = [{ publicKey: encodeKey(KEY), endpoint: 'gate.example:1' }];
  await expect(enrol({ address: '192.0.2.7', peers })(2)).rejects.toThrow('no such host');
  expect(own.brought).toEqual([]);
});

it('one for a clone that is told none is refused before anything is announced', () => {
  const enrol = hookEnrolment('derived', Promise.resolve(clone().clone), unresolved);
  expect(() => enrol({ address: '192.0.2.7' })).toThrow('identity: this clone is told none');
});
