// Admission: how a device comes to peers that it was not configured with, as a gateway for machines that are cloned does.
// Promises: a static key is asked about when its owner has shown that he has it; who is answered is provisional, and takes no
// address, until a data message proves that he has the preshared key too; who is proven never gives way to who is not. A
// fork ends all that is not proven.
// Read on: admissions.ts (its bounds); docs/architecture.md "Admission"; WireGuard paper 5.4.2: the responder learns the
// initiator's static key from the initiation, and needs the preshared key for the response alone.

/*
 *   initiation of an unknown key
 *     | verified (es, ss, timestamp)            badTag
 *     | not refused lately, within the budget   notAdmitted, queueFull
 *   awaited  -- handed out last: admit(key)? -- no: notAdmitted    fails, or takes too long: admissionFailed
 *     | yes, nobody has its address             addressTaken
 *   provisional: answered under its preshared key
 *     | the first data message                  none in time, or another initiation: gone, `admissionExpired`
 *   admitted: has its addresses, `peerAdmitted`
 *     | all its keys have expired               gone, `peerEvicted`: it is asked about anew when it calls
 */

import { secretBytes } from '../native/secret-bytes.js';
import type { ConsumedInitiation, LocalIdentity, ReceivedInitiation } from '../protocol/handshake.js';
import { KEY_BYTES } from '../protocol/suite.js';
import { TAI64N_BYTES, isAfterTai64n } from '../protocol/tai64n.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import { ADMISSION_TIMEOUT_MS, type Admissions, type Stranger, endAwaited } from './admissions.js';
import type { AllowedIp } from './allowed-ips.js';
import type { Context } from './context.js';
import type { Drop } from './drops.js';
import { enter } from './fork-response.js';
import type { Peer } from './peer.js';
import { addPeer, expirePeer, removePeer } from './peers.js';
import type { Endpoint } from './ports.js';
import { requirePeerSettings } from './require.js';
import { setPersistentKeepalive } from './timers.js';

const NO_KEY = new Uint8Array(KEY_BYTES);

/** Who decides about a static key that no peer has. */
export interface Admission {
  /**
   * `publicKey`: 32 bytes, whose owner has proven that he has it. What it answers is copied; `undefined` is no. It is called last
   * of all in a turn, and may call the device. One that throws or rejects, that takes longer than ADMISSION_TIMEOUT_MS, or
   * whose answer no peer can be given (a key of another length) has not answered: the initiator will call again.
   */
  admit(publicKey: Uint8Array): AdmittedPeer | undefined | AdmissionAnswer;
}

/** An answer that comes later: a promise, or what calls back without one, where nobody lets promises settle. */
export interface AdmissionAnswer {
  /** Calls one of the two, once. */
  then(settle: (answer: AdmittedPeer | undefined) => void, fail: (error: unknown) => void): unknown;
}

/** What a peer gets that is admitted. */
export interface AdmittedPeer {
  /** 32 bytes. */
  readonly presharedKey?: Uint8Array | undefined;
  /** Its own from the moment on in which it is proven. */
  readonly allowedIps: readonly AllowedIp[];
  /** Seconds, 0 to 65,535. */
  readonly persistentKeepalive?: number | undefined;
  /** TAI64N, 12 bytes: the last that is known of it. An initiation has to be later. */
  readonly latestTimestamp?: Uint8Array | undefined;
}

/** What a turn goes on with when it has its answer: see handshakes.ts. */
export type AcceptInitiation = (
  context: Context,
  peer: Peer,
  initiation: ConsumedInitiation,
  bytes: number,
  from: Endpoint,
  epoch: number,
) => 'handshake' | Drop;

/** An initiation of a static key that no peer has, or one that is not proven. The epoch was read before. */
export function considerStranger(
  context: Context,
  local: LocalIdentity,
  received: ReceivedInitiation,
  bytes: number,
  from: Endpoint,
): 'handshake' | Drop {
  const { admissions, drops, suite, turn } = context;
  const { remotePublicKey: publicKey } = received;
  const id = context.peerId(publicKey);
  const refuse = (reason: Drop['drop']) => {
    received.discard();
    return drops.drop(reason);
  };
  if (!admissions) return refuse('unknownPeer');
  if (admissions.isRefused(id, turn.now)) return refuse('notAdmitted');
  const known = admissions.find(id);
  if (!known && admissions.isFull) {
    // Whoever is at the address that he calls from is not to be kept away by those who are not.
    context.load.note(turn.now);
    return refuse('queueFull');
  }
  const staticShared = known?.staticShared ?? secretBytes(KEY_BYTES);
  if (!known && !suite.sharedSecret(local.privateKey, publicKey, staticShared)) return refuse('unknownPeer');
  const initiation = received.verify({ publicKey, staticShared, presharedKey: NO_KEY });
  if (!initiation) {
    if (!known) staticShared.fill(0);
    return drops.drop('badTag');
  }
  if (known) return replace(context, known, initiation, bytes, from);
  const answered = context.peers.get(id);
  if (answered && !isAfterTai64n(initiation.timestamp, answered.latestTimestamp)) {
    endAwaited({ initiation, staticShared });
    return drops.drop('replayedInitiation');
  }
  if (!admissions.mayAsk(turn.now)) {
    endAwaited({ initiation, staticShared });
    return drops.drop('queueFull');
  }
  // It has not taken the answer: told before it is asked about, since another answer may be wanted.
  if (answered) expirePeer(context, answered);
  if (admissions.isBusy) context.load.note(turn.now);
  const expiresAt = turn.now + ADMISSION_TIMEOUT_MS;
  const awaited = { id, publicKey, initiation, staticShared, from, bytes, expiresAt };
  admissions.await(awaited);
  context.handout.question(awaited);
  return 'handshake';
}

/** Another initiation of a sender whose answer is awaited: the later one counts, and nobody is asked again. */
function replace(
  { drops }: Context,
  awaited: Stranger,
  initiation: ConsumedInitiation,
  bytes: number,
  from: Endpoint,
): 'handshake' | Drop {
  if (!isAfterTai64n(initiation.timestamp, awaited.initiation.timestamp)) {
    initiation.wipe();
    return drops.drop('replayedInitiation');
  }
  awaited.initiation.wipe();
  awaited.initiation = initiation;
  awaited.from = from;
  awaited.bytes += bytes;
  return 'handshake';
}

/** The answer is there: within a turn. */
export function settleAdmission(
  context: Context,
  awaited: Stranger,
  answer: AdmittedPeer | undefined | 'failed',
  accept: AcceptInitiation,
): void {
  const { admissions, drops, turn } = context;
  // Nobody waits for it any more: it comes too late, or the device is closed.
  if (admissions?.find(awaited.id) !== awaited) return;
  const epoch = enter(context);
  // Or a fork has ended what waited for it: a sibling has that initiation too.
  if (!admissions.take(awaited)) return;
  let isAccepted = false;
  try {
    if (epoch === NO_EPOCH) return void drops.drop('staleEpoch');
    if (answer === 'failed' || (answer && !isSound(answer))) return void drops.drop('admissionFailed');
    if (!answer) {
      admissions.refuse(awaited.id, turn.now);
      return void drops.drop('notAdmitted');
    }
    const peer = context.peers.get(awaited.id) ?? admit(context, admissions, awaited, answer);
    if (!peer) return;
    isAccepted =
      accept(context, peer, awaited.initiation, awaited.bytes, awaited.from, epoch) === 'handshake';
    if (!isAccepted && peer.isProvisional) removePeer(context, peer.id);
  } finally {
    awaited.staticShared.fill(0);
    if (!isAccepted) awaited.initiation.wipe();
  }
}

function isSound(answer: AdmittedPeer): boolean {
  try {
    requirePeerSettings(answer);
    return answer.latestTimestamp === undefined || answer.latestTimestamp.length === TAI64N_BYTES;
  } catch {
    return false;
  }
}

/** Whether somebody has one of these very ranges. */
function isTaken({ allowedIps }: Context, ranges: readonly AllowedIp[]): boolean {
  return ranges.some(({ ip, prefix }) => allowedIps.ownerOf(ip, prefix) !== undefined);
}

/** A provisional peer, or nothing where its addresses are another's. */
function admit(
  context: Context,
  admissions: Admissions,
  awaited: Stranger,
  answer: AdmittedPeer,
): Peer | undefined {
  const { drops, turn } = context;
  if (isTaken(context, answer.allowedIps)) {
    admissions.refuse(awaited.id, turn.now);
    drops.drop('addressTaken');
    return undefined;
  }
  const peer = addPeer(context, awaited.id, awaited.publicKey);
  if (answer.presharedKey) peer.presharedKey.set(answer.presharedKey);
  if (answer.latestTimestamp) peer.latestTimestamp.set(answer.latestTimestamp);
  peer.staticShared.set(awaited.staticShared);
  peer.usable = true;
  peer.isProvisional = true;
  peer.admission = {
    allowedIps: answer.allowedIps.map(({ ip, prefix }) => ({ ip: new Uint8Array(ip), prefix })),
    persistentKeepalive: answer.persistentKeepalive ?? 0,
  };
  const oldest = admissions.provide(peer, turn.now);
  if (oldest) expirePeer(context, oldest);
  return peer;
}

/**
 * Call when data of a provisional peer was authenticated: it is a peer like any other from now on. A drop when its addresses
 * have become another's meanwhile: then it is gone.
 */
export function proveAdmission(context: Context, peer: Peer): Drop | undefined {
  const { admissions, allowedIps, drops, turn } = context;
  const { admission } = peer;
  if (!admission || !admissions) return undefined;
  if (isTaken(context, admission.allowedIps)) {
    removePeer(context, peer.id);
    return drops.drop('addressTaken');
  }
  admissions.prove(peer);
  peer.isProvisional = false;
  // It is where this message comes from, and no stranger there: see roam.ts.
  peer.endpoint = undefined;
  for (const { ip, prefix } of admission.allowedIps) allowedIps.insert(ip, prefix, peer);
  setPersistentKeepalive(context, peer, admission.persistentKeepalive, turn.now);
  context.emit({
    type: 'peerAdmitted',
    peer: peer.publicKey,
    allowedIps: admission.allowedIps,
    timestamp: new Uint8Array(peer.latestTimestamp),
  });
  return undefined;
}

/** Ends what has waited too long. Call from `runTimers` alone. */
export function expireAdmissions(context: Context, now: number): void {
  const { admissions, drops } = context;
  if (!admissions) return;
  for (let awaited = admissions.takeOverdue(now); awaited; awaited = admissions.takeOverdue(now)) {
    endAwaited(awaited);
    drops.drop('admissionFailed');
  }
  for (let peer = admissions.nextUnproven(now); peer; peer = admissions.nextUnproven(now))
    expirePeer(context, peer);
}
