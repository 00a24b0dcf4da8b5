// What a packet costs on a device with very many peers, all of them in conversation, beside a device with one.
// Promises: packets go to peers, and come from them, in an order that no cache can foresee.
// Read on: sessions/allowed-ips.ts, sessions/index-table.ts.

import { messageLength } from '../../protocol/transport.js';
import type { Suite } from '../../protocol/suite.js';
import { MemorySource } from '../../vmgenid/sources/memory.js';
import { Gateway } from '../gateway.js';
import { inBatches, innerPacket } from '../machine.js';
import { type Candidate, type Effort, measure } from '../measure.js';
import { nextPeer } from '../peers/addresses.js';
import { type Row, ratioRow } from '../row.js';

const PACKET_BYTES = 1408;
const BATCH = 45;
/** Datagrams that one round of receiving consumes. */
const SLOTS = 8 * BATCH;

export async function peersSection(suite: Suite, peers: number, effort: Effort): Promise<Row[]> {
  const one = connected(suite, 1);
  const many = connected(suite, peers);
  const subject = (what: string) => ({
    section: 'peers',
    name: `${peers.toLocaleString('en')} peers, ${PACKET_BYTES} B: ${what}`,
    suite: suite.name,
    note: `batches of ${BATCH}`,
  });
  const sent = measure([sending(many, peers), sending(one, 1)], effort);
  const received = measure([receiving(many, peers), receiving(one, 1)], effort);
  await Promise.all([one.close(), many.close()]);
  return [
    ratioRow(subject('send'), sent[0], { name: 'with one peer', samples: sent[1] }),
    ratioRow(subject('receive'), received[0], { name: 'with one peer', samples: received[1] }),
  ];
}

function connected(suite: Suite, peers: number): Gateway {
  const gateway = new Gateway(suite, new MemorySource(), { keepSessions: true });
  gateway.addPeers(peers);
  gateway.connectAll();
  return gateway;
}

function sending({ device }: Gateway, peers: number): Candidate {
  const packets = Array.from({ length: BATCH }, () => innerPacket(PACKET_BYTES));
  let peer = 0;
  return {
    step: BATCH,
    run(times) {
      for (let sent = 0; sent < times; sent += BATCH) {
        for (const packet of packets) {
          address(packet, 16, peer);
          peer = nextPeer(peer, peers);
        }
        device.cork();
        device.expectPackets(packets, BATCH);
        for (const packet of packets) {
          if (device.sendPacket(packet) !== 'sent') throw new Error('a packet was not sent');
        }
        device.uncork();
      }
    },
  };
}

function receiving(gateway: Gateway, peers: number): Candidate {
  const packet = innerPacket(PACKET_BYTES);
  const { device } = gateway;
  const slots = Array.from({ length: SLOTS }, () => ({
    peer: 0,
    datagram: new Uint8Array(messageLength(PACKET_BYTES)),
  }));
  let peer = 0;
  return {
    maxTimes: SLOTS,
    prepare(times) {
      for (let i = 0; i < times; i++) {
        address(packet, 12, peer);
        gateway.sealFrom(peer, packet, PACKET_BYTES, slots[i].datagram);
        slots[i].peer = peer;
        peer = nextPeer(peer, peers);
      }
    },
    run(times) {
      const before = gateway.delivered;
      inBatches(device, BATCH, times, i => {
        const slot = slots[i];
        device.gatherDatagram(slot.datagram, gateway.endpointOf(slot.peer));
      });
      if (gateway.delivered - before !== times) throw new Error('a datagram was not delivered');
    },
  };
}

/** Writes the address of a peer, as `Gateway.addPeers` gives them, where the header has one of its two. */
function address(packet: Uint8Array, at: number, peer: number): void {
  packet[at] = 10;
  packet[at + 1] = peer >>> 16;
  packet[at + 2] = peer >>> 8;
  packet[at + 3] = peer;
}
