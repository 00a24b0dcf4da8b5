// The body of a call to the hook: what a hypervisor's agent says about a fork, checked field by field.
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

function parseEpoch(value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
  throw refused('epoch: not a whole number above 0');
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
