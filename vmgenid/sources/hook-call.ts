// What a call to the hook says, in its body about a fork and in its address about waiting, checked field by field.
// Promises: anything but the documented fields and sizes is refused, with the field's name.
// Read on: sources/hook.ts, which serves the calls.

import { secretBytes } from '../../native/secret-bytes.js';
import { VmGenIdError } from '../errors.js';
import { parseGuid } from '../generation.js';
import type { Announcement } from '../source.js';

/** What a caller says: the announcement, and the epoch in which it learnt of it. */
export interface HookCall {
  readonly epoch?: number | undefined;
  readonly announcement: Announcement;
  /** For whoever gives this clone its identity, who checks it. */
  readonly identity?: unknown;
}

export const SEED_BYTES_MIN = 16;
export const SEED_BYTES_MAX = 1_024;

/**
 * Reads `{"vmGenId": "<GUID>", "seed": "<base64>", "epoch": n, "identity": {}}`, all optional; an empty body says nothing.
 * Throws `ERR_HOOK_REQUEST`, with the field at fault in the message.
 */
export function parseHookCall(body: Buffer): HookCall {
  if (body.length === 0) return { announcement: {} };
  const call = parseObject(body);
  for (const field of Object.keys(call)) {
    if (!FIELDS.includes(field)) {
      throw refused(
        `unknown field ${JSON.stringify(field.slice(0, 60))}: only vmGenId, seed, epoch and identity are understood`,
      );
    }
  }
  const { vmGenId, seed, epoch, identity } = call;
  return {
    identity,
    epoch: epoch === undefined ? undefined : parseEpoch(epoch),
    announcement: {
      vmGenId: vmGenId === undefined ? undefined : parseId(vmGenId),
      seed: seed === undefined ? undefined : parseSeed(seed),
    },
  };
}

/** What the address of a call asks for. */
export interface HookQuery {
  /** Milliseconds that the answer may wait for all to be there. */
  readonly waitMs?: number | undefined;
  /** It waits for a fork that came after this epoch. */
  readonly after?: number | undefined;
}

export const WAIT_MAX_MS = 60_000;

/** Reads `/fork?wait=2s&after=1`, `wait=500ms`. Throws `ERR_HOOK_REQUEST`. */
export function parseHookQuery(url: string): HookQuery {
  const at = url.indexOf('?');
  const query = new URLSearchParams(at === -1 ? '' : url.slice(at + 1));
  const given: { waitMs?: number; after?: number } = {};
  for (const [name, value] of query) {
    if (query.getAll(name).length > 1) throw refused(`${JSON.stringify(name.slice(0, 60))}: given twice`);
    if (name === 'wait') given.waitMs = parseWait(value);
    else if (name === 'after') given.after = parseEpoch(/^\d+$/.test(value) ? Number(value) : value, 'after');
    else
      throw refused(
        `unknown parameter ${JSON.stringify(name.slice(0, 60))}: only wait and after are understood`,
      );
  }
  if (given.after !== undefined && given.waitMs === undefined) throw refused('after: only with wait');
  return given;
}

function parseWait(value: string): number {
  const [, digits, unit] = /^(\d{1,5})(ms|s)$/.exec(value) ?? [];
  const ms = digits === undefined ? Number.NaN : Number(digits) * (unit === 's' ? 1_000 : 1);
  if (ms <= WAIT_MAX_MS) return ms;
  throw refused(`wait: not a time such as 500ms or 2s, of ${WAIT_MAX_MS / 1_000} s at most`);
}

const FIELDS = ['vmGenId', 'seed', 'epoch', 'identity'];

function parseObject(body: Buffer): Partial<Record<'vmGenId' | 'seed' | 'epoch' | 'identity', unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    // The engine's message would quote the body, and with it a seed.
    throw refused('the body is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refused('the body is not a JSON object');
  }
  return value;
}

function parseEpoch(value: unknown, field = 'epoch'): number {
  if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
  throw refused(`${field}: not a whole number above 0`);
}

function parseId(value: unknown): Uint8Array {
  if (typeof value !== 'string') throw refused('vmGenId: not a string');
  try {
    return parseGuid(value);
  } catch (error) {
    throw refused(`vmGenId: ${(error as Error).message}`);
  }
}

function parseSeed(value: unknown): Uint8Array {
  if (typeof value !== 'string') throw refused('seed: not a string');
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(value)) {
    throw refused('seed: not base64');
  }
  const padding = value.endsWith('==') ? 2 : value.endsWith('=') ? 1 : 0;
  const length = (value.length / 4) * 3 - padding;
  if (length < SEED_BYTES_MIN || length > SEED_BYTES_MAX) {
    throw refused(`seed: ${length} bytes, but ${SEED_BYTES_MIN} to ${SEED_BYTES_MAX} are wanted`);
  }
  const seed = secretBytes(length);
  // `from` alone would leave a copy in Node's buffer pool.
  Buffer.from(seed.buffer).write(value, 'base64');
  return seed;
}

function refused(reason: string): VmGenIdError {
  return new VmGenIdError('ERR_HOOK_REQUEST', reason);
}
