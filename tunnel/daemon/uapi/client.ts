// The UAPI's client: what `wireonce status` and `wireonce drill` ask a running daemon with, and the tests ask ours.
// Promises: speaks to any WireGuard that has a UAPI; each call has its own connection, and waits for no daemon that says nothing.
// Read on: wireguard-tools src/ipc-uapi.h.

import { connect, type Socket } from 'node:net';
import { secretBytes } from '../../../native/secret-bytes.js';
import { TunnelError } from '../../errors.js';
import { type DrillAnswer, parseDrillAnswer } from '../drill.js';
import { type DeviceStatus, parseStatus } from '../status.js';
import { formatChanges } from './format.js';
import { LineReader } from './lines.js';
import { MAX_LINE_BYTES } from './parse.js';
import {
  ERRNO,
  type UapiAllowedIp,
  type UapiChanges,
  UapiError,
  type UapiPeerState,
  type UapiState,
} from './types.js';
import { readKey, readNumber, readPrefix } from './values.js';

const TIMEOUT_MS = 30_000;
const NS_PER_MS = 1_000_000;
/** A status is one line: some 300 bytes for each peer. */
const MAX_STATUS_BYTES = 64 * 1024 * 1024;

export interface UapiClientOptions {
  /** The longest silence of the daemon within a call, in milliseconds. Default 30 seconds. */
  readonly timeoutMs?: number;
}

export class UapiClient {
  readonly #path: string;
  readonly #timeoutMs: number;

  /** `path`: the socket, as `socketPath` names it. */
  constructor(path: string, options: UapiClientOptions = {}) {
    this.#path = path;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  }

  /**
   * The state of the device. Throws `UapiError` with the number of a refusal, `ERR_UAPI_CONNECT` or
   * `ERR_UAPI_ANSWER`, `ERR_UAPI_SILENCE`.
   */
  async get(): Promise<UapiState> {
    const reader = new StateReader();
    await this.#call([Buffer.from('get=1\n\n', 'latin1')], (name, value) => reader.line(name, value));
    return reader.state;
  }

  /** Changes the device. Throws as `get` does. */
  async set(changes: UapiChanges): Promise<void> {
    await this.#call(formatChanges(changes), () => undefined);
  }

  /**
   * What the daemon says of itself beyond `get`. Throws as `get` does, and `ERR_UAPI_NO_STATUS` when it is another
   * implementation, which knows no such request.
   */
  async status(): Promise<DeviceStatus> {
    return this.#askOurs('status', parseStatus);
  }

  /** Begins a drill, or says why not. Throws as `status` does. */
  async drill(): Promise<DrillAnswer> {
    return this.#askOurs('drill', parseDrillAnswer);
  }

  /** What no other implementation is asked. */
  async #askOurs<T>(question: 'status' | 'drill', parse: (text: string) => T): Promise<T> {
    let answer: T | undefined;
    const onLine = (name: string, value: Buffer) => {
      if (name === question) answer = parse(value.toString('utf8'));
    };
    try {
      await this.#call([Buffer.from(`${question}=1\n\n`, 'latin1')], onLine, MAX_STATUS_BYTES);
    } catch (error) {
      // wireguard-go hangs up on a request that it does not know, boringtun answers EIO.
      const unknown = error instanceof UapiError && error.errorNumber === ERRNO.EIO;
      throw unknown || error instanceof HungUp ? this.#notOurs(question, error) : error;
    }
    if (!answer) throw this.#notOurs(question);
    return answer;
  }

  #notOurs(question: string, cause?: unknown): TunnelError {
    const message = `the daemon at ${this.#path} knows no ${question} request: it is not wireonce`;
    return new TunnelError('ERR_UAPI_NO_STATUS', message, { cause });
  }

  async #call(
    pieces: Iterable<Uint8Array>,
    onLine: (name: string, value: Buffer) => void,
    maxLineBytes = MAX_LINE_BYTES,
  ): Promise<void> {
    const socket = await this.#connect();
    try {
      const errno = await this.#exchange(socket, pieces, new AnswerReader(onLine, maxLineBytes));
      if (errno !== 0) throw new UapiError(errno, `the daemon refused the request with error ${errno}`);
    } finally {
      socket.destroy();
    }
  }

  #connect(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.#path, () => {
        socket.off('error', fail);
        resolve(socket);
      });
      const fail = (cause: Error) => {
        const message = `no daemon answers at ${this.#path}: ${cause.message}`;
        reject(new TunnelError('ERR_UAPI_CONNECT', message, { cause }));
      };
      socket.once('error', fail);
    });
  }

  /** Sends and reads at once: an answer may come before the request is out. Returns the errno, positive. */
  #exchange(socket: Socket, pieces: Iterable<Uint8Array>, answer: AnswerReader): Promise<number> {
    return new Promise((resolve, reject) => {
      const fail = (problem: string, cause?: unknown) =>
        reject(new TunnelError('ERR_UAPI_ANSWER', `${problem} at ${this.#path}`, { cause }));
      const silence = () =>
        reject(
          new TunnelError('ERR_UAPI_SILENCE', `no answer within ${this.#timeoutMs} ms at ${this.#path}`),
        );
      const timer = setTimeout(silence, this.#timeoutMs);
      socket.on('data', (chunk: Buffer) => {
        timer.refresh();
        try {
          const errno = answer.push(chunk);
          if (errno !== undefined) resolve(errno);
        } catch (error) {
          fail('an answer that is not understood', error);
        }
      });
      // Our server reads on while it refuses. One that hangs up at once may take its answer with it.
      socket.on('error', error => {
        if (answer.empty) reject(new HungUp(this.#path, { cause: error }));
        fail('the connection failed', error);
      });
      socket.on('close', () => {
        clearTimeout(timer);
        if (answer.empty) reject(new HungUp(this.#path));
        fail('the answer broke off');
      });
      void send(socket, pieces).catch(reject);
    });
  }
}

/** What a daemon does that does not understand the first line. */
class HungUp extends TunnelError {
  constructor(path: string, options: ErrorOptions = {}) {
    super('ERR_UAPI_ANSWER', `the daemon hung up without an answer at ${path}`, options);
  }
}

async function send(socket: Socket, pieces: Iterable<Uint8Array>): Promise<void> {
  for (const piece of pieces) {
    const sent = new Promise<void>(resolve => {
      socket.write(piece, () => {
        piece.fill(0);
        resolve();
      });
    });
    await sent;
    // A refusal may have come already; whoever reads says so.
    if (socket.destroyed) return;
  }
}

/** Cuts an answer into keys and values, up to its error number. */
class AnswerReader {
  readonly #lines: LineReader;
  readonly #onLine: (name: string, value: Buffer) => void;
  #errno: number | undefined;
  /** Whether nothing has come yet. */
  empty = true;

  constructor(onLine: (name: string, value: Buffer) => void, maxLineBytes: number) {
    this.#lines = new LineReader(maxLineBytes);
    this.#onLine = onLine;
  }

  /** The errno, once the blank line has come. Throws when the bytes are no answer. */
  push(chunk: Buffer): number | undefined {
    this.empty = false;
    this.#lines.push(chunk);
    chunk.fill(0);
    for (let line = this.#lines.next(); line !== undefined; line = this.#lines.next()) {
      if (line === 'tooLong') throw new Error('a line is too long');
      if (line.length === 0) {
        if (this.#errno === undefined) throw new Error('no errno before the blank line');
        this.#lines.clear();
        return this.#errno;
      }
      this.#line(line);
    }
    return undefined;
  }

  #line(line: Buffer): void {
    const equals = line.indexOf(0x3d);
    if (equals < 0) throw new Error('a line without a key and a value');
    const name = line.toString('latin1', 0, equals);
    const value = line.subarray(equals + 1);
    // Both signs are in use.
    if (name === 'errno')
      this.#errno = readNumber(name, value.toString('latin1').replace(/^-/, ''), 0x7fff_ffff);
    else this.#onLine(name, value);
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type PeerDraft = Omit<Mutable<UapiPeerState>, 'allowedIps'> & { allowedIps: UapiAllowedIp[] };

/** Builds the state from an answer's lines. Keys of other implementations are skipped, as `wg` does. */
class StateReader {
  readonly state: Omit<Mutable<UapiState>, 'peers'> & { peers: PeerDraft[] } = {
    listenPort: 0,
    fwMark: 0,
    peers: [],
  };

  line(name: string, value: Buffer): void {
    const { state } = this;
    if (name === 'public_key') {
      state.peers.push(newPeer(readKey(name, value)));
      return;
    }
    const peer = state.peers.at(-1);
    if (peer) readPeerLine(peer, name, value);
    else if (name === 'private_key') state.privateKey = readKey(name, value);
    else if (name === 'listen_port') state.listenPort = readNumber(name, value.toString('latin1'), 0xffff);
    else if (name === 'fwmark') state.fwMark = readNumber(name, value.toString('latin1'), 0xffff_ffff);
  }
}

function newPeer(publicKey: Uint8Array): PeerDraft {
  return {
    publicKey,
    presharedKey: secretBytes(publicKey.length),
    persistentKeepalive: 0,
    allowedIps: [],
    lastHandshakeAt: 0,
    rxBytes: 0,
    txBytes: 0,
  };
}

function readPeerLine(peer: PeerDraft, name: string, value: Buffer): void {
  const count = () => readNumber(name, value.toString('latin1'), Number.MAX_SAFE_INTEGER);
  switch (name) {
    case 'preshared_key':
      peer.presharedKey = readKey(name, value);
      break;
    case 'endpoint':
    case 'endpoint_url':
      peer.endpoint = value.toString('latin1');
      break;
    case 'last_handshake_time_sec':
      peer.lastHandshakeAt += count() * 1000;
      break;
    case 'last_handshake_time_nsec':
      peer.lastHandshakeAt += Math.floor(count() / NS_PER_MS);
      break;
    case 'tx_bytes':
      peer.txBytes = count();
      break;
    case 'rx_bytes':
      peer.rxBytes = count();
      break;
    case 'persistent_keepalive_interval':
      peer.persistentKeepalive = count();
      break;
    case 'allowed_ip':
      peer.allowedIps.push(readPrefix(name, value.toString('latin1')));
      break;
  }
}
