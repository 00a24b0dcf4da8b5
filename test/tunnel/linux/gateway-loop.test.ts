// A device loop as a gateway, over a fake kernel: whom an operator sees, and what he may do.
// Read on: tunnel/linux/device-configuration.ts; test/sessions/admission.test.ts (what the device does).

import { afterEach, describe, expect, it } from 'vitest';
import { nobleSuite } from '../../../protocol/suites/noble.js';
import type { AdmittedPeer } from '../../../sessions/admission.js';
import type { UapiChanges, UapiPeerChange } from '../../../tunnel/daemon/uapi/types.js';
import { encodeKey } from '../../../tunnel/keys.js';
import type { LoopMachine } from '../../support/loop-machine.js';
import { LoopNetwork } from '../../support/loop-network.js';
import { NOTHING, closeAll } from '../../support/loop-story.js';

const nobody: UapiChanges = { replacePeers: false, peers: [] };

let network: LoopNetwork;

afterEach(() => {
  expect(closeAll(network)).toEqual(NOTHING);
});

function change(
  machine: LoopMachine,
  peer: Partial<UapiPeerChange> & Pick<UapiPeerChange, 'publicKey'>,
): void {
  const whole = { remove: false, updateOnly: false, replaceAllowedIps: false, allowedIps: [], ...peer };
  machine.run(({ loop }) => loop.set({ replacePeers: false, peers: [whole] }));
}

/** A client, and a gateway that it knows and that was told to forget it. */
function doors(answer: () => AdmittedPeer | undefined) {
  network = new LoopNetwork(nobleSuite);
  let asked = 0;
  const admit = () => {
    asked++;
    return answer();
  };
  const [gateway, client] = network.addMachines(2, { loop: { admission: { admit } } });
  const publicKey = client.device.publicKey as Uint8Array;
  change(gateway, { publicKey, remove: true });
  const call = () => {
    network.send(client, 1, 0, 'hello');
    network.settle();
  };
  return { gateway, client, publicKey, call, asked: () => asked };
}

const yes = (presharedKey?: Uint8Array): AdmittedPeer => ({
  presharedKey,
  allowedIps: [{ ip: Uint8Array.of(10, 0, 0, 2), prefix: 32 }],
});

const shown = ({ loop }: LoopMachine) => loop.get().peers.map(({ publicKey }) => encodeKey(publicKey));
const reported = ({ loop }: LoopMachine) => loop.report().peers.map(({ publicKey }) => publicKey);

describe('a peer that was not configured', () => {
  it('is shown like any other when it is proven', () => {
    const { gateway, publicKey, call } = doors(() => yes());
    call();
    expect(gateway.device.peer(publicKey)?.origin).toBe('admitted');
    expect([shown(gateway), reported(gateway)]).toEqual([[encodeKey(publicKey)], [encodeKey(publicKey)]]);
  });

  it('is not shown as long as it has proven nothing: strangers would fill what an operator reads', () => {
    const { gateway, publicKey, call } = doors(() => yes(new Uint8Array(32).fill(1)));
    call();
    expect(gateway.device.peer(publicKey)?.origin).toBe('provisional');
    expect([shown(gateway), reported(gateway)]).toEqual([[], []]);
  });

  it.each([
    ['admitted', yes()],
    ['provisional', yes(new Uint8Array(32).fill(1))],
  ])('and is %s is removed by an operator at once', (origin, answer) => {
    const { gateway, publicKey, call } = doors(() => answer);
    call();
    expect(gateway.device.peer(publicKey)?.origin).toBe(origin);
    change(gateway, { publicKey, remove: true });
    expect(gateway.device.peer(publicKey)).toBeUndefined();
  });

  it('is evicted, unless an operator has configured it meanwhile', () => {
    const { gateway, publicKey, call } = doors(() => yes());
    call();
    gateway.run(({ loop }) => loop.evict(publicKey));
    expect(gateway.device.peers()).toEqual([]);
    change(gateway, { publicKey });
    gateway.run(({ loop }) => loop.evict(publicKey));
    expect(gateway.device.peer(publicKey)?.origin).toBe('configured');
  });
});

describe('a peer that was refused', () => {
  it('is asked about again at once when an operator says so, and by nothing else that he sets', () => {
    const { gateway, client, call, asked } = doors(() => undefined);
    const callAgain = () => {
      network.advance(5_500);
      network.settle();
    };
    call();
    expect(asked()).toBe(1);
    gateway.run(({ loop }) => loop.set(nobody));
    callAgain();
    expect(asked()).toBe(1);
    expect(gateway.device.stats().drops.notAdmitted).toBeGreaterThan(1);
    gateway.run(({ loop }) => loop.set({ ...nobody, forgetRefusals: true }));
    callAgain();
    expect(asked()).toBe(2);
    expect(client.device.stats().handshakesCompleted).toBe(0);
  });
});
