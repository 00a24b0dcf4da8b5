// The enrolment secrets of a gateway: one, or during a change of secret the new one and those before it.
// A gateway learns which of them a caller has only when that one has proven it: an initiation does not depend on it, the
// answer does, and a caller does not hear an answer under another. So each call is answered under one of them: that under which
// the store knows the caller, else the one that a newcomer has proven last; and after a call that proved nothing under the next.
// A clone of an old secret so is admitted at its second call, five seconds later, at worst.
// Promises: secrets are copied to memory that `erase` zeroes; what is remembered of strangers is bounded.

import { BoundedMap } from '../native/bounded-map.js';
import { copySecret } from '../native/secret-bytes.js';
import { secretName } from './derive.js';

/** Callers of whom the last call has proven nothing, remembered at most. One more than that begins anew. */
const MAX_UNPROVEN = 16_384;

export interface EnrolmentSecret {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export class EnrolmentSecrets {
  readonly #secrets: EnrolmentSecret[];
  #provenLast = 0;
  /** By caller: which one is to be tried next. */
  readonly #next = new BoundedMap<string, number>(MAX_UNPROVEN);

  /** 32 bytes each, the newest first. */
  constructor(secrets: readonly Uint8Array[]) {
    this.#secrets = secrets.map(secret => ({ name: secretName(secret), bytes: copySecret(secret) }));
  }

  /** For a call of `id`, whom the store knows `under` one that may be gone. None: there is no secret. */
  choose(id: string, under: string | undefined): EnrolmentSecret | undefined {
    const known = this.#secrets.findIndex(({ name }) => name === under);
    return this.#secrets[this.#next.get(id) ?? (known >= 0 ? known : this.#provenLast)];
  }

  /** Call when `id` was answered under this one, and has proven nothing. */
  failed(id: string, { name }: EnrolmentSecret): void {
    const { length } = this.#secrets;
    if (length < 2) return;
    this.#next.set(id, (this.#secrets.findIndex(each => each.name === name) + 1) % length);
  }

  /** Call when `id` has proven that it has this one. */
  proven(id: string, { name }: EnrolmentSecret): void {
    this.#next.delete(id);
    this.#provenLast = this.#secrets.findIndex(each => each.name === name);
  }

  /** After this there are none. */
  erase(): void {
    for (const { bytes } of this.#secrets.splice(0)) bytes.fill(0);
  }
}
