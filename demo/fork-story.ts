// The story of a fork, over WebSockets to a peer in another process: a machine talks, is saved, and goes on
// as two clones; somebody on the wire listens, and in the end speaks himself.
// Promises: with protection and without it is one script. The attacker is handed datagrams, and nothing else.
// What is being told when it is closed goes no further, and rejects.
// Read on: machine.ts (how a machine is cloned), attack/attacker.ts (what he makes of it), remote-peer.ts
// (who answers).

import type { Crng } from '../crng/crng.js';
import { TRANSPORT_DATA } from '../protocol/constants.js';
import { type MessageType, messageType } from '../protocol/messages.js';
import { type Suite, publicKeyOf } from '../protocol/suite.js';
import type { Device } from '../sessions/device.js';
import type { DeviceEvent } from '../sessions/events.js';
import type { Transport } from '../tunnel/transport.js';
import { BrowserDialer, type BrowserDialerOptions } from '../tunnel/websocket/browser-dialer.js';
import { Attacker, type Forgery } from './attack/attacker.js';
import type { SeparatedPictures } from './attack/pictures.js';
import { Machine } from './machine.js';
import { innerPacket, innerPayload, ipOf } from './packet.js';
import { type Picture, badge, harbour, picturePackets, pieceOf, standby } from './picture.js';
import { GATEWAY_IP, HEALTH_PACKET, SANDBOX_IP } from './public-knowledge.js';
import { type RemotePeer, type SocketClass, callRemotePeer } from './remote-peer.js';
import { SECRET } from './secret.js';
import { BETWEEN_HANDSHAKES_MS, pause } from './time.js';
import { type NonceReuse, nonceOf } from './wiretap.js';

export const CLONES = ['clone A', 'clone B'] as const;
export type Sender = 'machine' | (typeof CLONES)[number] | 'peer' | 'attacker';

/** What the attacker says. */
export const LIE = 'POST /transfer HTTP/1.1 to=mallory amount=1000000';

/** The pictures that were sent, by clone: the first shows one and then the card, the second its own twice. */
export const PICTURES: readonly (readonly [Picture, Picture])[] = [
  [harbour(), standby()],
  [badge(), badge()],
];

/** One datagram, as anybody on the wire sees it. */
export interface Seen {
  readonly from: Sender;
  /** Of what the peer sends: to whom. */
  readonly to: Sender | undefined;
  readonly kind: MessageType;
  /** Of data messages: the session's index at its receiver, and the counter. */
  readonly session: number | undefined;
  readonly counter: bigint | undefined;
  readonly bytes: number;
  /** An earlier one, of other content, under the same key and counter. */
  readonly reuse: NonceReuse | undefined;
  /** The attacker did not let it through. */
  readonly vanished: boolean;
}

export type StoryEvent =
  | ({ readonly type: 'datagram' } & Seen)
  | { readonly type: 'forked' }
  | { readonly type: 'wiped'; readonly who: Sender; readonly keypairs: number }
  | { readonly type: 'handshake'; readonly who: Sender }
  /** At the peer, in words; of a piece of a picture none. */
  | { readonly type: 'arrived'; readonly words: string; readonly from: string }
  /**
   * The peer threw a datagram away, for one of `DROP_REASONS`: of a `replayedCounter` it has had the counter.
   */
  | { readonly type: 'dropped'; readonly reason: string }
  /** The peer has noticed that its peer was cloned. */
  | { readonly type: 'noticed'; readonly counter: bigint };

export interface ForkStoryOptions {
  /** `ws://host:port` */
  readonly origin: string;
  readonly suite: Suite;
  /** Of the world around the machines, which is never cloned. */
  readonly crng: Crng;
  readonly guarded: boolean;
  /** Whether the peer notices clones; default false, as it is elsewhere. */
  readonly tripwire?: boolean;
  /** Between two datagrams of a clone, in milliseconds. */
  readonly paceMs: number;
  readonly onEvent: (event: StoryEvent) => void;
  /** Default: the page's own. */
  readonly WebSocket?: SocketClass;
}

/** An answer on loopback takes milliseconds; so long without one is a defect. */
const PATIENCE_MS = 20_000;
const LOOK_MS = 5;

interface Running {
  readonly name: Sender;
  readonly machine: Machine;
  readonly nic: BrowserDialer;
  /** What it does now, and what becomes due of that. */
  readonly hear: Machine['hear'];
  readonly stop: () => void;
}

export class ForkStory {
  readonly attacker = new Attacker();
  readonly #options: ForkStoryOptions;
  readonly #peer: RemotePeer;
  readonly #running: Running[] = [];
  readonly #nics: BrowserDialer[] = [];
  readonly #handshakes = new Map<Sender, number>();
  #arrived = 0;
  #dropped = 0;
  #telemetry = 0;
  #isClosed = false;

  private constructor(options: ForkStoryOptions, peer: RemotePeer) {
    this.#options = options;
    this.#peer = peer;
    peer.onSays = said => {
      if (said.type === 'packet') {
        const packet = Uint8Array.from(atob(said.packet), letter => letter.charCodeAt(0));
        this.#arrived++;
        const words = pieceOf(packet) ? '' : innerPayload(packet);
        options.onEvent({ type: 'arrived', words, from: said.from });
      }
      if (said.type === 'dropped') {
        this.#dropped++;
        options.onEvent({ type: 'dropped', reason: said.reason });
      }
      if (said.type === 'peerCloned') options.onEvent({ type: 'noticed', counter: BigInt(said.counter) });
    };
  }

  /** A machine that has a session with its peer. */
  static async begin(options: ForkStoryOptions): Promise<ForkStory> {
    const { crng, suite, guarded, origin, tripwire = false } = options;
    const privateKey = crng.x25519PrivateKey();
    const peer = await callRemotePeer(origin, publicKeyOf(suite, privateKey), tripwire, options.WebSocket);
    const story = new ForkStory(options, peer);
    try {
      const nic = await story.#openNic();
      const machine = new Machine({
        seed: crng.bytes(32),
        privateKey,
        suite,
        guarded,
        peer: {
          publicKey: peer.publicKey,
          endpoint: nic.endpoint,
          allowedIps: [{ ip: ipOf(GATEWAY_IP), prefix: 32 }],
        },
        onDatagram: datagram => story.#send(nic, 'machine', datagram),
        onEvent: (_, event) => story.#hear('machine', event),
      });
      story.#run('machine', machine, nic);
      await story.talk();
    } catch (error) {
      await story.close();
      throw error;
    }
    return story;
  }

  /** The machine sends a packet; resolves when its peer has it. */
  async talk(): Promise<void> {
    const before = this.#arrived;
    this.#say(this.#running[0], innerPacket(SANDBOX_IP, GATEWAY_IP, `telemetry ${this.#telemetry++}`));
    await this.#until(() => this.#arrived > before, 'the peer did not get a packet');
  }

  /** The machine is saved, and started twice; it is never heard of again. */
  async fork(): Promise<void> {
    const { crng, onEvent } = this.#options;
    const [{ machine, nic, stop }] = this.#running.splice(0);
    stop();
    await nic.close();
    const nics = [await this.#openNic(), await this.#openNic()];
    onEvent({ type: 'forked' });
    for (const [i, name] of CLONES.entries()) {
      let isAwake = false;
      const clone = machine.copy({
        onDatagram: datagram => this.#send(nics[i], name, datagram),
        onEvent: (_, event) => isAwake && this.#hear(name, event),
      });
      isAwake = true;
      clone.wake(crng.bytes(16));
      this.#run(name, clone, nics[i]);
    }
    for (const { hear } of this.#running) {
      hear(device => device.runTimers());
      await this.#pause(BETWEEN_HANDSHAKES_MS);
    }
    if (this.#options.guarded)
      await this.#until(() => CLONES.every(name => this.#handshakes.has(name)), 'a clone made no handshake');
  }

  /** Both clones say what they have to say, in turns. */
  async speak(): Promise<void> {
    const scripts = this.#running.map((_, i) => [
      i === 0 ? HEALTH_PACKET : innerPacket(SANDBOX_IP, GATEWAY_IP, SECRET),
      ...PICTURES[i].flatMap(picture => picturePackets(SANDBOX_IP, GATEWAY_IP, picture)),
    ]);
    const heard = () => this.#arrived + this.#dropped;
    const before = heard();
    for (let i = 0; i < scripts[0].length; i++) {
      for (const [clone, script] of scripts.entries()) {
        // Neither of the first two arrives, so that their counter is a new one for the peer.
        this.#say(this.#running[clone], script[i], i === 0);
        await this.#pause(this.#options.paceMs);
      }
    }
    const through = scripts.flat().length - scripts.length;
    await this.#until(() => heard() >= before + through, 'the peer did not get what the clones said');
  }

  /** What the attacker sees, if he sees anything. */
  pictures(): SeparatedPictures | undefined {
    return this.attacker.pictures();
  }

  /**
   * The attacker speaks in the machine's name, from an address of his own. Resolves with whether the peer
   * believes it.
   */
  async forge(): Promise<(Forgery & { readonly believed: boolean }) | undefined> {
    const forgery = this.attacker.forgery(LIE);
    if (!forgery) return undefined;
    const nic = await this.#openNic();
    const [arrived, dropped] = [this.#arrived, this.#dropped];
    this.#send(nic, 'attacker', forgery.datagram);
    await this.#until(
      () => this.#arrived > arrived || this.#dropped > dropped,
      'the peer did not get the forgery',
    );
    return { ...forgery, believed: this.#arrived > arrived };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { machine, stop } of this.#running.splice(0)) {
      stop();
      machine.device.close();
    }
    await Promise.all(this.#nics.splice(0).map(nic => nic.close()));
    this.#peer.close();
  }

  #say({ hear, name }: Running, packet: Uint8Array, vanishes = false): void {
    this.#vanishing = vanishes ? name : undefined;
    hear(device => device.sendPacket(packet));
    this.#vanishing = undefined;
  }

  /** Whose data the attacker lets vanish at this moment. */
  #vanishing: Sender | undefined;

  #send(
    nic: Transport & { readonly endpoint: BrowserDialer['endpoint'] },
    from: Sender,
    datagram: Uint8Array,
  ): void {
    const vanished = this.#vanishing === from && messageType(datagram) === TRANSPORT_DATA;
    this.#see(from, datagram, vanished);
    if (!vanished) nic.send(datagram, nic.endpoint);
  }

  #see(from: Sender, datagram: Uint8Array, vanished = false, to?: Sender): void {
    const kind = messageType(datagram);
    if (kind === undefined) return;
    const reuse = from === 'attacker' ? undefined : this.attacker.wiretap.see(datagram);
    const { receiverIndex, counter } = nonceOf(datagram) ?? {};
    const bytes = datagram.length;
    this.#options.onEvent({
      type: 'datagram',
      from,
      to,
      kind,
      session: receiverIndex,
      counter,
      bytes,
      reuse,
      vanished,
    });
  }

  #hear(who: Sender, event: DeviceEvent): void {
    if (event.type === 'vmFork') this.#options.onEvent({ type: 'wiped', who, keypairs: event.wipedKeypairs });
    if (event.type !== 'handshakeComplete') return;
    this.#handshakes.set(who, (this.#handshakes.get(who) ?? 0) + 1);
    this.#options.onEvent({ type: 'handshake', who });
  }

  async #openNic(): Promise<BrowserDialer> {
    this.#goOn();
    const WebSocket = this.#options.WebSocket as BrowserDialerOptions['WebSocket'];
    const nic = new BrowserDialer(this.#peer.url, { randomness: this.#options.crng, WebSocket });
    this.#nics.push(nic);
    nic.start();
    await this.#until(() => nic.isOpen, 'no connection to the peer');
    return nic;
  }

  /** Datagrams come in, and what is due is done. */
  #run(name: Sender, machine: Machine, nic: BrowserDialer): void {
    let timer: ReturnType<typeof setTimeout>;
    const hear = (input: (device: Device) => void) => {
      machine.hear(input);
      clearTimeout(timer);
      const delay = machine.device.nextDeadline() - performance.now();
      if (delay < LONGEST_DELAY_MS)
        timer = setTimeout(() => hear(device => device.runTimers()), Math.max(0, delay));
    };
    nic.onDatagram = datagram => {
      const bytes = new Uint8Array(datagram);
      this.#see('peer', bytes, false, name);
      hear(device => device.receiveDatagram(new Uint8Array(bytes), nic.endpoint));
    };
    this.#running.push({ name, machine, nic, hear, stop: () => clearTimeout(timer) });
  }

  async #pause(ms: number): Promise<void> {
    await pause(ms);
    this.#goOn();
  }

  #goOn(): void {
    if (this.#isClosed) throw new Error('the story is over');
  }

  async #until(isSo: () => boolean, otherwise: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!isSo()) {
      if (performance.now() > deadline) throw new Error(otherwise);
      await this.#pause(LOOK_MS);
    }
  }
}

/** What is due later is of no interest: the story is over by then. */
const LONGEST_DELAY_MS = 60_000;
