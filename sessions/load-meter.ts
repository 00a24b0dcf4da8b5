// Is the device under load? Then handshake messages must prove their source address by a cookie first.
// Read on: WireGuard paper 5.3; Linux receive.c wg_receive_handshake_packet() (there the length of a queue decides;
// a device without queues counts handshake messages per second instead).

/** Once under load, a device stays so for this long. Linux: one second. Milliseconds. */
export const UNDER_LOAD_MS = 1_000;
/** More handshake messages than this within a second are load. wireguard-go queues as many. */
export const DEFAULT_UNDER_LOAD_THRESHOLD = 128;

export class LoadMeter {
  readonly #threshold: number;
  #windowStart = Number.NEGATIVE_INFINITY;
  #count = 0;
  #underLoadUntil = Number.NEGATIVE_INFINITY;

  /** `threshold` in handshake messages per second; 0 means always under load. */
  constructor(threshold: number) {
    this.#threshold = threshold;
  }

  /** Call for each handshake message with a true mac1. Whether the device is under load with it. */
  note(now: number): boolean {
    if (now - this.#windowStart >= 1_000) {
      this.#windowStart = now;
      this.#count = 0;
    }
    if (++this.#count > this.#threshold) this.#underLoadUntil = now + UNDER_LOAD_MS;
    return now < this.#underLoadUntil;
  }
}
