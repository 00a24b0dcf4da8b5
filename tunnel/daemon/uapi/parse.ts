// Reads requests, `get=1`, `set=1` and our own `status=1` and `drill=1`, from a stream of bytes, piece by piece.
// Promises: a `set` comes out whole and valid or not at all; whatever bytes come in, it throws nothing, holds no more
// than the limits allow, and erases the keys of what it refuses.
// Read on: wireguard-go device/uapi.go IpcHandle() and IpcSetOperation().

import { LineReader } from './lines.js';
import {
  ERRNO,
  type UapiAllowedIpChange,
  type UapiChanges,
  UapiError,
  type UapiPeerChange,
  type UapiState,
} from './types.js';
import { clamp, invalid, readEndpoint, readKey, readNumber, readPrefix } from './values.js';

/** Longer than any key and value: the longest are URLs. wireguard-go's own limit is 64 KiB. */
export const MAX_LINE_BYTES = 4_096;

export interface UapiLimits {
  /** Bytes of one request. Default 32 MiB: half a million ranges. */
  readonly maxRequestBytes?: number;
  /** Peers and allowed IPs of one request together. Default a million. */
  readonly maxEntries?: number;
}

const MAX_REQUEST_BYTES = 32 * 1024 * 1024;
const MAX_ENTRIES = 1_000_000;

/** Requests of one line. `status` and `drill` are ours: no other implementation has them, and `wg` never asks for them. */
const QUESTIONS = ['get', 'status', 'drill'] as const;
type UapiQuestion = (typeof QUESTIONS)[number];
export type UapiOperation = UapiQuestion | 'set';

export type UapiRequest =
  | { readonly operation: UapiQuestion; readonly refused?: undefined }
  | { readonly operation: 'set'; readonly changes: UapiChanges; readonly refused?: undefined }
  | {
      readonly operation: UapiOperation;
      /** Answer with its number. */
      readonly refused: UapiError;
      /** What follows cannot be understood: close after the answer. */
      readonly last: boolean;
    }
  /** No request at all: close without an answer, as wireguard-go does. */
  | { readonly operation: 'unknown' };

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type PeerDraft = Omit<Mutable<UapiPeerChange>, 'allowedIps'> & { allowedIps: UapiAllowedIpChange[] };
type Draft = Omit<Mutable<UapiChanges>, 'peers'> & { peers: PeerDraft[] };

/** A `set` while it is read. */
interface SetDraft {
  readonly changes: Draft;
  /** The peer whose lines come now; `undefined` before the first `public_key`. */
  peer: PeerDraft | undefined;
  entries: number;
  /** The first mistake. What follows is skipped up to the blank line, so that the next request is found. */
  refused: UapiError | undefined;
}

export class UapiRequestParser {
  readonly #lines = new LineReader(MAX_LINE_BYTES);
  readonly #maxRequestBytes: number;
  readonly #maxEntries: number;
  /** `undefined` between requests. */
  #reading: UapiQuestion | SetDraft | undefined;
  #bytes = 0;
  #ended = false;

  constructor(limits: UapiLimits = {}) {
    this.#maxRequestBytes = limits.maxRequestBytes ?? MAX_REQUEST_BYTES;
    this.#maxEntries = limits.maxEntries ?? MAX_ENTRIES;
  }

  /** Adds bytes, which are copied. Take every request that `next` has before the next push. */
  push(chunk: Uint8Array): void {
    if (!this.#ended) this.#lines.push(chunk);
  }

  /** The next request that is whole or lost; `undefined` when more bytes are needed. Nothing follows a last one. */
  next(): UapiRequest | undefined {
    while (!this.#ended) {
      const line = this.#lines.next();
      if (line === undefined) return undefined;
      const request = line === 'tooLong' ? this.#lose(lineTooLong()) : this.#line(line);
      if (request) return request;
    }
    return undefined;
  }

  /** No more bytes will come. A request left in its midst is lost, and none of it counts. */
  end(): UapiRequest | undefined {
    if (this.#ended || !this.midRequest) return undefined;
    return this.#lose(new UapiError(ERRNO.EPROTO, 'the request ended before its blank line'));
  }

  /** Whether a request has begun and is not whole. */
  get midRequest(): boolean {
    return this.#reading !== undefined || this.#lines.waiting > 0;
  }

  /** Erases what is held of an unfinished request. */
  clear(): void {
    this.#ended = true;
    this.#lines.clear();
    if (typeof this.#reading === 'object') wipeKeys(this.#reading.changes);
    this.#reading = undefined;
  }

  #line(line: Buffer): UapiRequest | undefined {
    this.#bytes += line.length + 1;
    const reading = this.#reading;
    if (reading === undefined) return this.#begin(line);
    if (typeof reading === 'string') {
      if (line.length > 0) {
        return this.#lose(new UapiError(ERRNO.EINVAL, `a ${reading} request has no second line`));
      }
      this.#reading = undefined;
      return { operation: reading };
    }
    if (line.length === 0) return this.#finish(reading);
    if (this.#bytes > this.#maxRequestBytes) return this.#lose(tooLarge());
    if (!reading.refused) this.#setLine(reading, line);
    return undefined;
  }

  #begin(line: Buffer): UapiRequest | undefined {
    this.#bytes = 0;
    const text = line.toString('latin1');
    const question = QUESTIONS.find(each => text === `${each}=1`);
    if (question) {
      this.#reading = question;
    } else if (text === 'set=1') {
      const changes = { replacePeers: false, peers: [] };
      this.#reading = { changes, peer: undefined, entries: 0, refused: undefined };
    } else {
      return this.#lose(undefined);
    }
    return undefined;
  }

  #setLine(draft: SetDraft, line: Buffer): void {
    try {
      readSetLine(draft, line);
      if (draft.entries > this.#maxEntries) throw tooLarge();
    } catch (error) {
      wipeKeys(draft.changes);
      draft.changes.peers = [];
      draft.peer = undefined;
      draft.refused =
        error instanceof UapiError ? error : new UapiError(ERRNO.EINVAL, 'the line cannot be read');
    }
  }

  #finish({ changes, refused }: SetDraft): UapiRequest {
    this.#reading = undefined;
    if (refused) return { operation: 'set', refused, last: false };
    for (const peer of changes.peers) if (peer.remove) forgetSettings(peer);
    return { operation: 'set', changes };
  }

  /** Gives up the stream. Without a request there is nobody to answer. */
  #lose(error: UapiError | undefined): UapiRequest {
    const reading = this.#reading;
    this.clear();
    if (reading === undefined || error === undefined) return { operation: 'unknown' };
    if (typeof reading === 'string') return { operation: reading, refused: error, last: true };
    return { operation: 'set', refused: reading.refused ?? error, last: true };
  }
}

function lineTooLong(): UapiError {
  return new UapiError(ERRNO.EIO, `a line of more than ${MAX_LINE_BYTES} bytes`);
}

function tooLarge(): UapiError {
  return new UapiError(ERRNO.E2BIG, 'a request beyond the limits');
}

/** Erases the keys of changes, or of a state, that nobody needs any more. */
export function wipeKeys({ privateKey, peers }: UapiChanges | UapiState): void {
  for (const key of [privateKey, ...peers.map(({ presharedKey }) => presharedKey)]) {
    // A key that was moved to another thread has left nothing here.
    if (key !== undefined && key.length > 0) key.fill(0);
  }
}

/** What was said of a peer that is removed in the end goes with it. */
function forgetSettings(peer: PeerDraft): void {
  peer.presharedKey?.fill(0);
  delete peer.presharedKey;
  delete peer.endpoint;
  delete peer.persistentKeepalive;
  peer.replaceAllowedIps = false;
  peer.allowedIps = [];
}

/** Reads one `key=value`. Throws `UapiError`. */
function readSetLine(draft: SetDraft, line: Buffer): void {
  const equals = line.indexOf(0x3d);
  if (equals < 0) throw new UapiError(ERRNO.EPROTO, 'a line without a key and a value');
  const name = line.toString('latin1', 0, equals);
  const value = line.subarray(equals + 1);
  if (name === 'public_key') {
    draft.peer = newPeer(readKey(name, value));
    draft.changes.peers.push(draft.peer);
    draft.entries += 1;
  } else if (draft.peer === undefined) {
    readDeviceLine(draft.changes, name, value);
  } else {
    readPeerLine(draft.peer, name, value);
    if (name === 'allowed_ip') draft.entries += 1;
  }
}

function newPeer(publicKey: Uint8Array): PeerDraft {
  return { publicKey, remove: false, updateOnly: false, replaceAllowedIps: false, allowedIps: [] };
}

function readDeviceLine(changes: Draft, name: string, value: Buffer): void {
  switch (name) {
    case 'private_key':
      changes.privateKey?.fill(0);
      changes.privateKey = clamp(readKey(name, value));
      break;
    case 'listen_port':
      changes.listenPort = readNumber(name, value.toString('latin1'), 0xffff);
      break;
    case 'fwmark':
      changes.fwMark = readNumber(name, value.toString('latin1'), 0xffff_ffff);
      break;
    case 'replace_peers':
      changes.replacePeers = readTrue(name, value);
      break;
    case 'forget_refusals':
      changes.forgetRefusals = readTrue(name, value);
      break;
    default:
      throw unknownKey(name, 'of the device');
  }
}

function readPeerLine(peer: PeerDraft, name: string, value: Buffer): void {
  switch (name) {
    case 'remove':
      peer.remove = readTrue(name, value);
      break;
    case 'update_only':
      peer.updateOnly = readTrue(name, value);
      break;
    case 'preshared_key':
      peer.presharedKey?.fill(0);
      peer.presharedKey = readKey(name, value);
      break;
    case 'endpoint':
      peer.endpoint = readEndpoint(name, value.toString('latin1'));
      break;
    case 'persistent_keepalive_interval':
      peer.persistentKeepalive = readNumber(name, value.toString('latin1'), 0xffff);
      break;
    case 'replace_allowed_ips':
      peer.replaceAllowedIps = readTrue(name, value);
      // The ranges that stand before it are among the replaced.
      peer.allowedIps = [];
      break;
    case 'allowed_ip':
      peer.allowedIps.push(readAllowedIp(name, value.toString('latin1')));
      break;
    case 'protocol_version':
      if (value.toString('latin1') !== '1') throw invalid(name);
      break;
    default:
      throw unknownKey(name, 'of a peer');
  }
}

function readAllowedIp(name: string, text: string): UapiAllowedIpChange {
  const remove = text.startsWith('-');
  const { ip, prefix } = readPrefix(name, remove ? text.slice(1) : text);
  return { ip, prefix, remove };
}

/** Flags can only be set: what should not happen is left out. */
function readTrue(name: string, value: Buffer): true {
  if (value.toString('latin1') !== 'true') throw invalid(name);
  return true;
}

function unknownKey(name: string, where: string): UapiError {
  // Anything else may be a secret in the wrong place.
  const shown = /^[a-z_]{1,40}$/.test(name) ? name : 'the line';
  return new UapiError(ERRNO.EINVAL, `${shown}: not a key ${where}`);
}
