// Writes the UAPI's text: the answer to `get`, the error number that ends every answer, and a `set` for the client.
// Promises: keys in the order of wireguard-go; only what `wg` can read; a large state comes in pieces, so that nobody
// needs to hold all of its text.
// Read on: wireguard-go device/uapi.go IpcGetOperation(); wireguard-tools src/ipc-uapi.h userspace_get_device().

import { isZero } from '../../../native/bytes.js';
import { secretBytes } from '../../../native/secret-bytes.js';
import { parseWebSocketUrl } from '../../websocket/url.js';
import { KEY_BYTES } from '../../keys.js';
import type { DrillAnswer } from '../drill.js';
import type { DeviceStatus } from '../status.js';
import { MAX_LINE_BYTES, type UapiOperation } from './parse.js';
import type { UapiChanges, UapiPeerChange, UapiPeerState, UapiState } from './types.js';
import {
  formatEndpoint,
  formatPrefix,
  isNumericEndpoint,
  MAX_URL_LENGTH,
  readEndpoint,
  writeKey,
} from './values.js';

const PIECE_BYTES = 64 * 1024;
const NS_PER_MS = 1_000_000;
const LF = 0x0a;

/**
 * The end of an answer. `wg` reads the number of a `set` with its sign, as the negated errno, but that of a `get` as
 * digits alone: a minus there becomes "Protocol error" whatever the number. So a `set` is answered with -22 and a
 * `get` with 22. `errno`: positive, or 0 for success.
 */
export function formatErrno(operation: UapiOperation, errno: number): string {
  return `errno=${operation === 'set' && errno !== 0 ? -errno : errno}\n\n`;
}

/** Collects lines in memory of its own: whoever takes a piece can erase it when it was sent. */
class LineWriter {
  #piece = newPiece();
  #length = 0;

  text(name: string, value: string | number): void {
    this.#length += this.#piece.write(`${name}=${value}\n`, this.#length, 'latin1');
  }

  key(name: string, key: Uint8Array): void {
    this.#length += this.#piece.write(`${name}=`, this.#length, 'latin1');
    writeKey(key, this.#piece, this.#length);
    this.#length += 2 * KEY_BYTES;
    this.#piece[this.#length++] = LF;
  }

  /** What was written, once there might be no room for the lines of one more peer. */
  *takeIfFull(): Generator<Uint8Array> {
    if (this.#length > PIECE_BYTES - 2 * MAX_LINE_BYTES) yield* this.take();
  }

  *take(): Generator<Uint8Array> {
    if (this.#length > 0) yield this.#piece.subarray(0, this.#length);
    this.#piece = newPiece();
    this.#length = 0;
  }

  /** Erases what nobody has taken. */
  clear(): void {
    this.#piece.fill(0, 0, this.#length);
  }
}

function newPiece(): Buffer {
  return Buffer.from(secretBytes(PIECE_BYTES).buffer);
}

/** The answer to `get` without its `errno`, in pieces of about 64 KiB. Each is the caller's, to erase when sent. */
export function* formatState(state: UapiState): Generator<Uint8Array> {
  const writer = new LineWriter();
  try {
    if (state.privateKey && !isZero(state.privateKey)) writer.key('private_key', state.privateKey);
    if (state.listenPort !== 0) writer.text('listen_port', state.listenPort);
    if (state.fwMark !== 0) writer.text('fwmark', state.fwMark);
    for (const peer of state.peers) {
      writePeer(writer, peer);
      yield* writer.takeIfFull();
      for (const range of peer.allowedIps) {
        writer.text('allowed_ip', formatPrefix(range));
        yield* writer.takeIfFull();
      }
    }
    yield* writer.take();
  } finally {
    writer.clear();
  }
}

function writePeer(writer: LineWriter, peer: UapiPeerState): void {
  writer.key('public_key', peer.publicKey);
  writer.key('preshared_key', peer.presharedKey);
  writer.text('protocol_version', 1);
  writeEndpoint(writer, peer.endpoint);
  // `wg` reads digits: a clock before 1970 must not give it a minus.
  const ms = Math.max(0, peer.lastHandshakeAt);
  writer.text('last_handshake_time_sec', Math.floor(ms / 1000));
  writer.text('last_handshake_time_nsec', Math.floor((ms % 1000) * NS_PER_MS));
  writer.text('tx_bytes', peer.txBytes);
  writer.text('rx_bytes', peer.rxBytes);
  writer.text('persistent_keepalive_interval', peer.persistentKeepalive);
}

/**
 * `wg` resolves every `endpoint`, and gives up the whole device when one is no address and port. It skips keys that
 * it does not know: a URL is shown under one of those.
 */
function writeEndpoint(writer: LineWriter, endpoint: string | undefined): void {
  if (endpoint === undefined) return;
  if (isNumericEndpoint(endpoint)) {
    writer.text('endpoint', endpoint);
    return;
  }
  const url = parseWebSocketUrl(endpoint)?.href;
  if (url !== undefined && url.length <= MAX_URL_LENGTH) writer.text('endpoint_url', url);
}

/** The answer to `status` or `drill` without its `errno`: one line, whatever names hold. */
export function formatAnswer(question: 'status' | 'drill', answer: DeviceStatus | DrillAnswer): Uint8Array {
  return Buffer.from(`${question}=${JSON.stringify(answer)}\n`, 'utf8');
}

/** A whole `set` request, in pieces. Throws `UapiError` for an endpoint that cannot be read back. */
export function* formatChanges(changes: UapiChanges): Generator<Uint8Array> {
  const writer = new LineWriter();
  try {
    writer.text('set', 1);
    if (changes.privateKey) writer.key('private_key', changes.privateKey);
    if (changes.listenPort !== undefined) writer.text('listen_port', changes.listenPort);
    if (changes.fwMark !== undefined) writer.text('fwmark', changes.fwMark);
    if (changes.replacePeers) writer.text('replace_peers', 'true');
    if (changes.forgetRefusals) writer.text('forget_refusals', 'true');
    for (const peer of changes.peers) {
      writePeerChange(writer, peer);
      yield* writer.takeIfFull();
      for (const range of peer.remove ? [] : peer.allowedIps) {
        writer.text('allowed_ip', `${range.remove ? '-' : ''}${formatPrefix(range)}`);
        yield* writer.takeIfFull();
      }
    }
    yield* writer.take();
    yield Uint8Array.of(LF);
  } finally {
    writer.clear();
  }
}

function writePeerChange(writer: LineWriter, peer: UapiPeerChange): void {
  writer.key('public_key', peer.publicKey);
  if (peer.updateOnly) writer.text('update_only', 'true');
  if (peer.remove) {
    writer.text('remove', 'true');
    return;
  }
  if (peer.presharedKey) writer.key('preshared_key', peer.presharedKey);
  if (peer.endpoint) {
    const text = formatEndpoint(peer.endpoint);
    readEndpoint('endpoint', text);
    writer.text('endpoint', text);
  }
  if (peer.persistentKeepalive !== undefined) {
    writer.text('persistent_keepalive_interval', peer.persistentKeepalive);
  }
  if (peer.replaceAllowedIps) writer.text('replace_allowed_ips', 'true');
}
