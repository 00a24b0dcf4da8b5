// What is said on the broker's socket: one line per thing, as words or as JSON.
// Promises: words in a fixed order, for a shell's `read`; what may hold spaces comes last.
// Read on: docs/configuration.md "The broker".

/** What the broker tells. */
export type BrokerLine =
  /** The first line of every connection. */
  | { readonly event: 'hello'; readonly version: 1; readonly epoch: number; readonly counter: number | null }
  /** The answer to `subscribe`: forks after this epoch wait for the client. */
  | { readonly event: 'subscribed'; readonly epoch: number }
  | {
      readonly event: 'fork';
      readonly epoch: number;
      readonly counter: number | null;
      /** The new generation ID, where it is known. */
      readonly vmGenId: string | null;
      /** Whether the kernel has reseeded its generator since. */
      readonly reseeded: boolean;
      readonly source: string;
    }
  /** The kernel has reseeded its generator since the fork that began this epoch. */
  | { readonly event: 'reseeded'; readonly epoch: number }
  /** All that wanted to be waited for have answered, or were waited for long enough. */
  | {
      readonly event: 'settled';
      readonly epoch: number;
      readonly acknowledged: number;
      readonly missed: number;
    }
  | { readonly event: 'error'; readonly reason: string };

export function formatLine(line: BrokerLine): string {
  switch (line.event) {
    case 'hello':
      return `hello ${line.version} epoch ${line.epoch} counter ${line.counter ?? '-'}`;
    case 'subscribed':
      return `subscribed ${line.epoch}`;
    case 'fork': {
      const { epoch, counter, vmGenId, reseeded, source } = line;
      const known = `vmgenid ${vmGenId ?? '-'} reseeded ${reseeded ? 'yes' : 'no'}`;
      return `fork ${epoch} counter ${counter ?? '-'} ${known} source ${source}`;
    }
    case 'reseeded':
      return `reseeded ${line.epoch}`;
    case 'settled':
      return `settled ${line.epoch} acknowledged ${line.acknowledged} missed ${line.missed}`;
    case 'error':
      return `error ${line.reason}`;
  }
}

/** What a client may say. */
export type ClientCommand =
  | { readonly do: 'subscribe' }
  | { readonly do: 'ack'; readonly epoch: number }
  | { readonly do: 'json' }
  | { readonly do: 'text' };

/** `undefined` for anything else than a command. */
export function parseCommand(line: string): ClientCommand | undefined {
  const ack = /^ack ([1-9]\d{0,14})$/.exec(line);
  if (ack) return { do: 'ack', epoch: Number(ack[1]) };
  return line === 'subscribe' || line === 'json' || line === 'text' ? { do: line } : undefined;
}
