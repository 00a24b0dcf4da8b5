// The device's thread: builds a device loop over a TUN device, and turns it until the interface is gone or the main
// thread says so. Promises: the main thread is heard between two turns, and never waited for.
// Read on: ../device-thread.ts (the other half), ../../linux/device-loop.ts (a turn).

import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Crng, hardwareEntropy, kernelEntropy } from '../../../crng/index.js';
import { keystreamOf } from '../../../protocol/keystream.js';
import type { Suite } from '../../../protocol/suite.js';
import { suiteNamed } from '../../../protocol/suites/fastest.js';
import {
  type ChangeNotice,
  type GenerationSource,
  VmGenId,
  openImmediateSources,
} from '../../../vmgenid/index.js';
import { systemClock } from '../../clock.js';
import { ForkClock } from '../../loop/fork-clock.js';
import { DeviceLoop } from '../../linux/device-loop.js';
import { KernelLog } from '../../linux/kernel-log.js';
import { type Libc, requireLibc } from '../../linux/libc.js';
import { EventFd } from '../../linux/wait/poller.js';
import { LinuxTun } from '../../linux/tun/tun.js';
import { wipeKeys } from '../uapi/parse.js';
import { RemoteAdmission, wipeVerdict } from './remote-admission.js';
import { RingReader, RingWriter } from './datagram-ring.js';
import {
  type Answers,
  type FromWorker,
  type PackedState,
  type Question,
  type ToWorker,
  type WorkerSettings,
  buffersOfState,
  identityBuffersOf,
  packState,
  toFailure,
  toThreadEvent,
} from './messages.js';

class DeviceWorker {
  readonly #port: MessagePort;
  readonly #loop: DeviceLoop;
  readonly #guard: VmGenId;
  readonly #admission: RemoteAdmission | undefined;
  readonly #closers: (() => void)[] = [];
  #closing = false;

  constructor(port: MessagePort, given: WorkerSettings, suite: Suite) {
    this.#port = port;
    const { machine, kernelLog, settings } = given;
    const { offloads = true } = settings;
    const libc = requireLibc();
    const departures = new RingWriter(given.departures, () => this.#tell({ departing: true }));
    const tun = openTun(libc, given.tun, offloads);
    this.#closers.push(() => tun.close());
    try {
      const sources = openImmediateSources(given.sources).filter(it => machine.names.includes(it.name));
      this.#guard = new VmGenId(sources, { shared: machine, now: systemClock.now });
      this.#guard.register('randomness', () => this.#tell({ look: true }), { name: 'main thread' });
      // The datagrams in the ring were for the machine that was forked.
      this.#guard.register('sessions', () => departures.drawLine(), { name: 'departures' });
      this.#closers.push(() => void this.#guard.close());
      const clock = new ForkClock({ vmgenid: this.#guard });
      this.#closers.push(() => clock.close());
      const entropy = kernelEntropy();
      this.#closers.push(() => entropy.close());
      const { hardware } = hardwareEntropy();
      if (hardware) this.#closers.push(() => hardware.close());
      const crng = new Crng({
        entropy,
        hardware,
        vmgenid: this.#guard,
        keystream: keystreamOf(suite),
        now: systemClock.now,
      });
      this.#closers.push(() => crng.close());
      this.#admission = given.isGateway
        ? new RemoteAdmission(
            question => this.#tell({ admission: question }),
            () => this.#loop.device.publicKey,
          )
        : undefined;
      this.#loop = new DeviceLoop({
        libc,
        tun,
        wake: EventFd.adopt(libc, given.wakeFd),
        guard: this.#guard,
        notices: sources.map(noticeOf).filter(notice => notice !== undefined),
        looksAtGuard: !sources.every(noticeOf),
        crng,
        suite,
        clock,
        settings,
        admission: this.#admission,
        kernelLog: kernelLog === undefined ? undefined : KernelLog.open(libc, kernelLog),
        onForkLine: () => this.#tell({ look: true }),
        offloads,
        onWake: () => this.#hear(),
        onDeviceEvent: event => this.#tell({ deviceEvent: toThreadEvent(event) }),
        onLinkEvent: event => this.#tell({ linkEvent: event }),
        onTrouble: error => this.#tell({ trouble: toFailure(error) }),
        arrivals: new RingReader(given.arrivals, () => this.#tell({ roomForArrivals: true })),
        onRelay: (datagram, { number }) => departures.push(datagram, number),
        onProven: number => this.#tell({ proven: number }),
        onSpeaking: epoch => this.#tell({ speaking: epoch }),
        onEnrolled: enrolled => this.#tell({ enrolled }, identityBuffersOf(enrolled)),
      });
      this.#closers.push(() => this.#loop.close());
    } catch (error) {
      this.#close();
      throw error;
    }
    const { name, mtu } = this.#loop.report();
    this.#tell({ ready: { name, mtu } });
  }

  run(): void {
    try {
      while (!this.#closing && !this.#loop.ended) this.#loop.turn();
      this.#tell({ ended: this.#closing ? 'closed' : 'gone' });
    } finally {
      this.#close();
    }
  }

  #close(): void {
    for (const close of this.#closers.splice(0).reverse()) close();
  }

  #tell(message: FromWorker, moved: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, moved);
  }

  /** Everything that the main thread has said. */
  #hear(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port);
      if (!received) return;
      const message = received.message as ToWorker;
      this.#answer(message.id, message.question);
    }
  }

  #answer(id: number, question: Question): void {
    try {
      const answer = this.#do(question);
      const moved = question.kind === 'get' ? buffersOfState(answer as PackedState) : [];
      this.#tell({ id, answer }, moved);
    } catch (error) {
      this.#tell({ id, refused: toFailure(error) });
    }
  }

  #do(question: Question): Answers[Question['kind']] {
    switch (question.kind) {
      case 'get':
        return packState(this.#loop.get());
      case 'set':
        try {
          this.#loop.set(question.changes, question.numbers);
          this.#loop.check();
          return { urls: this.#loop.relayUrls(), held: this.#loop.device.held };
        } finally {
          wipeKeys(question.changes);
        }
      case 'report':
        return this.#loop.report();
      case 'reopened':
        this.#loop.reopened(question.number);
        return undefined;
      case 'recovery':
        return this.#loop.recovery();
      case 'look':
        if (question.seed) this.#guard.learnSeed(question.seed.epoch, question.seed.bytes);
        this.#loop.check();
        return undefined;
      case 'admit':
        try {
          this.#admission?.answer(question.number, question.verdict);
        } finally {
          wipeVerdict(question.verdict);
        }
        return undefined;
      case 'evict':
        this.#loop.evict(question.publicKey);
        return undefined;
      case 'enrol':
        this.#loop.enrol(question.order);
        return undefined;
      case 'tellIdentity':
        return this.#loop.tellIdentity(question.publicKey, question.told, question.numbers);
      case 'setIdentity':
        return this.#loop.setIdentity(question.identity, question.epoch, question.numbers);
      case 'close':
        this.#closing = true;
        return undefined;
    }
  }
}

function openTun(libc: Libc, tun: WorkerSettings['tun'], offloads: boolean): LinuxTun {
  if ('fd' in tun) return LinuxTun.adopt(libc, tun.fd, { offloads });
  return LinuxTun.create(libc, { ...tun, offloads });
}

const port = parentPort as MessagePort;
try {
  const given = workerData as WorkerSettings;
  const suite = await suiteNamed(given.settings.suite ?? 'fastest', systemClock);
  new DeviceWorker(port, given, suite).run();
} catch (error) {
  port.postMessage({ ended: toFailure(error) } satisfies FromWorker);
}

/** What tells of a change of this source, if something does. */
function noticeOf(source: GenerationSource): ChangeNotice | undefined {
  try {
    return source.notice;
  } catch {
    return undefined;
  }
}
