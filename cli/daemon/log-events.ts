// What happens to the daemon, in sentences: what it was, and where there is something to do, what.
// Promises: peers as wireguard-go shows them; fields beside the sentence for programs; public keys alone, no secrets.
// Read on: log.ts; sessions/events.ts, vmgenid/driver.ts, crng/crng.ts (who reports).

import type { CrngEvent } from '../../crng/index.js';
import { type DeviceEvent, type ForkPolicy, describePeerCloned } from '../../sessions/index.js';
import { formatPrefix } from '../../tunnel/config/config.js';
import type { CloneEvent } from '../../tunnel/daemon/clone/clone.js';
import type { ThreadDeviceEvent } from '../../tunnel/daemon/device-thread.js';
import type { TunnelError } from '../../tunnel/errors.js';
import { encodeKey } from '../../tunnel/keys.js';
import type { LinkEvent } from '../../tunnel/linux/net/link-monitor.js';
import { formatGuid, type VmGenIdEvent } from '../../vmgenid/index.js';
import { plural } from '../../tunnel/daemon/human.js';
import type { Logger } from './log.js';
import { Seldom } from './seldom.js';

/** `peer(AbCd…WxYz)`, from a public key. */
export function peerName(publicKey: Uint8Array): string {
  const text = encodeKey(publicKey);
  return `peer(${text.slice(0, 4)}…${text.slice(39, 43)})`;
}

const AFTER_FORK: Readonly<Record<ForkPolicy, string>> = {
  wipe: 'peers with traffic are called anew',
  'expire-sending': 'the next packet to a peer starts a handshake',
  enrol: 'silent until it has a key of its own',
  hold: 'silent until a new private key is set: use wg set, and tell the peers its public key',
};

export function logDeviceEvent(logger: Logger, event: DeviceEvent | ThreadDeviceEvent): void {
  if (event.type === 'vmFork') {
    const { type, epoch, policy, isDrill, wipedKeypairs, wipedHandshakes } = event;
    const ended = `${plural(wipedKeypairs, 'keypair')} and ${plural(wipedHandshakes, 'handshake')} ended`;
    logger.warn(
      { event: type, epoch, policy, ...(isDrill && { isDrill }), wipedKeypairs, wipedHandshakes },
      `Responded to a ${isDrill ? 'drill' : 'fork of this machine'} (epoch ${epoch}): ${ended}; ${AFTER_FORK[policy]}`,
    );
    return;
  }
  if (event.type === 'identityDrawn') {
    const { type, epoch, publicKey } = event;
    const key = encodeKey(publicKey);
    logger.info(
      { event: type, epoch, publicKey: key },
      `Drew a private key of its own; the public key is ${key}`,
    );
    return;
  }
  const peer = peerName(event.peer);
  const fields = { event: event.type, peer: encodeKey(event.peer) };
  switch (event.type) {
    case 'handshakeInitiated':
      logger.debug({ ...fields, attempt: event.attempt }, `${peer} - Sent handshake initiation`);
      break;
    case 'handshakeComplete':
      logger.debug({ ...fields, role: event.role }, `${peer} - Handshake complete as ${event.role}`);
      break;
    case 'handshakeGivenUp':
      logger.debug(fields, `${peer} - Handshake did not complete, giving up until there is traffic again`);
      break;
    case 'waitingForFreshness':
      logger.warn(
        fields,
        `${peer} - Handshake waits: this machine was forked, and nothing yet parts its random numbers from those of ` +
          'its siblings; a hardware generator, or a seed given to the hook, would',
      );
      break;
    case 'peerCloned':
      logger.error(
        {
          ...fields,
          counter: String(event.counter),
          from: String(event.from),
          ...(event.knownEndpoint && { knownEndpoint: String(event.knownEndpoint) }),
          wipedKeypairs: event.wipedKeypairs,
        },
        describePeerCloned(peer, event),
      );
      break;
    case 'roamed':
      logger.debug(
        { ...fields, endpoint: String(event.endpoint) },
        `${peer} - Moved to ${String(event.endpoint)}`,
      );
      break;
    case 'cookieReceived':
      logger.debug(fields, `${peer} - Received cookie: it is under load`);
      break;
    // log-gateway.ts says these, seldom.
    case 'peerAdmitted':
    case 'admissionExpired':
      break;
    case 'peerEvicted':
      logger.debug(fields, `${peer} - Put out of memory until it calls again`);
      break;
    case 'keysErased':
      logger.debug(fields, `${peer} - Erased all keys, since there was no handshake for nine minutes`);
      break;
  }
}

export function logCloneEvent(logger: Logger, event: CloneEvent): void {
  const { type } = event;
  switch (type) {
    case 'enrolled': {
      const { publicKey, addresses, parent, epoch } = event.enrolled;
      const key = encodeKey(publicKey);
      const at = addresses.map(formatPrefix);
      const from = parent && encodeKey(parent);
      logger.info(
        {
          event: type,
          publicKey: key,
          addresses: at,
          epoch,
          isNew: event.isNew,
          ...(from && { parent: from }),
        },
        `${event.isNew ? 'Enrolled' : 'Goes on'} as ${key} at ${at.join(', ')}${from ? `, cloned from ${from}` : ''} (epoch ${epoch})`,
      );
      break;
    }
    case 'identityRefused':
      logger.warn(
        { event: type, path: event.path, reason: event.reason },
        `The identity in ${event.path} is not taken: ${event.reason}; a new one is drawn`,
      );
      break;
    case 'identityNotKept':
      logger.warn(
        { event: type, path: event.path, reason: event.reason },
        `The identity is not kept in ${event.path}: ${event.reason}; the next start enrols anew`,
      );
      break;
    case 'identityLeft':
      logger.warn(
        { event: type, path: event.path, reason: event.reason },
        `The identity of the machine that this one was copied from cannot be removed from ${event.path}: ${event.reason}; remove it before the next start`,
      );
      break;
    case 'enrollerFailed':
      logger.error(
        { event: type, program: event.program, reason: event.reason, againInMs: event.againInMs },
        `Silent, as ${event.program} ${event.reason}; it is asked again in ${(event.againInMs / 1_000).toFixed(1)} s`,
      );
      break;
  }
}

export function logLinkEvent(logger: Logger, event: LinkEvent): void {
  const sentence = LINK[event.type];
  if (!sentence) return;
  const { type, ...fields } = event;
  logger.debug({ event: type, ...fields }, sentence(event));
}

const LINK: Readonly<Record<LinkEvent['type'], ((event: LinkEvent) => string) | undefined>> = {
  up: () => 'Interface up requested',
  down: () => 'Interface down requested: all sessions end',
  gone: () => 'Interface deleted',
  mtu: event => `MTU updated: ${'mtu' in event ? event.mtu : ''}`,
  renamed: event => `Interface renamed to ${'name' in event ? event.name : ''}`,
  moved: event =>
    'home' in event && event.home
      ? 'Interface is back in the network namespace of its sockets'
      : 'Interface moved to another network namespace; its sockets stay',
  // Whoever has other interfaces has many of these.
  routing: undefined,
};

export function logVmGenIdEvent(logger: Logger, event: VmGenIdEvent): void {
  const { type } = event;
  switch (type) {
    case 'fork': {
      const { epoch, source, vmGenId, isDrill } = event.fork;
      if (isDrill) {
        logger.warn({ event: type, epoch, isDrill }, `A drill, and no fork: epoch ${epoch} begins`);
        break;
      }
      const guid = vmGenId && formatGuid(vmGenId);
      logger.warn(
        { event: type, epoch, source, ...(guid && { vmGenId: guid }) },
        `This machine was forked: ${source} shows a new generation${guid ? ` ${guid}` : ''}; epoch ${epoch} begins`,
      );
      break;
    }
    case 'sameFork':
      logger.debug(
        { event: type, epoch: event.epoch, source: event.source },
        `${event.source} tells of the fork that began epoch ${event.epoch} too`,
      );
      break;
    case 'sourceFailed':
      logger.error(
        { event: type, source: event.source, err: event.error },
        `${event.source} cannot say any more whether this machine was forked: ${event.error.message}; unless another ` +
          'immediate source works, nothing is sent until it does',
      );
      break;
    case 'sourceRecovered':
      logger.info({ event: type, source: event.source }, `${event.source} works again`);
      break;
    case 'subscriberFailed':
      logger.error(
        { event: type, subscriber: event.subscriber, phase: event.phase, err: event.error },
        `${event.subscriber} failed to respond to a fork: ${messageOf(event.error)}; restart the daemon, and report this`,
      );
      break;
  }
}

export function logCrngEvent(logger: Logger, event: CrngEvent): void {
  const { type } = event;
  switch (type) {
    case 'reseeded':
      logger.debug(
        { event: type, reason: event.reason, epoch: event.epoch },
        `Random number generator reseeded (${event.reason})`,
      );
      break;
    case 'freshness': {
      const { freshness, epoch, facts, waitedMs } = event;
      const [level, sentence] = FRESHNESS[freshness];
      const by = facts.length > 0 ? ` by ${facts.join(', ')}` : '';
      logger[level](
        { event: type, freshness, epoch, facts, waitedMs },
        `${sentence}${by} (epoch ${epoch}, ${Math.round(waitedMs)} ms after the fork)`,
      );
      break;
    }
    case 'failed':
      logger.error(
        { event: type, err: event.error },
        `Random number generator could not reseed: ${messageOf(event.error)}; it tries again`,
      );
      break;
  }
}

const FRESHNESS = {
  fresh: ['info', 'The random numbers of this clone are its own now'],
  waiting: ['warn', 'The random numbers of this clone may be those of its siblings: handshakes wait'],
  refusing: [
    'error',
    'Nothing parts this clone from its siblings: no handshake is made; give it a hardware generator, or the hook a seed',
  ],
  proceeding: [
    'error',
    'Nothing parts this clone from its siblings, and it goes on as it was told to: keys may be used twice',
  ],
} as const;

/**
 * Errors of transports: a network that is away makes one for each datagram. Each is told once a minute, with how often
 * it came since.
 */
export class TransportErrorLog {
  readonly #logger: Logger;
  readonly #seldom: Seldom;

  /** `now`: monotonic milliseconds. */
  constructor(logger: Logger, now: () => number) {
    this.#logger = logger;
    this.#seldom = new Seldom(now);
  }

  log(error: Error): void {
    const { code } = error as Partial<TunnelError>;
    this.#seldom.say(`${code} ${error.message}`, more =>
      this.#logger.error({ event: 'transportError', code, err: error }, `${error.message}${more}`),
    );
  }
}

/** Attempts of five seconds each: an answer that was lost on the way would have come by then. */
const SILENT_ATTEMPT = 3;

/** Says of each peer, once after each fork, that it has answered no handshake since, and what may be behind it. */
export class SilenceLog {
  readonly #logger: Logger;
  readonly #answered = new Set<string>();
  #forked = false;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  hear(event: DeviceEvent | ThreadDeviceEvent): void {
    if (event.type === 'vmFork') {
      if (event.isDrill) return;
      this.#forked = true;
      this.#answered.clear();
    } else if (event.type === 'handshakeComplete' && this.#forked) {
      this.#answered.add(encodeKey(event.peer));
    } else if (event.type === 'handshakeInitiated' && this.#forked && event.attempt === SILENT_ATTEMPT) {
      this.#say(encodeKey(event.peer), peerName(event.peer));
    }
  }

  #say(peer: string, name: string): void {
    if (this.#answered.has(peer)) return;
    this.#answered.add(peer);
    this.#logger.warn(
      { event: 'silentSinceFork', peer },
      `${name} - No answer to a handshake since this machine was forked. If its clock stayed behind, the peer takes ` +
        'what we send for replays until the clock has caught up: compare date and hwclock',
    );
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
