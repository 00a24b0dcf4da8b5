// The synchronous loop of a device thread: it waits, reads many, opens or seals, checks once, releases many.
// Promises: nothing but the one wait blocks; no packet waits for an await; what a flood does to one direction does not
// starve the other. Sockets stay in the network namespace where the thread was born, wherever the interface is moved.
// Read on: ../daemon/device-thread.ts (the thread around it); sessions/release.ts (what `cork` is for); wireguard-go device/send.go.

import type { Randomness } from '../../crng/randomness.js';
import { Room } from '../../native/room.js';
import type { Suite } from '../../protocol/suite.js';
import { Device, type DeviceStats, type PeerInfo } from '../../sessions/device.js';
import { isSilencedByFork } from '../../sessions/events.js';
import type { Admission } from '../../sessions/admission.js';
import type { DeviceEvent } from '../../sessions/events.js';
import type { Clock, Endpoint } from '../../sessions/ports.js';
import type { DeviceSettings, SettledSettings } from '../../sessions/settings.js';
import { type ForkGuard, type Protection, isUnforkedSince } from '../../vmgenid/driver.js';
import { NO_EPOCH } from '../../vmgenid/generation.js';
import type { ChangeNotice } from '../../vmgenid/source.js';
import type { TunnelError } from '../errors.js';
import { encodeKey } from '../keys.js';
import type { RingReader } from '../daemon/device-thread/datagram-ring.js';
import type { RelayEndpoint } from '../daemon/relay-endpoint.js';
import type { PeerStatus } from '../daemon/status.js';
import type { UapiChanges, UapiState } from '../daemon/uapi/types.js';
import { formatPrefix } from '../daemon/uapi/values.js';
import { Alarm } from './wait/alarm.js';
import {
  Enrolment,
  type EnrolmentOrder,
  type EnrolmentReport,
  type Enrolled,
  type KeptIdentity,
  type ToldIdentity,
  eraseIdentity,
} from './enrolment.js';
import { DeviceConfiguration } from './device-configuration.js';
import { InterfaceAddresses } from './net/addresses.js';
import { DatagramPool } from './net/datagram-pool.js';
import { InitiationFilter } from './net/initiation-filter.js';
import type { KernelLog } from './kernel-log.js';
import { type KeyMemoryReport, LockedKeyMemory } from './key-memory.js';
import { type Libc, POLLIN, POLLOUT } from './libc.js';
import { LOOK_EVERY_MS, type LinkEvent, LinkMonitor } from './net/link-monitor.js';
import { Lookout } from './wait/lookout.js';
import { type EventFd, Poller } from './wait/poller.js';
import { SleepDetector } from './wait/sleep-detector.js';
import { packetMemory, sumWithin } from './offload/packet-memory.js';
import { type PacketTaker, type TunCounters, TunIo } from './tun/tun-io.js';
import { type LinuxTun, type TunState, tunOutcome } from './tun/tun.js';
import { UdpOutbox } from './net/udp-outbox.js';
import { type LinuxUdpCounters, type LinuxUdpSocket, RECEIVE_BYTES } from './net/udp.js';
import { LinuxUdpEndpoint } from './net/udp-endpoint.js';

export interface DeviceLoopOptions {
  readonly libc: Libc;
  /** Closed by `close`, like everything the loop opens. */
  readonly tun: LinuxTun;
  /** Signalled by another thread that has a word for us: `onWake` is called then. */
  readonly wake: EventFd;
  readonly guard: ForkGuard;
  /** Of sources of the guard that can be waited for. */
  readonly notices?: readonly ChangeNotice[];
  /** Other sources of the guard show a fork and wake nobody: it is asked once a second, however idle. Default false. */
  readonly looksAtGuard?: boolean;
  readonly crng: Randomness;
  readonly suite: Suite;
  /** Goes on while the loop waits. `behindMs`: see `ForkClock`. */
  readonly clock: Clock & { readonly behindMs?: number };
  readonly settings?: DeviceSettings;
  /** Decides about static keys that no peer has. */
  readonly admission?: Admission | undefined;
  /** Let the kernel split and join datagrams, as far as it can; the TUN device has been asked by whoever made it. */
  readonly offloads: boolean;
  readonly onWake: () => void;
  /** Closed by `close`. `onForkLine` is called when it may tell of a fork; once a second where it cannot be waited for. */
  readonly kernelLog?: KernelLog | undefined;
  readonly onForkLine?: () => void;
  readonly onDeviceEvent: (event: DeviceEvent) => void;
  readonly onLinkEvent: (event: LinkEvent) => void;
  /** Something failed that the loop lives with, such as a port that is taken when the link comes up. */
  readonly onTrouble: (error: TunnelError) => void;
  /** Datagrams that came another way than by UDP: the loop is waked when there are some. */
  readonly arrivals: RingReader;
  /** Takes a datagram for an endpoint that is not of UDP; false when it has no room. The bytes are good until it returns. */
  readonly onRelay: (datagram: Uint8Array, to: RelayEndpoint) => boolean;
  /** A message of a connection that came in was authenticated, the first one. See `RelayEndpoint`. */
  readonly onProven: (number: number) => void;
  /** A clone speaks under an identity: see `enrol`. The private key in it, if there is one, is whoever hears it's to erase. */
  readonly onEnrolled?: (enrolled: Enrolled) => void;
  /** It is about to: what waits elsewhere for a key of this epoch need not wait any more. */
  readonly onSpeaking?: (epoch: number) => void;
}

/** What the loop itself lost or counted. */
export interface LoopCounters extends TunCounters {
  /** Not sent: the interface is down, and so there is no socket. */
  noSocket: number;
  /** Not sent: there was no room on the way to the main thread. */
  noRelayRoom: number;
  turns: number;
}

/** What the main thread hears of by itself is not told again. */
export type PeerReport = Omit<PeerStatus, 'unanswered' | 'moves'>;

/** A moment in the device's way back from a fork. */
export interface RecoveryReport {
  readonly epoch: number;
  /** Whether anything may leave: somebody vouches for the generation. */
  readonly isVouched: boolean;
  /** Whether something parts this clone's random numbers from those of its siblings: it may make handshakes. */
  readonly isParted: boolean;
  /** It is silent until it has an identity of its own. */
  readonly isHeld: boolean;
  /** Base64. */
  readonly publicKey: string | null;
  /** Peers that were called for the last fork, and those of them that are back. */
  readonly called: number;
  readonly back: number;
}

export interface LoopReport {
  readonly name: string;
  readonly mtu: number;
  readonly linkState: TunState;
  /** Whether the interface lies in the network namespace of this process. */
  readonly home: boolean;
  /** As the thread has it that runs the device. */
  readonly protection: Protection;
  readonly clockBehindMs: number;
  readonly keyMemory: KeyMemoryReport;
  /** Base64; null without a private key. */
  readonly publicKey: string | null;
  readonly listenPort: number;
  readonly suite: string;
  readonly offloads: readonly string[];
  readonly nonceHeadroom: string | null;
  readonly staleKeypairs: number;
  readonly settings: SettledSettings;
  readonly device: DeviceStats;
  readonly peers: readonly PeerReport[];
  readonly udp: Readonly<LinuxUdpCounters> | undefined;
  readonly lastUdpError: string | undefined;
  readonly enrolment: EnrolmentReport | undefined;
  readonly loop: Readonly<LoopCounters>;
}

/** Batches of one direction in one turn: then the other has its turn. */
const MAX_UDP_BATCHES = 4;
const MAX_TUN_PACKETS = 256;
/** Datagrams in one turn that came by WebSockets: no more than a batch by UDP, whoever sends them. */
const MAX_ARRIVALS = 64;
/** From so many packets on that were read from the interface and sealed, one check releases them. */
const TUN_BATCH = 64;
/** A turn with more of them is one of bulk traffic. */
const FEW_PACKETS = 4;
const DEFAULT_MTU = 1_420;
const FOREVER = -1;

export class DeviceLoop {
  readonly device: Device;
  #noSocket = 0;
  #noRelayRoom = 0;
  #turns = 0;
  #packetsBefore = 0;
  readonly #options: DeviceLoopOptions;
  readonly #keyMemory: LockedKeyMemory;
  readonly #tun: LinuxTun;
  readonly #tunIo: TunIo;
  readonly #monitor: LinkMonitor;
  readonly #configuration: DeviceConfiguration;
  readonly #unregister: () => void;
  readonly #sleep: SleepDetector;
  readonly #poller: Poller;
  readonly #lookout: Lookout;
  readonly #alarm: Alarm;
  readonly #alarmPlace: number;
  readonly #wakePlace: number;
  readonly #tunPlace: number;
  readonly #monitorPlace: number;
  readonly #sleepPlace: number;
  #logPlace: number;
  /** Places, and whose they are. */
  readonly #notices = new Map<number, ChangeNotice>();
  /** One of them does not tell, or not any more. */
  #isNoticeLost = false;
  #v4Place = -1;
  #v6Place = -1;
  #polledSocket: LinuxUdpSocket | undefined;
  #initiationFilter: InitiationFilter | undefined;
  #enrolment: Enrolment | undefined;
  #lookAt = Number.POSITIVE_INFINITY;
  #isLinkInDoubt = false;
  #ended = false;
  #closed = false;

  constructor(options: DeviceLoopOptions) {
    const { libc, tun, wake, guard, crng, suite, clock } = options;
    this.#options = options;
    this.#tun = tun;
    // What is received is opened where it lies, and summed there when packets are joined.
    const received = packetMemory(RECEIVE_BYTES);
    const receiveMemory = Room.over(received.bytes, libc);
    const sum = sumWithin(received, receiveMemory.address);
    this.#tunIo = new TunIo({ tun, sum, onGone: () => this.#doubtLink() });
    const pool = new DatagramPool(libc);
    this.#keyMemory = new LockedKeyMemory(libc);
    this.#sleep = new SleepDetector(libc);
    this.#poller = new Poller(libc);
    this.#lookout = new Lookout({ libc, poller: this.#poller, now: () => clock.now() });
    this.#alarm = new Alarm(libc);
    this.#monitor = new LinkMonitor(libc, tun);
    this.device = new Device({
      ...options.settings,
      crng,
      vmgenid: guard,
      clock,
      suite,
      keyMemory: this.#keyMemory,
      admission: options.admission,
      mtu: this.#monitor.status.mtu ?? DEFAULT_MTU,
      sink: {
        sendDatagram: (datagram, to) => this.#send(datagram, to),
        deliverPacket: (datagram, at, length, _, address) =>
          this.#tunIo.write(datagram, at, length, address + at),
        outbox: new UdpOutbox({
          pool,
          socket: () => this.#configuration.socket,
          onNoSocket: () => this.#noSocket++,
        }),
      },
      onEvent: event => {
        options.onDeviceEvent(event);
        this.#enrolment?.hear(event);
      },
    });
    // Not by the device's event, which comes last of a turn: a draw of randomness may show the fork in the middle of one.
    this.#unregister = guard.register('sessions', () => this.#forked(), { name: 'device loop' });
    this.#configuration = new DeviceConfiguration(this.device, libc, {
      pool,
      receiveMemory,
      offloads: options.offloads,
    });
    this.#configuration.relays.onProven = options.onProven;
    this.#alarmPlace = this.#poller.add(this.#alarm.fd);
    this.#wakePlace = this.#poller.add(wake.fd);
    this.#tunPlace = this.#poller.add(tun.fd);
    this.#monitorPlace = this.#poller.add(this.#monitor.fd);
    this.#sleepPlace = this.#poller.add(this.#sleep.fd);
    this.#logPlace = this.#watchLog();
    for (const notice of options.notices ?? []) this.#watchNotice(notice);
    if (this.#monitor.status.state === 'up') this.#linkUp();
    this.#scheduleLook();
  }

  get counters(): LoopCounters {
    return {
      ...this.#tunIo.counters,
      noSocket: this.#noSocket,
      noRelayRoom: this.#noRelayRoom,
      turns: this.#turns,
    };
  }

  /** The interface was deleted: nothing more will come. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Waits until something happens, at most `maxWaitMs` after the `Lookout` has watched, and does all of it. */
  turn(maxWaitMs = Number.POSITIVE_INFINITY): void {
    const { clock, wake, arrivals } = this.#options;
    const poller = this.#poller;
    const before = clock.now();
    const filterDue = this.#initiationFilter?.deadline ?? Number.POSITIVE_INFINITY;
    const due = Math.min(this.device.nextDeadline(), this.#lookAt, filterDue);
    const isDue = due <= before;
    const isReady = isDue || !arrivals.isEmpty;
    if (!isDue) this.#alarm.ringBy(due, before);
    const longestMs = maxWaitMs === Number.POSITIVE_INFINITY ? FOREVER : Math.ceil(maxWaitMs);
    const packets = this.#packets;
    const inBulk = packets - this.#packetsBefore > FEW_PACKETS;
    this.#packetsBefore = packets;
    const ready = this.#lookout.wait(isReady ? 0 : longestMs, inBulk);
    this.#turns++;
    if (ready > 0) {
      if (poller.happened(this.#wakePlace) !== 0) {
        wake.drain();
        this.#options.onWake();
      }
      if (this.#logPlace >= 0 && poller.happened(this.#logPlace) !== 0) this.#readLog();
      for (const [place, notice] of this.#notices) {
        if (poller.happened(place) !== 0) this.#noticed(place, notice);
      }
      if (poller.happened(this.#monitorPlace) !== 0) {
        this.#monitor.readable(event => this.#linkChanged(event));
        this.#scheduleLook();
      }
      // Linux main.c wg_pm_notification(): whoever had the machine in hand meanwhile finds no session key in it.
      if (poller.happened(this.#sleepPlace) !== 0 && this.#sleep.slept()) this.device.wipe();
      // What is delivered is often answered before its write returns: by an acknowledgement, by an echo.
      const delivered = this.#socketReady();
      if (delivered || poller.happened(this.#tunPlace) !== 0) this.#readTun();
    }
    this.#receiveArrivals();
    this.#adjustFilter();
    // Last of all, since strangers bring them about: handshakes, of which a turn does a bounded part.
    const isDueNow = isDue || this.device.nextDeadline() <= before;
    if (isDueNow || poller.happened(this.#alarmPlace) !== 0) this.#runTimers();
    // Whatever was taken or passed over in this turn: a writer wakes only a reader that has told it so.
    this.#options.arrivals.release();
    this.#flush();
  }

  /** So many have come in, by the interface and by UDP. */
  get #packets(): number {
    return this.#tunIo.counters.packetsIn + (this.#configuration.socket?.counters.received ?? 0);
  }

  #adjustFilter(): void {
    const filter = this.#initiationFilter;
    if (!filter?.isWorth || !filter.adjust(this.#options.clock.now())) return;
    // Few wait then, so that the device cannot tell by itself.
    if (filter.share < 1) this.device.noteLoad();
  }

  #runTimers(): void {
    this.#alarm.silence();
    const now = this.#options.clock.now();
    if (now >= this.#lookAt) this.#look();
    if (now >= this.device.nextDeadline()) this.device.runTimers();
  }

  #readLog(): void {
    const { kernelLog, onForkLine } = this.#options;
    if (!kernelLog?.readable()) return;
    if (kernelLog.fd < 0) {
      this.#poller.remove(this.#logPlace);
      this.#logPlace = -1;
      this.#scheduleLook();
    }
    onForkLine?.();
  }

  #watchLog(): number {
    const { kernelLog } = this.#options;
    if (!kernelLog || kernelLog.fd < 0) return -1;
    try {
      return this.#poller.add(kernelLog.fd);
    } catch {
      // An ordinary file in its place.
      kernelLog.close();
      return -1;
    }
  }

  #watchNotice(notice: ChangeNotice): void {
    try {
      this.#notices.set(this.#poller.add(notice.fd), notice);
    } catch {
      // The kernel's driver is older than its poll.
      this.#isNoticeLost = true;
    }
  }

  /** A source may show another value. One that hung up tells no more, and would be ready for ever. */
  #noticed(place: number, notice: ChangeNotice): void {
    if (this.#poller.happened(place) !== POLLIN || !notice.settle()) {
      this.#poller.remove(place);
      this.#notices.delete(place);
      this.#isNoticeLost = true;
      this.#scheduleLook();
    }
    this.#options.guard.check();
  }

  /** The configuration and what `wg show` shows. The keys in it are copies, and the caller's to erase. */
  get(): UapiState {
    return this.#configuration.state();
  }

  /**
   * Applies all changes or none. `numbers`: of the URLs in them, see `RelayEndpoint`. Throws `TunnelError` (`ERR_UDP_BIND`,
   * `ERR_SYSTEM_CALL`) with the system's number.
   */
  set(changes: UapiChanges, numbers: ReadonlyMap<string, number> = new Map()): void {
    this.#number(numbers);
    const enrolment = this.#enrolment;
    const allowed = enrolment ? enrolment.filter(changes) : changes;
    this.#corked(() => {
      this.#configuration.apply(allowed);
      enrolment?.changed(allowed);
    });
    this.#pollSocket();
    this.#scheduleLook();
    this.#flush();
  }

  /** Takes a peer away that was admitted, unless an operator has configured it since. */
  evict(publicKey: Uint8Array): void {
    if (this.device.peer(publicKey)?.origin !== 'configured') this.device.removePeer(publicKey);
  }

  /** Has this device enrol now, unless it has its identity, and after each fork. Call once, before anything is set. */
  enrol(order: EnrolmentOrder): void {
    const { suite, clock, guard, onTrouble, onSpeaking = () => {}, onEnrolled = () => {} } = this.#options;
    const enrolment = (this.#enrolment = new Enrolment(order, {
      device: this.device,
      suite,
      addresses: new InterfaceAddresses(this.#monitor.requests, () => this.#monitor.index),
      apply: changes => this.#configuration.apply(changes),
      wallClock: () => clock.wallClock(),
      onSpeaking,
      onEnrolled,
      onTrouble: error => {
        onTrouble(error);
        this.#scheduleLook();
      },
    }));
    const isOfNow = isUnforkedSince(guard, order.epoch);
    if (!isOfNow && order.identity) eraseIdentity(order.identity);
    enrolment.start(isOfNow ? order : { ...order, identity: undefined });
    this.#flush();
  }

  /** What was asked for the key that this clone has drawn. False: it has drawn another since. */
  tellIdentity(publicKey: Uint8Array, told: ToldIdentity, numbers: ReadonlyMap<string, number>): boolean {
    this.#number(numbers);
    const isTaken = this.#enrolment?.tell(publicKey, told) ?? false;
    this.#flush();
    return isTaken;
  }

  /** An identity from outside, for this epoch. False: it is over. */
  setIdentity(identity: KeptIdentity, epoch: number, numbers: ReadonlyMap<string, number>): boolean {
    this.#number(numbers);
    const isOfNow = this.#enrolment !== undefined && isUnforkedSince(this.#options.guard, epoch);
    if (isOfNow) this.#enrolment?.become(identity, epoch);
    else eraseIdentity(identity);
    this.#flush();
    return isOfNow;
  }

  #number(numbers: ReadonlyMap<string, number>): void {
    for (const [url, number] of numbers) this.#configuration.relays.number(url, number);
  }

  /** URLs of the peers that are reached by a relay. */
  relayUrls(): string[] {
    return this.#configuration.relayUrls();
  }

  /** Looks at the generation now, and responds if the machine was forked. */
  check(): void {
    this.#options.guard.check();
    this.#flush();
  }

  /** The main thread has a connection again that was lost: its peers are called. */
  reopened(number: number): void {
    const to = this.#configuration.relays.dialledAs(number);
    if (to) this.#corked(() => this.device.renewSessions(to));
    this.#flush();
  }

  /** How far the device has come back from the last fork, after a look for another. */
  recovery(): RecoveryReport {
    const isVouched = this.#options.guard.check() !== NO_EPOCH;
    this.#flush();
    const isParted = this.#options.crng.isFresh();
    const { epoch, held, recovery } = this.device.stats();
    const { publicKey } = this.device;
    return {
      epoch,
      isVouched,
      isParted,
      isHeld: held,
      publicKey: publicKey ? encodeKey(publicKey) : null,
      called: recovery?.called ?? 0,
      back: recovery?.back ?? 0,
    };
  }

  report(): LoopReport {
    const { state, name, mtu, home } = this.#monitor.status;
    const { socket } = this.#configuration;
    const { device } = this;
    return {
      name,
      mtu: mtu ?? device.mtu,
      linkState: state,
      home,
      protection: this.#options.guard.protection,
      clockBehindMs: this.#options.clock.behindMs ?? 0,
      keyMemory: this.#keyMemory.report,
      publicKey: device.publicKey ? encodeKey(device.publicKey) : null,
      listenPort: this.#configuration.listenPort,
      suite: this.#options.suite.name,
      offloads: [...this.#tun.offloads, ...(socket?.offloads ?? [])],
      nonceHeadroom: device.nonceHeadroom()?.toString() ?? null,
      staleKeypairs: device.staleKeypairs(),
      settings: device.settings,
      device: device.stats(),
      peers: this.#configuration.peers().map(peerStatus),
      udp: socket && { ...socket.counters },
      lastUdpError: socket?.lastError,
      enrolment: this.#enrolment?.report,
      loop: this.counters,
    };
  }

  /** Erases every secret and gives every descriptor back, the interface with them. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ended = true;
    this.#unregister();
    this.#enrolment?.close();
    this.device.close();
    this.#configuration.down();
    this.#monitor.close();
    this.#poller.close();
    this.#alarm.close();
    this.#sleep.close();
    this.#options.kernelLog?.close();
    this.#tun.close();
  }

  #corked(action: () => void): void {
    this.device.cork();
    try {
      action();
    } finally {
      this.device.uncork();
    }
  }

  /** Receives what waits. Returns whether something may have been delivered. */
  #socketReady(): boolean {
    const socket = this.#configuration.socket;
    if (!socket || socket !== this.#polledSocket) return false;
    const poller = this.#poller;
    const v4 = this.#v4Place >= 0 && (poller.happened(this.#v4Place) & ~POLLOUT) !== 0;
    const v6 = this.#v6Place >= 0 && (poller.happened(this.#v6Place) & ~POLLOUT) !== 0;
    if (!v4 && !v6) return false;
    for (let batch = 0; batch < MAX_UDP_BATCHES; batch++) {
      const more4 = v4 && this.#receive(socket, socket.fd4);
      const more6 = v6 && this.#receive(socket, socket.fd6);
      // A handler may have closed it: a fork policy, a word of another thread.
      if (!(more4 || more6) || socket !== this.#configuration.socket) break;
    }
    return true;
  }

  /** One batch of datagrams. Returns whether there may be more. */
  #receive(socket: LinuxUdpSocket, fd: number): boolean {
    this.device.cork();
    try {
      return socket.receive(fd, this.#handle) > 0 && !socket.isDrained;
    } finally {
      try {
        this.device.uncork();
      } finally {
        // What was delivered lies where the next batch will.
        this.#tunIo.flush();
      }
    }
  }

  /** A bounded part of what came by WebSockets: what is left has its turn after UDP and the interface had theirs. */
  #receiveArrivals(): void {
    const { arrivals, libc } = this.#options;
    if (arrivals.isEmpty) return;
    // While the interface is down nothing is taken, whichever way it comes.
    if (!this.#configuration.socket) arrivals.skip();
    const { relays } = this.#configuration;
    const memory = Room.over(arrivals.memory, libc);
    this.device.cork();
    try {
      for (let left = MAX_ARRIVALS; left > 0 && arrivals.next(); left--) {
        const from = relays.from(arrivals.number, arrivals.ip(), arrivals.port);
        this.device.gatherDatagram(memory.part(arrivals.start, arrivals.length), from);
      }
    } finally {
      try {
        this.device.uncork();
      } finally {
        // What was opened and delivered lies there.
        this.#tunIo.flush();
      }
    }
  }

  /** What is on its way between threads, or waits for room in a socket, belongs to the machine that was forked. */
  #forked(): void {
    this.#options.arrivals.skip();
    if (isSilencedByFork(this.device.settings.forkPolicy)) this.#configuration.socket?.discard();
  }

  readonly #handle = (datagram: Room, from: LinuxUdpEndpoint): void => {
    this.#initiationFilter?.note(datagram.bytes);
    this.device.gatherDatagram(datagram, from);
  };

  #readTun(): void {
    const { device } = this;
    for (let packets = 0; packets < MAX_TUN_PACKETS && !this.#congested; ) {
      let batch = 0;
      device.cork();
      try {
        do batch += Math.max(this.#tunIo.read(this.#taker), 1);
        while (batch < TUN_BATCH && this.#tunIo.lastRead >= 0);
      } finally {
        device.uncork();
      }
      packets += batch;
      if (this.#tunIo.lastRead >= 0) continue;
      if (tunOutcome(this.#tunIo.lastRead) === 'gone') this.#doubtLink();
      return;
    }
  }

  readonly #taker: PacketTaker = {
    expect: (packets, count) => this.device.expectPackets(packets, count),
    take: packet => this.device.sendPacket(packet),
  };

  /** The system does not take what we sent last: more packets stay in the interface's queue, where they wait or are lost. */
  get #congested(): boolean {
    return (this.#configuration.socket?.pending ?? 0) > 0 && this.#flush() > 0;
  }

  #send(datagram: Uint8Array, to: Endpoint): void {
    if (!(to instanceof LinuxUdpEndpoint)) {
      if (!this.#options.onRelay(datagram, to as RelayEndpoint)) this.#noRelayRoom++;
      return;
    }
    const { socket } = this.#configuration;
    if (socket) socket.queue(datagram, to);
    else this.#noSocket++;
  }

  /** Sends what is queued; what the system does not take is sent when it has room again. */
  #flush(): number {
    const { socket } = this.#configuration;
    if (!socket || socket !== this.#polledSocket) return 0;
    const pending = socket.pending > 0 ? socket.flush() : 0;
    // One of them may have room all the time that the other has none.
    if (this.#v4Place >= 0) this.#poller.setEvents(this.#v4Place, eventsOf(socket.pending4));
    if (this.#v6Place >= 0) this.#poller.setEvents(this.#v6Place, eventsOf(socket.pending6));
    // While it waits for room, packets from the interface would only be dropped here.
    this.#poller.setEvents(this.#tunPlace, pending > 0 ? 0 : POLLIN);
    return pending;
  }

  /** Has the poller watch the socket that is in use now. One that cannot be watched is given up, until the next look. */
  #pollSocket(): void {
    try {
      this.#watchSocket();
    } catch (error) {
      this.#configuration.down();
      this.#watchSocket();
      this.#options.onTrouble(error as TunnelError);
    }
  }

  #watchSocket(): void {
    const { socket } = this.#configuration;
    if (socket === this.#polledSocket) return;
    for (const place of [this.#v4Place, this.#v6Place]) if (place >= 0) this.#poller.remove(place);
    this.#v4Place = this.#v6Place = -1;
    this.#polledSocket = socket;
    this.#v4Place = socket && socket.fd4 >= 0 ? this.#poller.add(socket.fd4) : -1;
    this.#v6Place = socket && socket.fd6 >= 0 ? this.#poller.add(socket.fd6) : -1;
    const fds = [socket?.fd4 ?? -1, socket?.fd6 ?? -1].filter(fd => fd >= 0);
    this.#initiationFilter = fds.length > 0 ? new InitiationFilter(this.#options.libc, fds) : undefined;
    this.#poller.setEvents(this.#tunPlace, POLLIN);
  }

  /** It is asked for at once. */
  #doubtLink(): void {
    this.#isLinkInDoubt = true;
    this.#lookAt = 0;
  }

  // What wakes nobody: forks that only a page shows, changes in another namespace, a port that was taken when the link
  // came up. Where there is none of it an idle device does not wake at all.
  #mustLook(): boolean {
    const { looksAtGuard, kernelLog } = this.#options;
    return (
      looksAtGuard === true ||
      this.#isNoticeLost ||
      (kernelLog !== undefined && kernelLog.fd < 0) ||
      this.#isLinkInDoubt ||
      !this.#monitor.isTold ||
      !this.#sleep.isTold ||
      this.#enrolment?.isStuck === true ||
      this.#lacksSocket()
    );
  }

  /** Call whenever it may have changed whether there is something to look at. */
  #scheduleLook(): void {
    const next = Math.min(this.#lookAt, this.#options.clock.now() + LOOK_EVERY_MS);
    this.#lookAt = this.#mustLook() ? next : Number.POSITIVE_INFINITY;
  }

  #look(): void {
    const { guard, kernelLog, onForkLine } = this.#options;
    this.#lookAt = Number.POSITIVE_INFINITY;
    guard.check();
    if (kernelLog && kernelLog.fd < 0) onForkLine?.();
    if (this.#isLinkInDoubt || !this.#monitor.isTold) {
      this.#isLinkInDoubt = false;
      this.#monitor.look(event => this.#linkChanged(event));
    }
    if (!this.#sleep.isTold && this.#sleep.slept()) this.device.wipe();
    this.#enrolment?.retry();
    if (this.#lacksSocket()) this.#linkUp();
    this.#scheduleLook();
  }

  #lacksSocket(): boolean {
    return this.#monitor.status.state === 'up' && !this.#configuration.socket;
  }

  #linkChanged(event: LinkEvent): void {
    this.#options.onLinkEvent(event);
    switch (event.type) {
      case 'up':
        this.#enrolment?.linkUp();
        this.#linkUp();
        break;
      case 'down':
        this.#linkDown();
        break;
      case 'mtu':
        this.device.mtu = event.mtu;
        break;
      case 'routing':
        this.#configuration.socket?.forgetSources();
        break;
      case 'gone':
        this.#ended = true;
        break;
    }
  }

  #linkUp(): void {
    try {
      this.#configuration.up();
    } catch (error) {
      // The link cannot be kept from being up. It is tried again at every look.
      this.#options.onTrouble(error as TunnelError);
      return;
    }
    this.#pollSocket();
    if (this.#configuration.socket) this.#corked(() => this.#configuration.greetPeers());
  }

  #linkDown(): void {
    this.device.wipe();
    this.#configuration.down();
    this.#pollSocket();
  }
}

function eventsOf(pending: number): number {
  return pending > 0 ? POLLIN | POLLOUT : POLLIN;
}

function peerStatus(peer: PeerInfo): PeerReport {
  const {
    publicKey,
    allowedIps,
    endpoint,
    lastHandshakeAt,
    rxBytes,
    txBytes,
    hasSession,
    sessionEpoch,
    sessionIndex,
    recovery,
  } = peer;
  return {
    publicKey: encodeKey(publicKey),
    allowedIps: allowedIps.map(formatPrefix),
    endpoint: endpoint?.toString() ?? null,
    lastHandshakeAt,
    rxBytes,
    txBytes,
    hasSession,
    sessionEpoch: sessionEpoch ?? null,
    sessionIndex: sessionIndex ?? null,
    recovery: recovery ? { backAfterMs: recovery.backAfterMs ?? null } : null,
  };
}
