// A machine is cloned in the middle of a session, and sees it.
// What to see: neither clone sends another byte under the old keys; each makes a handshake of its own, with random
// numbers of its own, and its packet follows. But for one argument this is unguarded-catastrophe.ts: `diff` them.
// Run: npm run build && node dist/examples/guarded-twin.js (exit status 1 if a counter was used twice)

import { realpathSync } from 'node:fs';
import { Crng } from 'wireonce/crng';
import { Device } from 'wireonce/sessions';
import { MemorySource, parseGuid, VmGenId } from 'wireonce/vmgenid';
import { Lab, MACHINE, recoverPlaintext, SERVER, seededEntropy } from './clone-lab.js';
import { ipv4Packet, ipv4Text } from './ipv4.js';

/** What each clone says next. The first is the kind of thing that anybody can guess. */
export const NEXT = [
  'GET /health HTTP/1.1  Host: shop.internal',
  'POST /pay  card=4111111111111111 cvc=737',
] as const;

export async function main(print: (line: string) => void = console.log) {
  const lab = new Lab();
  // A snapshot is all of a machine's memory. Two machines that start from one seed and live through the same have the
  // same memory, to the byte: as long as they do, they are one machine, and the wire sees each datagram twice.
  const clones = [
    { name: 'a', next: NEXT[0] },
    { name: 'b', next: NEXT[1] },
  ].map(({ name, next }) => {
    const hypervisor = new MemorySource();
    const vmgenid = new VmGenId([hypervisor]); // the hypervisor is asked before anything leaves
    const crng = new Crng({ entropy: seededEntropy('one memory'), vmgenid, now: lab.clock.now });
    const privateKey = crng.x25519PrivateKey();
    const device = new Device({ privateKey, crng, vmgenid, clock: lab.clock, sink: lab.networkCard });
    lab.connect(device);
    return { name, next, hypervisor, vmgenid, crng, device };
  });
  for (const { device } of clones) device.sendPacket(ipv4Packet(MACHINE, SERVER, 'hello'));
  lab.deliver();
  print(`one machine: handshake done, ${lab.datagrams} packet sent, seen again byte for byte: ${lab.copies}`);

  // The snapshot is restored twice. The hypervisor gives each clone a generation ID of its own.
  for (const { name, hypervisor } of clones) {
    hypervisor.fork(parseGuid(`${name.repeat(8)}-0000-4000-8000-000000000000`));
  }
  // From here on the two live apart.
  for (const { name, next, device } of clones) {
    lab.wait(1_000);
    const result = device.sendPacket(ipv4Packet(MACHINE, SERVER, next));
    lab.deliver();
    print(`clone ${name}: its next packet is ${JSON.stringify(result)}`);
  }

  for (const { receiverIndex, counter, first, second } of lab.reuses) {
    print(`two packets under one key (of receiver ${receiverIndex}) and one counter (${counter}):`);
    for (const datagram of [first, second])
      print(`  ${Buffer.from(datagram.subarray(0, 48)).toString('hex')}...`);
  }
  const guessed = ipv4Packet(MACHINE, SERVER, NEXT[0]);
  const recovered = lab.reuses.map(reuse => ipv4Text(recoverPlaintext(reuse, guessed)));
  print(`read off the wire without a key: ${recovered.join() || 'nothing'}`);
  const handshakes = clones.map(({ device }) => device.stats().handshakesCompleted);
  print(`handshakes of the clones, that of their common past included: ${handshakes.join(' and ')}`);

  for (const { device, crng, vmgenid } of clones) {
    device.close();
    crng.close();
    await vmgenid.close();
  }
  await lab.close();
  const { copies, reuses, heardByServer } = lab;
  return { copies, reuses, recovered, handshakes, heardByServer };
}

if (import.meta.filename === realpathSync(process.argv[1] ?? '.')) {
  const { reuses, heardByServer } = await main();
  process.exitCode = reuses.length === 0 && heardByServer.includes(NEXT[1]) ? 0 : 1;
}
