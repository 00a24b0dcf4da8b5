// What the process of the clones is told, and what it answers.

export interface Orders {
  /** 32 bytes each, base64. */
  readonly gatewayKey: string;
  readonly secret: string;
  /** Inner addresses: the /64 of all, and the gateway's in it. */
  readonly prefix: string;
  readonly gateway: string;
  /** Where the gateway listens. */
  readonly endpoint: { readonly host: string; readonly port: number };
  /** Clones that start one after the other, and clones that start at one instant. */
  readonly alone: number;
  readonly together: number;
}

export interface Outcome {
  /** Whose echo came back. */
  readonly admitted: number;
  readonly keys: number;
  readonly addresses: number;
  /** Datagrams that a clone sent as its parent: initiations under its key, and data of its sessions. */
  readonly underParentKey: number;
  /** Milliseconds from the first instruction after the restore to the first echo, of each that had one. */
  readonly aloneMs: readonly number[];
  readonly togetherMs: readonly number[];
  /** Processor time of a clone, milliseconds: what of the time is this process's. */
  readonly cpuMsPerClone: number;
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
}

/** To a hundredth. NaN of none. */
export function quantiles(values: readonly number[]): Quantiles {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) =>
    sorted.length === 0
      ? Number.NaN
      : Math.round(100 * sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]) / 100;
  return { p50: at(0.5), p99: at(0.99) };
}
