// The worker's half of admission: a device's questions go to the main thread, where the store is, and come back as answers.
// Promises: nothing waits. A device thread has no event loop, in which no promise would ever settle: an answer settles what it
// is for at once, between two turns.
// Read on: ../../../gateway/admission.ts (who decides); worker.ts, messages.ts.

import type { Admission, AdmissionAnswer, AdmittedPeer } from '../../../sessions/admission.js';

/** Asked of the main thread: is he a peer of ours? 32 bytes each; answered by `number`. */
export interface AdmissionQuestion {
  readonly number: number;
  readonly publicKey: Uint8Array;
  /** The device's own. */
  readonly gateway: Uint8Array;
}

/** `failed`: nobody can say. */
export type AdmissionVerdict = AdmittedPeer | 'no' | 'failed';

/** Erases the key in it. */
export function wipeVerdict(verdict: AdmissionVerdict): void {
  if (typeof verdict === 'object') verdict.presharedKey?.fill(0);
}

interface Asked {
  settle(answer: AdmittedPeer | undefined): void;
  fail(error: Error): void;
}

export class RemoteAdmission implements Admission {
  readonly #ask: (question: AdmissionQuestion) => void;
  readonly #gateway: () => Uint8Array | undefined;
  /** Bounded by what a device asks; the main thread answers each. */
  readonly #asked = new Map<number, Asked>();
  #last = 0;

  /** `gateway`: the device's public key. */
  constructor(ask: (question: AdmissionQuestion) => void, gateway: () => Uint8Array | undefined) {
    this.#ask = ask;
    this.#gateway = gateway;
  }

  admit(publicKey: Uint8Array): AdmissionAnswer | undefined {
    const gateway = this.#gateway();
    // Its key was taken away a moment ago.
    if (!gateway) return undefined;
    const number = ++this.#last;
    this.#ask({ number, publicKey, gateway });
    return { then: (settle, fail) => void this.#asked.set(number, { settle, fail }) };
  }

  /** The main thread has answered. A device takes what of it is of use no more, as after a fork, for nothing. */
  answer(number: number, verdict: AdmissionVerdict): void {
    const asked = this.#asked.get(number);
    this.#asked.delete(number);
    if (verdict === 'failed') asked?.fail(new Error('the store gave no answer'));
    else asked?.settle(verdict === 'no' ? undefined : verdict);
  }
}
