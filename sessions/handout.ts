// What a turn hands out when it is over: events, packets and questions, in the order in which they came about.
// Promises: whoever is called may call the device again; what came before his call is handed out first, and so is what his
// call brings about, before it returns. One who throws stops nobody: the first error is thrown when all were told.
// Read on: turn.ts.

import type { Stranger } from './admissions.js';
import type { DeviceEvent } from './events.js';
import type { Sink } from './ports.js';

/** An event, a question, or a packet that lies where it was received. Used again. */
interface Entry {
  event: DeviceEvent | undefined;
  question: Stranger | undefined;
  datagram: Uint8Array;
  at: number;
  length: number;
  peer: Uint8Array;
  address: number;
}

const NONE = new Uint8Array(0);

export class Handout {
  readonly #sink: Pick<Sink, 'deliverPacket'>;
  readonly #onEvent: (event: DeviceEvent) => void;
  readonly #onQuestion: (awaited: Stranger) => void;
  readonly #entries: Entry[] = [];
  #next = 0;
  #size = 0;

  constructor(
    sink: Pick<Sink, 'deliverPacket'>,
    onEvent: (event: DeviceEvent) => void,
    onQuestion: (awaited: Stranger) => void,
  ) {
    this.#sink = sink;
    this.#onEvent = onEvent;
    this.#onQuestion = onQuestion;
  }

  event(event: DeviceEvent): void {
    const entry = this.#entry();
    entry.event = event;
    entry.question = undefined;
  }

  /** Who is this? */
  question(awaited: Stranger): void {
    const entry = this.#entry();
    entry.event = undefined;
    entry.question = awaited;
  }

  /** As `Sink.deliverPacket`. The datagram must stay as it is until the turn is over. */
  packet(datagram: Uint8Array, at: number, length: number, peer: Uint8Array, address: number): void {
    const entry = this.#entry();
    entry.event = undefined;
    entry.question = undefined;
    entry.datagram = datagram;
    entry.at = at;
    entry.length = length;
    entry.peer = peer;
    entry.address = address;
  }

  /** Call when the turn is over. */
  deliver(): void {
    let failure: { readonly error: unknown } | undefined;
    while (this.#next < this.#size) {
      const entry = this.#entries[this.#next++];
      const { event, question, datagram, at, length, peer, address } = entry;
      // Before the call: who calls the device from there fills entries anew.
      if (this.#next === this.#size) {
        this.#next = 0;
        this.#size = 0;
      }
      try {
        if (event) this.#onEvent(event);
        else if (question) this.#onQuestion(question);
        else this.#sink.deliverPacket(datagram, at, length, peer, address);
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure) throw failure.error;
  }

  /** Nothing of it is handed out. */
  clear(): void {
    this.#next = 0;
    this.#size = 0;
  }

  #entry(): Entry {
    const i = this.#size++;
    return (this.#entries[i] ??= {
      event: undefined,
      question: undefined,
      datagram: NONE,
      at: 0,
      length: 0,
      peer: NONE,
      address: 0,
    });
  }
}
