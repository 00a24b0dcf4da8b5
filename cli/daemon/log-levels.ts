// The words of LOG_LEVEL. A file of its own: whoever reads settings need not load what writes logs.

export type LogLevel = 'debug' | 'info' | 'error' | 'silent';

/**
 * The words of wireguard-go, and `info`: starts, forks, sources, failures. It takes anything else for `error`; we take it
 * for `info`, the default, and say so.
 */
export const LOG_LEVELS: Readonly<Record<string, LogLevel>> = {
  verbose: 'debug',
  debug: 'debug',
  info: 'info',
  error: 'error',
  silent: 'silent',
};
