// A drill in a running daemon: whether one may begin, and how the machine stood when it did.
// Promises: harmless: the identity, the peers and what is known of forks stay; what cannot be judged is not begun.
// Read on: device-thread.ts (who begins it), ../../vmgenid/driver.ts `drill`; cli/drill.ts (who asks, and looks what becomes of it).

import type { VmGenId } from '../../vmgenid/driver.js';
import { NO_EPOCH } from '../../vmgenid/generation.js';
import type { DeviceStatus } from './status.js';

/** A drill that has begun, when the device has done what follows a fork. */
export interface DrillStart {
  /** The epoch that it began. */
  readonly epoch: number;
  readonly wipedKeypairs: number;
  /** Milliseconds from the request until everything of the old epoch was erased and OpenSSL seeded anew. */
  readonly respondedMs: number;
  /** Forks of the machine until then: if it is forked meanwhile there are more. */
  readonly forks: number;
  /** The indices of the sessions before, by public key. */
  readonly sessionIndices: Readonly<Record<string, number>>;
}

/** The answer to the UAPI's `drill=1`. `refused`: why none was begun, as the end of a sentence. */
export type DrillAnswer = DrillStart | DrillRefusal;
export interface DrillRefusal {
  readonly refused: string;
}

/** Whoever is called after a fork may take so long before the next drill need not wait for it. Milliseconds. */
const RECOVERY_MS = 10_000;

/** Why a drill would do harm or show nothing now; undefined when it may begin. `isFresh`: of the generator. */
export function whyNoDrill(status: DeviceStatus, isFresh: boolean): string | undefined {
  const { enrolment, held, publicKey, linkState, recovery } = status;
  if (enrolment?.waitsFor)
    return `the device is silent until it is enrolled: it waits for ${enrolment.waitsFor}`;
  if (held) return 'the device is held after a fork: it is silent until a new private key is set';
  if (publicKey === null) return 'no private key is set: the device is silent';
  if (linkState === 'down') return 'the interface is down: there are no sessions';
  if (!isFresh)
    return 'after a fork nothing parts the random numbers of this machine from those of its siblings yet';
  if (recovery && recovery.back < recovery.called && recovery.ageMs < RECOVERY_MS) {
    const { called, back, epoch } = recovery;
    return `the device is still coming back from what began epoch ${epoch}: ${back} of ${called} peers are back`;
  }
  return undefined;
}

const FORKED_NOW = { refused: 'this machine was forked at this very moment' };

/** Begins one, unless this machine was forked since `seenEpoch`: whatever is judged would be about that. Returns its epoch. */
export function beginDrill(
  vmgenid: Pick<VmGenId, 'poll' | 'forkEpoch' | 'drill'>,
  seenEpoch: number,
): number | DrillRefusal {
  if (vmgenid.poll() === NO_EPOCH) return { refused: 'no source can say whether this machine was forked' };
  if (vmgenid.forkEpoch > seenEpoch) return FORKED_NOW;
  const epoch = vmgenid.drill();
  // Which has looked once more.
  return vmgenid.forkEpoch > seenEpoch ? FORKED_NOW : epoch;
}

/** By public key, the indices of the sessions that there are. */
export function sessionIndicesOf({ peers }: DeviceStatus): Record<string, number> {
  const some = peers.flatMap(({ publicKey, sessionIndex }) =>
    sessionIndex === null ? [] : [[publicKey, sessionIndex] as const],
  );
  return Object.fromEntries(some);
}

/** Reads what a daemon answered. Throws an `Error` when it is no answer. */
export function parseDrillAnswer(text: string): DrillAnswer {
  const answer = JSON.parse(text) as Partial<DrillStart & { refused: string }> | null;
  if (typeof answer !== 'object' || answer === null) throw new Error('an answer that is no object');
  if (typeof answer.refused === 'string') return { refused: answer.refused };
  const { epoch, wipedKeypairs, respondedMs, forks, sessionIndices } = answer;
  const isStart =
    [epoch, wipedKeypairs, respondedMs, forks].every(Number.isFinite) &&
    typeof sessionIndices === 'object' &&
    sessionIndices !== null &&
    Object.values(sessionIndices).every(Number.isInteger);
  if (!isStart) throw new Error('an answer that is neither a beginning nor a refusal');
  return answer as DrillStart;
}
