// Is the device under load? Then handshake messages must prove their source address by a cookie first.
// Read on: WireGuard paper 5.3; Linux receive.c wg_receive_handshake_packet(), where the length of the queue decides too.

/** Once under load, a device stays so for this long. Linux: one second. Milliseconds. */
export const UNDER_LOAD_MS = 1_000;
/** So many handshake messages that wait are load. wireguard-go has as many. */
export const DEFAULT_UNDER_LOAD_THRESHOLD = 128;
/** The same for a gateway, to which very many machines may come at one instant who were one a moment ago: half its queue. */
export const GATEWAY_UNDER_LOAD_THRESHOLD = 2_048;

export class LoadMeter {
  readonly #threshold: number;
  #underLoadUntil = Number.NEGATIVE_INFINITY;

  /** `threshold` in handshake messages that wait; 0 means always under load. */
  constructor(threshold: number) {
    this.#threshold = threshold;
  }

  /** Whether so many messages that wait are load by themselves. */
  isLoad(queued: number): boolean {
    return queued >= this.#threshold;
  }

  /** Call while messages are kept away that would wait otherwise. */
  note(now: number): void {
    this.#underLoadUntil = now + UNDER_LOAD_MS;
  }

  /** Whether the device is under load, with so many messages that wait or since there were as many. */
  isUnderLoad(queued: number, now: number): boolean {
    if (this.isLoad(queued)) this.note(now);
    return now < this.#underLoadUntil;
  }
}
