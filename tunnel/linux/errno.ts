// Error numbers of Linux (the generic table: x64 and arm64 agree), and the error that a failed set-up call becomes.
// Promises: calls of the hot path return `-errno` and throw nothing; set-up calls throw with the call and the name.
// Read on: Linux include/uapi/asm-generic/errno.h; man 3 errno.

import { constants } from 'node:os';
import { TunnelError, type TunnelErrorCode } from '../errors.js';

export const EPERM = 1;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EEXIST = 17;
export const ENODEV = 19;
export const EINVAL = 22;
export const EBADFD = 77;
export const EPIPE = 32;
export const ECANCELED = 125;
export const EMSGSIZE = 90;
export const EAFNOSUPPORT = 97;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENETUNREACH = 101;
export const ENOBUFS = 105;
export const ECONNREFUSED = 111;
export const EHOSTUNREACH = 113;

// Node knows what POSIX has, some of it by two names, of which the first is to win. TUN needs one more.
const NAMES = new Map<number, string>([
  ...Object.entries(constants.errno)
    .toReversed()
    .map(([name, errno]) => [errno, name] as const),
  [EBADFD, 'EBADFD'],
]);

/** `EPERM` for 1 or -1. A number without a name becomes `errno 512`. */
export function errnoName(errno: number): string {
  const positive = Math.abs(errno);
  return NAMES.get(positive) ?? `errno ${positive}`;
}

/** What a failed call becomes. `detail` says what it was about, such as a path. */
export function systemCallError(
  call: string,
  errno: number,
  detail = '',
  code: TunnelErrorCode = 'ERR_SYSTEM_CALL',
): TunnelError {
  const name = errnoName(errno);
  const about = detail === '' ? '' : ` (${detail})`;
  return new TunnelError(code, `${call} failed: ${name}${about}`, { call, errno: name });
}
