// A device on a thread of its own, which owns the TUN device and the UDP sockets; this is the main thread's half.
// Promises: a fork that either thread sees first ends the sessions of the device before anything more leaves; what the
// device does never waits for this thread; WebSockets, names, the UAPI and logs live here.
// Read on: device-thread/worker.ts (the other half), ../linux/device-loop.ts, ../../vmgenid/machine-state.ts.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { OpenSslProbe } from '../../crng/openssl.js';
import type { Randomness } from '../../crng/randomness.js';
import { copySecret, secretBytes } from '../../native/secret-bytes.js';
import type { GatewayAdmission } from '../../gateway/admission.js';
import { isSilencedByFork } from '../../sessions/events.js';
import { type VmGenId, isUnforkedSince } from '../../vmgenid/driver.js';
import { NO_EPOCH } from '../../vmgenid/generation.js';
import type { SourceSelection } from '../../vmgenid/detect.js';
import { KMSG_PATH } from '../../vmgenid/sources/kmsg.js';
import { systemClock } from '../clock.js';
import type { ThreadSettings } from '../config/daemon-config.js';
import type { Clone } from './clone/clone.js';
import { RingReader, RingWriter, ringMemory } from './device-thread/datagram-ring.js';
import {
  type Answers,
  type FromWorker,
  type PackedState,
  type Question,
  type ThreadDeviceEvent,
  type ToWorker,
  type WorkerSettings,
  fromFailure,
  identityBuffersOf,
  keyBuffersOf,
  orderBuffersOf,
  unpackState,
} from './device-thread/messages.js';
import type { AdmissionQuestion, AdmissionVerdict } from './device-thread/remote-admission.js';
import { Relays } from './device-thread/relays.js';
import { EventTally, type GatewayParts, composeStatus } from './device-thread/status.js';
import { TunnelError } from '../errors.js';
import { readPrivileges } from '../linux/capabilities.js';
import type { LoopReport, RecoveryReport } from '../linux/device-loop.js';
import type { KeptIdentity, ToldIdentity } from '../linux/enrolment.js';
import { requireLibc } from '../linux/libc.js';
import type { LinkEvent } from '../linux/net/link-monitor.js';
import { EventFd } from '../linux/wait/poller.js';
import { type DrillAnswer, beginDrill, sessionIndicesOf, whyNoDrill } from './drill.js';
import type { DeviceStatus } from './status.js';
import type { UapiBackend, UapiChanges, UapiPeerChange, UapiState } from './uapi/types.js';
import type { WebSocketDialerOptions, WebSocketListenerOptions } from '../websocket/index.js';

export type { ThreadDeviceEvent } from './device-thread/messages.js';

export interface DeviceThreadOptions {
  /** An interface to make, or a descriptor of one. The descriptor is the thread's from here on. */
  readonly tun: { readonly name: string; readonly mtu?: number } | { readonly fd: number };
  /** Stays the caller's to close, after the thread. */
  readonly vmgenid: VmGenId;
  /**
   * What `vmgenid` was opened with. Of these sources the thread opens the immediate ones for itself, so that it looks
   * before every release and waits for nobody. Default: the best of this machine.
   */
  readonly sources?: SourceSelection | undefined;
  /** A descriptor of the kernel's log, the thread's from here on, in place of one that it opens. */
  readonly kernelLogFd?: number | undefined;
  /** For the masks of WebSocket frames. */
  readonly crng: Randomness;
  /** How OpenSSL is healed in this process, for `status`. */
  readonly openssl?: OpenSslProbe | undefined;
  /** Of the program, for `status`. */
  readonly version: string;
  readonly settings?: ThreadSettings;
  /** Decides about peers that nobody configured. Stays the caller's to close, after the thread. */
  readonly gateway?: GatewayAdmission | undefined;
  /** Take WebSocket connections here. */
  readonly listenWebSocket?: WebSocketListenerOptions | undefined;
  /** This machine is a clone, by `ForkPolicy = enrol`. */
  readonly clone?: Clone | undefined;
  readonly dialer?: Omit<WebSocketDialerOptions, 'randomness'> | undefined;
  readonly onDeviceEvent?: ((event: ThreadDeviceEvent) => void) | undefined;
  readonly onLinkEvent?: ((event: LinkEvent) => void) | undefined;
  /** Something failed that the tunnel lives with. */
  readonly onTrouble?: ((error: Error) => void) | undefined;
}

const SEED_BYTES = 32;
/** wireguard-go's, and the kernel's: what is left of 1,500 bytes in the worst case. */
const DEFAULT_MTU = 1_420;
/** The thread makes next to no garbage: room for more of it is memory that lies there (docs/performance.md). */
const YOUNG_GENERATION_MIB = 3;

interface Waiting {
  resolve(answer: Answers[Question['kind']]): void;
  reject(error: Error): void;
}

/**
 * A process that exits waits for its threads, and one of ours may sleep in the kernel until a packet comes: it is told.
 * What has no time to close in order loses its memory with the process, and its interface with the descriptor.
 */
const running = new Set<DeviceThread>();
process.on('exit', () => {
  for (const thread of running) void thread.close();
});

export class DeviceThread implements UapiBackend {
  /** Settles when the thread has ended: `gone` when the interface was deleted. Rejects when the thread failed. */
  readonly ended: Promise<'gone' | 'closed'>;
  readonly #options: DeviceThreadOptions;
  readonly #worker: Worker;
  readonly #wake: EventFd;
  readonly #relays: Relays;
  readonly #settings: WorkerSettings;
  readonly #tally = new EventTally();
  readonly #startedAt = systemClock.now();
  readonly #waiting = new Map<number, Waiting>();
  readonly #unregister: (() => void)[] = [];
  #lastId = 0;
  /** Requests to set something that are not answered yet. */
  #sets = 0;
  /** The epoch in which the private key was set: by policies `hold` and `enrol` it is that of this machine in no other. */
  #identityEpoch: number;
  #isWaking = false;
  #name = '';
  #over = false;
  #closing: Promise<void> | undefined;

  private constructor(options: DeviceThreadOptions) {
    const { vmgenid, tun, settings = {} } = options;
    this.#options = options;
    this.#identityEpoch = settings.forkPolicy === 'enrol' ? NO_EPOCH : vmgenid.epoch;
    const libc = requireLibc();
    this.#wake = EventFd.create(libc);
    this.#settings = {
      tun: 'fd' in tun ? tun : { name: tun.name, mtu: tun.mtu ?? DEFAULT_MTU },
      wakeFd: this.#wake.fd,
      arrivals: ringMemory(),
      departures: ringMemory(),
      machine: vmgenid.shared,
      sources: immediateOnly(options.sources),
      kernelLog: kernelLogOf(options),
      settings,
      isGateway: options.gateway !== undefined,
    };
    this.#relays = new Relays({
      crng: options.crng,
      dialer: options.dialer,
      arrivals: new RingWriter(this.#settings.arrivals, () => this.#wakeSoon()),
      departures: new RingReader(this.#settings.departures, () => {}),
      isHeld: () =>
        isSilencedByFork(settings.forkPolicy ?? 'wipe') && !isUnforkedSince(vmgenid, this.#identityEpoch),
      onTrouble: error => options.onTrouble?.(error),
      // If the thread has ended nobody is called.
      onReopened: number => void this.#ask({ kind: 'reopened', number }).catch(() => undefined),
    });
    this.#worker = new Worker(new URL('./device-thread/worker.js', import.meta.url), {
      workerData: this.#settings,
      name: 'device',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
    });
    if (options.gateway) {
      options.gateway.onEvict = publicKey => {
        this.#ask({ kind: 'evict', publicKey }).catch(() => undefined);
      };
    }
    running.add(this);
    this.ended = new Promise((resolve, reject) => {
      this.#worker.on('message', (message: FromWorker) => {
        if (!('ended' in message)) this.#hear(message);
        else if (typeof message.ended === 'string') resolve(message.ended);
        else reject(fromFailure(message.ended));
      });
      this.#worker.on('error', reject);
      this.#worker.on('exit', code => reject(new Error(`the device thread ended with status ${code}`)));
    });
    this.ended.then(
      () => this.#stopped(new TunnelError('ERR_CLOSED', 'the device thread has ended')),
      (error: Error) => this.#stopped(error),
    );
  }

  /**
   * Makes the interface and starts the thread. Throws `ERR_NO_SYSTEM_CALLS`, `ERR_TUN`, `ERR_STRICT_PROTECTION`,
   * `ERR_WEBSOCKET_LISTEN`, with everything closed again.
   */
  static async start(options: DeviceThreadOptions): Promise<DeviceThread> {
    const thread = new DeviceThread(options);
    try {
      await thread.#started();
      if (options.listenWebSocket) await thread.#relays.listen(options.listenWebSocket);
      return thread;
    } catch (error) {
      await thread.close();
      throw error;
    }
  }

  /** Of the interface, when it was made. */
  get name(): string {
    return this.#name;
  }

  async get(): Promise<UapiState> {
    return unpackState((await this.#ask({ kind: 'get' })) as PackedState);
  }

  async set(changes: UapiChanges): Promise<void> {
    this.#dial(changes.peers);
    const { vmgenid } = this.#options;
    const epoch = vmgenid.check();
    this.#sets++;
    try {
      const question = { kind: 'set', changes, numbers: this.#relays.numbers } as const;
      const { urls, held } = (await this.#ask(question, keyBuffersOf(changes))) as Answers['set'];
      // A fork meanwhile is not what the device has answered of.
      if (!held && isUnforkedSince(vmgenid, epoch)) {
        this.#identityEpoch = epoch;
        this.#options.clone?.stopAsking();
      }
      this.#tellOfRemoved(changes);
      // Another request may have dialled what only that one will use.
      if (this.#sets === 1) this.#relays.keep(urls);
    } finally {
      this.#sets--;
    }
  }

  async tellIdentity(publicKey: Uint8Array, told: ToldIdentity): Promise<boolean> {
    this.#dial(told.peers);
    const { numbers } = this.#relays;
    const question = { kind: 'tellIdentity', publicKey, told, numbers } as const;
    return (await this.#ask(question, identityBuffersOf({ told }))) as boolean;
  }

  async setIdentity(identity: KeptIdentity, epoch: number): Promise<boolean> {
    this.#dial(identity.told?.peers ?? []);
    const { numbers } = this.#relays;
    const question = { kind: 'setIdentity', identity, epoch, numbers } as const;
    return (await this.#ask(question, identityBuffersOf(identity))) as boolean;
  }

  #dial(peers: readonly UapiPeerChange[]): void {
    for (const { endpoint } of peers) if (endpoint && 'url' in endpoint) this.#relays.dial(endpoint.url);
  }

  /** What `get` has no words for. */
  async status(): Promise<DeviceStatus> {
    const report = (await this.#ask({ kind: 'report' })) as LoopReport;
    return composeStatus({
      report,
      vmgenid: this.#options.vmgenid,
      tally: this.#tally,
      version: this.#options.version,
      uptimeMs: Math.round(systemClock.now() - this.#startedAt),
      wallClock: systemClock.wallClock(),
      privileges: readPrivileges(),
      openssl: this.#options.openssl?.healing?.seeding ?? null,
      webSockets: this.#relays.localAddresses,
      relayCounters: this.#relays.counters,
      gateway: await this.#gatewayStatus(),
      enrolment: (report.enrolment && this.#options.clone?.status(report.enrolment)) ?? null,
    });
  }

  /** How far the device has come back from the last fork: cheap, however many peers there are. */
  async recovery(): Promise<RecoveryReport> {
    return (await this.#ask({ kind: 'recovery' })) as RecoveryReport;
  }

  /** Does what follows a fork, though there was none, and resolves when the device has responded. Calls do not overlap. */
  async drill(): Promise<DrillAnswer> {
    const { vmgenid, crng } = this.#options;
    const before = await this.status();
    const refused = whyNoDrill(before, crng.isFresh());
    if (refused !== undefined) return { refused };
    const askedAt = systemClock.now();
    const epoch = beginDrill(vmgenid, before.epoch);
    if (typeof epoch === 'object') return epoch;
    await vmgenid.settled();
    const respondedMs = systemClock.now() - askedAt;
    const { wipedKeypairs, forks } = await this.status();
    return {
      epoch,
      wipedKeypairs: wipedKeypairs - before.wipedKeypairs,
      respondedMs,
      forks,
      sessionIndices: sessionIndicesOf(before),
    };
  }

  async #gatewayStatus(): Promise<GatewayParts | undefined> {
    const { gateway } = this.#options;
    return gateway && { ...gateway.stats(), known: (await gateway.known()) ?? null };
  }

  /** Erases every secret of the device and ends the thread; its interface goes with it. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const unregister of this.#unregister.splice(0)) unregister();
    if (!this.#over) await this.#ask({ kind: 'close' }).catch(() => undefined);
    const exited = this.#worker.threadId === -1 ? undefined : once(this.#worker, 'exit');
    await this.ended.catch(() => undefined);
    await exited;
    await this.#relays.close();
    this.#wake.close();
  }

  async #started(): Promise<void> {
    const ready = new Promise<void>(resolve => {
      this.#worker.on('message', (message: FromWorker) => {
        if (!('ready' in message)) return;
        this.#name = message.ready.name;
        resolve();
      });
    });
    await Promise.race([ready, this.ended]);
    const { vmgenid } = this.#options;
    this.#unregister.push(
      // Whoever waits for the end of the notification learns that the device has responded.
      vmgenid.register('sessions', async () => void (await this.#ask({ kind: 'look' })), {
        name: 'device thread',
      }),
      vmgenid.register('application', ({ epoch }) => {
        this.#tellOfFork();
        this.#relays.dropAll(`VM fork, epoch ${epoch}`);
      }),
      vmgenid.onEvidence(() => this.#tellOfFork()),
    );
    // Nobody has looked since the sources were opened: until now the thread did not.
    vmgenid.poll();
    // A thread that was born after a fork knows of nothing that parts it.
    this.#tellOfFork();
    const { clone } = this.#options;
    if (!clone) return;
    const order = clone.order();
    this.#dial(order.identity?.told?.peers ?? []);
    await this.#ask({ kind: 'enrol', order }, orderBuffersOf(order));
    clone.attach(this);
  }

  // The device's generator may be waiting for this. The epoch is read first: what is drawn may be of a later one then, and
  // is not believed, but nothing of an older one is.
  #tellOfFork(): void {
    if (this.#over) return;
    const { vmgenid } = this.#options;
    vmgenid.check();
    const { epoch, evidence } = vmgenid;
    // A copy of its own for the other thread, which erases it.
    const bytes = evidence.seed ? copySecret(evidence.seed) : this.#drawSeed();
    const seed = bytes && { epoch, bytes };
    // If the thread has ended nobody waits for it.
    this.#ask({ kind: 'look', seed }, bytes && [bytes.buffer]).catch(() => undefined);
  }

  /** What parts this thread's generator from its siblings parts the device's too, as the seed of it. */
  #drawSeed(): Uint8Array<ArrayBuffer> | undefined {
    const seed = secretBytes(SEED_BYTES);
    try {
      this.#options.crng.fill(seed);
      return seed;
    } catch {
      // Not yet: what makes it possible is told here again.
      return undefined;
    }
  }

  #hear(message: Exclude<FromWorker, { ended: unknown }>): void {
    const { clone, onDeviceEvent, onLinkEvent, onTrouble, vmgenid } = this.#options;
    if ('deviceEvent' in message) {
      this.#tally.count(message.deviceEvent, systemClock.wallClock);
      this.#options.gateway?.hear(message.deviceEvent);
      clone?.hear(message.deviceEvent);
      onDeviceEvent?.(message.deviceEvent);
    } else if ('speaking' in message) {
      // Before what it says comes by the ring.
      this.#identityEpoch = message.speaking;
    } else if ('enrolled' in message) clone?.enrolled(message.enrolled);
    else if ('linkEvent' in message) {
      if (message.linkEvent.type === 'renamed') this.#name = message.linkEvent.name;
      onLinkEvent?.(message.linkEvent);
    } else if ('departing' in message) this.#relays.depart();
    else if ('roomForArrivals' in message) this.#relays.letOn();
    else if ('proven' in message) this.#relays.prove(message.proven);
    else if ('admission' in message) void this.#admit(message.admission);
    else if ('look' in message) vmgenid.poll();
    else if ('trouble' in message) onTrouble?.(fromFailure(message.trouble));
    else if ('id' in message) {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if ('refused' in message) waiting?.reject(fromFailure(message.refused));
      else waiting?.resolve(message.answer);
    }
  }

  /** Whatever comes of it, the device hears: it counts what it waits for. */
  async #admit({ number, publicKey, gateway }: AdmissionQuestion): Promise<void> {
    let verdict: AdmissionVerdict = 'failed';
    try {
      verdict = (await this.#options.gateway?.admit(publicKey, gateway)) ?? 'no';
    } catch {
      // The gateway has counted it, and told why.
    }
    const key = typeof verdict === 'object' ? verdict.presharedKey : undefined;
    const moved = key ? [key.buffer as ArrayBuffer] : [];
    // If the thread has ended nobody waits for it.
    this.#ask({ kind: 'admit', number, verdict }, moved).catch(() => undefined);
  }

  /** What an operator has taken away is not written to the store any more. */
  #tellOfRemoved({ replacePeers, peers }: UapiChanges): void {
    const { gateway } = this.#options;
    if (replacePeers) gateway?.removedAll();
    for (const { publicKey, remove } of peers) if (remove) gateway?.removed(publicKey);
  }

  #ask(question: Question, moved: ArrayBuffer[] = []): Promise<Answers[Question['kind']]> {
    if (this.#over)
      return this.ended.then(() =>
        Promise.reject(new TunnelError('ERR_CLOSED', 'the device thread has ended')),
      );
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, question } satisfies ToWorker, moved);
      this.#wake.signal();
    });
  }

  // Once for all that is read from a socket at a time.
  #wakeSoon(): void {
    if (this.#isWaking) return;
    this.#isWaking = true;
    queueMicrotask(() => {
      this.#isWaking = false;
      this.#wake.signal();
    });
  }

  #stopped(error: Error): void {
    this.#over = true;
    running.delete(this);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** Where the kernel's log is that the main thread has for a source, if it has. */
function kernelLogOf({ vmgenid, sources, kernelLogFd }: DeviceThreadOptions): string | number | undefined {
  if (!vmgenid.sources.some(({ name }) => name.startsWith('kmsg'))) return undefined;
  return kernelLogFd ?? (sources?.kmsg || KMSG_PATH);
}

/** A hook has a socket, which cannot be handed to a thread; no delayed source is of use to it. */
function immediateOnly({
  acpi,
  devicetree,
  bpf,
  vmclock,
  file,
  opened,
}: SourceSelection = {}): SourceSelection {
  return { kmsg: false, acpi, devicetree, bpf, vmclock, file, opened };
}
