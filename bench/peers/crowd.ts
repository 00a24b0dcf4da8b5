// The program on the far side: very many peers in one process, each with its own keys, address and session.
// Promises: handshakes, cookies and messages are those of the protocol, with no help from the gateway; what cannot be
// sent at once is dropped, as by a network. Its time counts for nobody.
// Read on: protocol/handshake.ts, protocol/cookie.ts; messages.ts (who gives it orders).

import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { sealerOf } from '../../protocol/batches.js';
import {
  COOKIE_REPLY,
  HANDSHAKE_RESPONSE,
  INITIATION_BYTES,
  TRANSPORT_OVERHEAD_BYTES,
} from '../../protocol/constants.js';
import { cookieKey, mac1Key, openCookieReply, writeMac1, writeMac2 } from '../../protocol/cookie.js';
import {
  type LocalIdentity,
  type RemoteIdentity,
  type SentInitiation,
  createInitiation,
} from '../../protocol/handshake.js';
import { KEYPAIR_BYTES, Keypair } from '../../protocol/keypair.js';
import { COOKIE, INITIATION, RESPONSE, messageType, readU32 } from '../../protocol/messages.js';
import { KEY_BYTES, MAC_BYTES, type Sealer, type Suite } from '../../protocol/suite.js';
import { fastestSuite } from '../../protocol/suites/fastest.js';
import { tai64n } from '../../protocol/tai64n.js';
import { messageLength, sealPacket } from '../../protocol/transport.js';
import { parseIp } from '../../tunnel/ip.js';
import { DatagramPool } from '../../tunnel/linux/net/datagram-pool.js';
import { type Libc, requireLibc } from '../../tunnel/linux/libc.js';
import { SendBatch } from '../../tunnel/linux/net/send-batch.js';
import { LinuxUdpSocket } from '../../tunnel/linux/net/udp.js';
import { LinuxUdpEndpoint, V4_INTERFACE, V4_LOCAL } from '../../tunnel/linux/net/udp-endpoint.js';
import { innerPacket } from '../machine.js';
import { LISTEN_PORT } from '../tunnel/pair.js';
import { CABLE } from '../tunnel/topology.js';
import { NOWHERE, innerAddress, nextPeer, outerAddress } from './addresses.js';
import { answerOrders } from './orders.js';
import type { CrowdSettings } from './messages.js';

/** Handshakes under way at a time: few enough for no gateway to believe in an attack by their number alone. */
const WINDOW = 32;
/** A handshake that is not answered within so many milliseconds is begun anew. */
const PATIENCE_MS = 250;
const MAX_ATTEMPTS = 40;
const BATCH = 32;
const SOURCE_ADDRESS = 12;
const TARGET_ADDRESS = 16;

interface Peer {
  readonly local: LocalIdentity;
  readonly staticShared: Uint8Array;
  /** The gateway, reached from this peer's own address. */
  readonly way: LinuxUdpEndpoint;
  readonly inner: Uint8Array;
  cookie: Uint8Array | undefined;
  lastMac1: Uint8Array;
  sent: SentInitiation | undefined;
  session: Keypair | undefined;
}

class Crowd {
  readonly #suite: Suite;
  readonly #sealer: Sealer;
  readonly #socket: LinuxUdpSocket;
  readonly #pool: DatagramPool;
  readonly #out: SendBatch;
  readonly #peers: Peer[];
  readonly #publicKey: Uint8Array;
  readonly #mac1Key: Uint8Array;
  readonly #cookieKey: Uint8Array;
  readonly #initiation = new Uint8Array(INITIATION_BYTES);
  #connected = 0;

  constructor(libc: Libc, suite: Suite, settings: CrowdSettings) {
    this.#suite = suite;
    this.#sealer = sealerOf(suite);
    this.#pool = new DatagramPool(libc);
    this.#socket = LinuxUdpSocket.open(libc, { port: LISTEN_PORT, ipv6: false });
    this.#out = new SendBatch(libc, this.#pool, BATCH);
    // One peer or very many: every datagram travels by itself.
    this.#out.segmentLimit = 0;
    this.#publicKey = fromHex(settings.gatewayPublicKey);
    this.#mac1Key = mac1Key(suite, this.#publicKey);
    this.#cookieKey = cookieKey(suite, this.#publicKey);
    const gateway = parseIp(settings.gatewayAddress)?.ip as Uint8Array;
    const cable = Number(readFileSync(`/sys/class/net/${CABLE}/ifindex`, 'utf8'));
    this.#peers = settings.privateKeys.map((hex, i) => {
      const privateKey = fromHex(hex);
      const publicKey = new Uint8Array(KEY_BYTES);
      suite.publicKey(privateKey, publicKey);
      const staticShared = new Uint8Array(KEY_BYTES);
      suite.sharedSecret(privateKey, this.#publicKey, staticShared);
      return {
        local: { privateKey, publicKey },
        staticShared,
        way: wayFrom(outerAddress(i), gateway, cable),
        inner: innerAddress(i),
        cookie: undefined,
        lastMac1: new Uint8Array(MAC_BYTES),
        sent: undefined,
        session: undefined,
      };
    });
  }

  /** A handshake of each peer. Throws when one does not come about. */
  connect(): void {
    const waiting = this.#peers.map((_, i) => i).toReversed();
    for (let attempt = 0; waiting.length > 0; attempt++) {
      const window = waiting.splice(-WINDOW);
      const goal = this.#connected + window.length;
      for (const i of window) this.#initiate(i);
      this.#flush();
      const deadline = performance.now() + PATIENCE_MS;
      while (this.#connected < goal && performance.now() < deadline) this.#receive();
      // To the end, so that one that never answers is not all that is tried.
      const missing = window.filter(i => !this.#peers[i].session);
      if (missing.length === 0) continue;
      waiting.unshift(...missing);
      if (attempt > (MAX_ATTEMPTS * this.#peers.length) / WINDOW + MAX_ATTEMPTS) {
        throw new Error(`${waiting.length} of ${this.#peers.length} handshakes do not come about`);
      }
    }
  }

  /** Sends packets of so many bytes, peer after peer, for so long. */
  send(seconds: number, packetBytes: number): void {
    const packet = innerPacket(packetBytes);
    packet.set(NOWHERE, TARGET_ADDRESS);
    const sealer = this.#sealer;
    const end = performance.now() + seconds * 1e3;
    let at = 0;
    while (performance.now() < end) {
      for (let i = 0; i < BATCH; i++) {
        const peer = this.#peers[at];
        at = nextPeer(at, this.#peers.length);
        const slot = this.#pool.take(messageLength(packetBytes));
        if (!slot) throw new Error('the pool is empty');
        packet.set(peer.inner, SOURCE_ADDRESS);
        sealPacket(sealer, peer.session as Keypair, packet, packetBytes, slot);
        this.#out.push(slot, peer.way, true);
      }
      sealer.settle();
      this.#flush();
    }
  }

  close(): void {
    this.#out.clear();
    this.#socket.close();
  }

  #initiate(i: number): void {
    const peer = this.#peers[i];
    const message = this.#initiation.fill(0);
    const input = {
      ephemeralPrivate: randomBytes(KEY_BYTES),
      senderIndex: i,
      timestamp: tai64n(performance.timeOrigin + performance.now()),
    };
    peer.sent = createInitiation(this.#suite, peer.local, this.#gatewayOf(peer), input, message);
    writeMac1(this.#suite, this.#mac1Key, message);
    peer.lastMac1 = message.slice(INITIATION.mac1, INITIATION.mac2);
    if (peer.cookie) writeMac2(this.#suite, peer.cookie, message);
    this.#push(message, peer);
  }

  #receive(): void {
    while (this.#socket.receive(this.#socket.fd4, datagram => this.#consume(datagram.bytes)) > 0);
    this.#flush();
  }

  #consume(datagram: Uint8Array): void {
    const type = messageType(datagram);
    if (type === COOKIE_REPLY) {
      const i = readU32(datagram, COOKIE.receiver);
      const peer = this.#peers[i];
      const cookie = openCookieReply(this.#suite, this.#cookieKey, datagram, peer.lastMac1);
      if (!cookie) return;
      peer.cookie = cookie;
      this.#initiate(i);
    } else if (type === HANDSHAKE_RESPONSE) {
      const peer = this.#peers[readU32(datagram, RESPONSE.receiver)];
      if (!peer.session) this.#consumeResponse(peer, datagram);
    }
  }

  #consumeResponse(peer: Peer, message: Uint8Array): void {
    const storage = new Uint8Array(KEYPAIR_BYTES);
    const keys = {
      send: storage.subarray(0, KEY_BYTES),
      receive: storage.subarray(KEY_BYTES, 2 * KEY_BYTES),
    };
    if (!peer.sent?.consumeResponse(message, peer.local, this.#gatewayOf(peer), keys)) return;
    peer.session = new Keypair(storage, {
      createdAt: 0,
      epoch: 1,
      localIndex: 0,
      remoteIndex: readU32(message, RESPONSE.sender),
      isInitiator: true,
    });
    this.#connected++;
    // The gateway may send only when it has seen that the peer has the keys.
    const keepalive = new Uint8Array(TRANSPORT_OVERHEAD_BYTES);
    sealPacket(this.#sealer, peer.session, new Uint8Array(0), 0, keepalive);
    this.#sealer.settle();
    this.#push(keepalive, peer);
  }

  #gatewayOf({ staticShared }: Peer): RemoteIdentity {
    return { publicKey: this.#publicKey, staticShared, presharedKey: new Uint8Array(KEY_BYTES) };
  }

  #push(message: Uint8Array, peer: Peer): void {
    if (this.#out.full) this.#flush();
    const slot = this.#pool.take(message.length);
    if (!slot) throw new Error('the pool is empty');
    slot.bytes.set(message);
    this.#out.push(slot, peer.way, true);
  }

  /** A network that is full loses what comes. */
  #flush(): void {
    while (this.#out.pending > 0) if (this.#out.send(this.#socket.fd4) < 0) this.#out.drop();
  }
}

function wayFrom(own: Uint8Array, gateway: Uint8Array, interfaceIndex: number): LinuxUdpEndpoint {
  const words = LinuxUdpEndpoint.of(gateway, LISTEN_PORT).words();
  words[V4_LOCAL] = new Int32Array(own.slice().buffer)[0];
  words[V4_INTERFACE] = interfaceIndex;
  return new LinuxUdpEndpoint(words);
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

const libc = requireLibc();
const suite = await fastestSuite();
let crowd: Crowd | undefined;
answerOrders(order => {
  if (order.do === 'connect') {
    crowd = new Crowd(libc, suite, order.settings);
    crowd.connect();
  } else if (order.do === 'send') crowd?.send(order.seconds, order.packetBytes);
  else crowd?.close();
});
