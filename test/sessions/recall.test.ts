// After a wipe the other side knows nothing: who calls whom, so that a conversation does not go dark?

import { describe, expect, it } from 'vitest';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { Network } from '../support/network.js';

const suite = await fastestSuite();

function conversation() {
  const network = new Network(suite);
  const [subject, peer] = network.addMachines(2);
  network.send(peer, 1, 0, 'the peer called');
  network.settle();
  network.send(subject, 0, 1, 'answer');
  network.settle();
  const clone = () => {
    const restored = subject.restore(subject.snapshot(), 'clone');
    network.machines.splice(0, 1);
    network.addClone(0, restored);
    return restored;
  };
  return { network, peer, clone };
}

describe('a machine that only answers', () => {
  it('calls its peer at once after a fork: nobody waits for fifteen seconds of silence', () => {
    const { network, peer, clone } = conversation();
    network.advance(2_000);
    const forked = clone();
    network.received[0].length = 0;
    network.advance(1);
    network.advance(20);
    expect(network.inFlight.map(({ bytes }) => bytes[0])).toEqual([1]);
    network.settle();
    network.send(peer, 1, 0, 'under the new keys');
    network.settle();
    expect(network.received[0]).toHaveLength(1);
    expect(forked.device.stats()).toMatchObject({ forks: 1, handshakesCompleted: 2 });
  });

  it('leaves a peer alone that was silent for longer than it takes to notice by itself', () => {
    const { network, clone } = conversation();
    // Keepalives come and go meanwhile; then all is quiet.
    for (let s = 0; s < 60; s++) {
      network.advance(1_000);
      network.settle();
    }
    clone();
    network.advance(1);
    network.advance(20);
    expect(network.inFlight).toEqual([]);
  });
});

it('many peers are called in portions, so that datagrams get their turn between', () => {
  const network = new Network(suite);
  const [subject] = network.addMachines(40);
  for (let peer = 1; peer < 40; peer++) network.send(subject, 0, peer, 'hello');
  network.settle();
  const clone = subject.restore(subject.snapshot(), 'clone');
  network.machines.splice(0, 1);
  network.addClone(0, clone);
  network.advance(1);
  const first = network.inFlight.length;
  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThan(39);
  network.advance(20);
  network.advance(20);
  expect(network.inFlight.length).toBe(39);
});

it('a packet that no datagram could carry is refused, and one byte less is not', () => {
  const { network } = conversation();
  const [{ machine }] = network.machines;
  const send = (length: number) => {
    const packet = new Uint8Array(length);
    packet.set([0x45, 0, 0, 20]);
    packet.set([10, 0, 0, 2], 16);
    return machine.device.sendPacket(packet);
  };
  expect(send(65_460)).toEqual({ drop: 'malformed' });
  expect(send(65_459)).toBe('sent');
});
