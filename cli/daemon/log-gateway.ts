// What a gateway does, in sentences. Promises: no flood fills the log: a line for each newcomer, who has proven himself; of those
// refused or unproven one for each reason in a minute, which says how many they were.
// Read on: log-events.ts; ../../gateway/admission.ts (who reports).

import type { GatewayEvent, Refusal } from '../../gateway/admission.js';
import { encodeKey } from '../../tunnel/keys.js';
import { plural } from '../../tunnel/daemon/human.js';
import type { Logger } from './log.js';
import { peerName } from './log-events.js';
import { Seldom } from './seldom.js';

const WHY: Readonly<Record<Refusal, string>> = {
  revoked: 'it is revoked; wireonce peers remove --forget would let it enrol again',
  notEnrolled: 'the store does not know it, and there is no enrolment secret for it',
  addressTaken: "its inner address is another peer's",
  full: 'there are as many peers as MaxPeers allows',
  storeFailed: 'the store gave no answer',
};

export class GatewayLog {
  readonly #logger: Logger;
  readonly #seldom: Seldom;

  /** `now`: monotonic milliseconds. */
  constructor(logger: Logger, now: () => number) {
    this.#logger = logger;
    this.#seldom = new Seldom(now);
  }

  hear(event: GatewayEvent): void {
    const { type } = event;
    switch (type) {
      case 'admitted': {
        const { publicKey, isNew } = event;
        const fields = { event: type, peer: encodeKey(publicKey), isNew };
        if (isNew) this.#logger.info(fields, `${peerName(publicKey)} - Admitted for the first time`);
        else this.#logger.debug(fields, `${peerName(publicKey)} - Admitted again`);
        break;
      }
      case 'refused': {
        const { publicKey, reason } = event;
        const sentence = `${peerName(publicKey)} - Not admitted: ${WHY[reason]}`;
        this.#seldom.say(reason, more =>
          this.#logger.warn({ event: type, reason, peer: encodeKey(publicKey) }, sentence + more),
        );
        break;
      }
      case 'unproven': {
        const { publicKey } = event;
        const sentence = `${peerName(publicKey)} - Not admitted: it was answered, and has not proven the enrolment secret`;
        this.#seldom.say(type, more =>
          this.#logger.info({ event: type, peer: encodeKey(publicKey) }, sentence + more),
        );
        break;
      }
      case 'storeFailed': {
        const { error } = event;
        this.#seldom.say(`${type} ${error.message}`, more =>
          this.#logger.error({ event: type, err: error }, `The store of peers: ${error.message}${more}`),
        );
        break;
      }
      case 'expired':
        this.#logger.info(
          { event: type, peers: event.peers },
          `Forgot ${plural(event.peers, 'peer')}, not seen for as long as ExpireAfter says`,
        );
        break;
    }
  }
}
