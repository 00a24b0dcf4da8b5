// The daemon's log: JSON, or lines for a person at a terminal, from LOG_LEVEL and the stream it goes to.
// Promises: written at once, without a thread behind it; a stream that has gone away ends nobody; no secrets.
// Read on: log-events.ts (the sentences); wireguard-go main.go (LOG_LEVEL).

import { type Logger, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { harmless } from '../../tunnel/daemon/human.js';
import { LOG_LEVELS, type LogLevel } from './log-levels.js';

export type { Logger } from 'pino';

/** Where lines go, such as `process.stderr`. */
export interface LogStream {
  /** Must not wait: a daemon logs from within what it does. */
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export interface LoggerOptions {
  /** The name of the interface: on every line. */
  readonly interface: string;
  readonly stream: LogStream;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const DEFAULT_LEVEL: LogLevel = 'info';

/** Never throws: a word that is no level gives the default one. */
export function createLogger({ interface: name, stream, env }: LoggerOptions): Logger {
  const level = LOG_LEVELS[env['LOG_LEVEL'] ?? ''] ?? DEFAULT_LEVEL;
  // The sentences say all that matters: fields are for programs.
  const pretty = stream.isTTY
    ? prettyFactory({
        colorize: !env['NO_COLOR'],
        hideObject: true,
        messageFormat: ({ msg }) => harmless(String(msg)),
      })
    : undefined;
  return pino(
    {
      level,
      base: { interface: name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      serializers: { err: env['WIREONCE_DEBUG'] === '1' ? pino.stdSerializers.err : withoutStack },
    },
    // What is written to a file is read on a terminal too.
    { write: line => writeQuietly(stream, pretty ? pretty(line) : `${harmless(line.trimEnd())}\n`) },
  );
}

/** Where in our sources it was thrown tells an operator nothing. */
function withoutStack(error: unknown) {
  const { name, code, message = String(error) } = Object(error) as Partial<NodeJS.ErrnoException>;
  return { type: name, code, message };
}

/** A full disk or a closed terminal must not end a tunnel. */
function writeQuietly(stream: LogStream, text: string): void {
  try {
    stream.write(text);
  } catch {
    // There is nowhere to say so.
  }
}
