// The peer of the demonstration's page: a real device in this process, which is never cloned, for each run of
// a story.
// Promises: it hears datagrams at a path that only its page knows, and is gone with the page's connection; a
// page has few.
// Read on: demo/remote-peer.ts (what is said).

import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { bytesToHex } from '@noble/hashes/utils.js';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Crng } from '../../crng/crng.js';
import { SANDBOX_IP } from '../../demo/public-knowledge.js';
import { type Introduction, LABORATORY_PATH, type PeerSays } from '../../demo/remote-peer.js';
import { type Suite, publicKeyOf } from '../../protocol/suite.js';
import { DROP_REASONS, type DropReason } from '../../sessions/drops.js';
import { parseAllowedIp } from '../../tunnel/config/config.js';
import { decodeKey, encodeKey } from '../../tunnel/keys.js';
import { EventLoopTunnel } from '../../tunnel/loop/event-loop.js';
import { type HttpServer, WebSocketListener } from '../../tunnel/websocket/listener.js';
import type { VmGenId } from '../../vmgenid/driver.js';

/** Pages at a time, whether they have said anything or not; one more is refused. */
const MOST_PAGES = 32;
/** A page says its first word at once. Milliseconds. */
const FIRST_WORD_MS = 5_000;
const LONGEST_WORD = 1_024;
/** WebSocket close codes, RFC 6455 7.4.1: what was said makes no sense; try again later. */
const MALFORMED = 1007;
const TOO_MANY = 1013;

export interface LaboratoryOptions {
  readonly crng: Crng;
  readonly vmgenid: VmGenId;
  readonly suite: Suite;
}

/** The server as the listener of one page knows it: nothing comes to its ears that is not for it. */
class Door extends EventEmitter implements HttpServer {
  address(): null {
    return null;
  }

  close(): void {}
}

interface Visit {
  readonly page: WebSocket;
  /** Of its datagrams. */
  readonly path: string;
  readonly door: Door;
  readonly tripwire: boolean;
  /** Public key of its machine. */
  readonly key: Uint8Array;
}

export class Laboratory {
  readonly #options: LaboratoryOptions;
  readonly #words = new WebSocketServer({ noServer: true, maxPayload: LONGEST_WORD });
  /** Of datagrams, by path. */
  readonly #doors = new Map<string, Door>();
  readonly #closers = new Set<() => Promise<void>>();
  #pages = 0;

  constructor(options: LaboratoryOptions) {
    this.#options = options;
  }

  /** Takes a connection that asks for a WebSocket; false when it is none for here. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    const door = this.#doors.get(request.url ?? '');
    if (door) return door.emit('upgrade', request, socket, head);
    if (request.url !== LABORATORY_PATH) return false;
    this.#words.handleUpgrade(request, socket, head, page => {
      page.on('error', () => page.terminate());
      if (this.#pages >= MOST_PAGES) return page.close(TOO_MANY);
      this.#pages++;
      const silent = setTimeout(() => page.terminate(), FIRST_WORD_MS);
      page.once('close', () => {
        clearTimeout(silent);
        this.#pages--;
      });
      page.once('message', (data: Buffer) => {
        clearTimeout(silent);
        void this.#begin(page, data.toString()).catch(() => page.close(MALFORMED));
      });
    });
    return true;
  }

  async close(): Promise<void> {
    for (const client of this.#words.clients) client.terminate();
    await Promise.all(Array.from(this.#closers, close => close()));
  }

  async #begin(page: WebSocket, text: string): Promise<void> {
    const { machine, tripwire } = JSON.parse(text) as Introduction;
    const path = `/datagrams/${bytesToHex(this.#options.crng.bytes(16))}`;
    const door = new Door();
    const visit = { page, path, door, tripwire, key: decodeKey(machine) };
    const listener = await WebSocketListener.listen({ server: door, path });
    try {
      // It may be gone meanwhile, and all of this with it.
      if (page.readyState !== page.OPEN) throw new Error('the page is gone');
      this.#serve(visit, listener);
    } catch (error) {
      await listener.close();
      throw error;
    }
  }

  #serve({ page, path, door, tripwire, key }: Visit, listener: WebSocketListener): void {
    const { crng, vmgenid, suite } = this.#options;
    const privateKey = crng.x25519PrivateKey();
    const say = (said: PeerSays) => page.send(JSON.stringify(said));
    const tunnel = new EventLoopTunnel({
      crng,
      vmgenid,
      suite,
      privateKey,
      tripwire,
      transports: [listener],
      peers: [{ publicKey: key, allowedIps: [parseAllowedIp(SANDBOX_IP)] }],
      onPacket: packet => {
        const [peer] = tunnel.device.peers();
        const from = peer?.endpoint?.toString() ?? '';
        say({ type: 'packet', packet: Buffer.from(packet).toString('base64'), from });
      },
      onEvent: event => {
        if (event.type === 'peerCloned') say({ type: 'peerCloned', counter: String(event.counter) });
      },
    });
    const told: Partial<Record<DropReason, number>> = {};
    const { onDatagram } = listener;
    listener.onDatagram = (datagram, from) => {
      onDatagram(datagram, from);
      // What is gathered is opened when this turn of the event loop is over.
      setImmediate(() => {
        for (const reason of DROP_REASONS) {
          const count = tunnel.device.stats().drops[reason];
          for (let i = told[reason] ?? 0; i < count; i++) say({ type: 'dropped', reason });
          told[reason] = count;
        }
      });
    };
    this.#doors.set(path, door);
    const close = async () => {
      if (!this.#closers.delete(close)) return;
      this.#doors.delete(path);
      await tunnel.close();
    };
    this.#closers.add(close);
    page.on('close', () => void close());
    say({ type: 'ready', publicKey: encodeKey(publicKeyOf(suite, privateKey)), path });
  }
}
