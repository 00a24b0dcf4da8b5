// A door for the hypervisor's agent: it announces a fork by one HTTP call, and may bring the new ID and a seed.
// Promises: the answer 200 comes only when every session of the old epoch is wiped and all subscribers are done.
// Read on: hook-address.ts and hook-door.ts for who gets in, hook-call.ts for what is said, hook-readiness.ts for what a caller
// can wait for; docs/configuration.md for how to call it.

import { timingSafeEqual } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { VmGenIdError } from '../errors.js';
import { NO_EPOCH } from '../generation.js';
import { isOwnHost } from '../own-host.js';
import type { GenerationSource, SourceListener } from '../source.js';
import { SOCKET_PATH_MAX, type SocketFile, listenAt } from '../../native/socket-file.js';
import { listenVsock } from '../../native/vsock.js';
import { type HookAddress, isLocal, parseHookAddress } from './hook-address.js';
import { type HookCall, type HookQuery, parseHookCall, parseHookQuery } from './hook-call.js';
import { HEADERS_MAX, HookDoor, plainAnswer } from './hook-door.js';
import { type HookReporter, ReadinessWatch, within } from './hook-readiness.js';

/** Who may call the hook, and with what. */
export interface HookSourceOptions {
  /**
   * Asked of every caller as `Authorization: Bearer <token>`, 16 characters or more. On a TCP port every local
   * user can call; without a token each of them can end all sessions at will.
   */
  readonly token?: string | undefined;
  /**
   * Listen on an address that other machines can reach. Needs a token, which then crosses the network in the clear,
   * as the seed does: only for a link that nobody else is on. Default false.
   */
  readonly allowRemote?: boolean | undefined;
  /** Milliseconds in which a caller must have sent all of its call. Default 5000. */
  readonly requestTimeoutMs?: number | undefined;
  /** Who gives this clone its identity; without it a call that brings one is refused. */
  readonly enrol?: HookEnrolment | undefined;
  /** Says how far whoever is behind the hook has come after a fork, for the answer and for who waits. */
  readonly report?: HookReporter | undefined;
  /** Milliseconds that subscribers may take before the caller is told that they have not finished. Default 30000. */
  readonly settleTimeoutMs?: number | undefined;
}

/**
 * Is given the `identity` of a call, if it has one, and throws an `Error` with the field at fault. What it returns is called
 * with the epoch of the fork that was announced, and resolves with what the answer says besides, when the device speaks under
 * an identity of that epoch. Rejects with why that identity cannot be had, in words that show no key.
 */
export type HookEnrolment = (
  identity: unknown,
) => (epoch: number) => Promise<Readonly<Record<string, unknown>>>;

export const HOOK_BODY_MAX = 4_096;
const TOKEN_LENGTH_MIN = 16;
/** Calls that wait for subscribers at a time. Whoever comes after them is heard, and does not wait. */
const SETTLING_MAX = 64;
/** Connections that wait in the kernel: more are absorbed at once, and each waits longer, behind those before it. */
const BACKLOG = 1_024;
/** A report that takes longer is missing in the answer to who does not wait. Milliseconds. */
const REPORT_MS = 1_000;
/** So long nothing is let out when no connection could be taken. Milliseconds. */
const ACCEPT_RETRY_MS = 1_000;

type Answer = { status: number; body: object; headers?: Record<string, string> };

/**
 * `POST /fork` with an optional JSON body `{"vmGenId": "<GUID>", "seed": "<base64>"}` is answered by
 * `{"epoch": n, "forkEpoch": n, "parted": true, "ready": true, "missing": []}` and what `report` says. Delayed: the clone runs
 * before the agent speaks. Two calls with one GUID are one fork; calls without a GUID cannot be told apart, and each counts.
 * A clone that enrols may be brought its `identity`, and names it in the answer.
 *
 * An agent inside the machine can be copied between asking for a seed and handing it over: then every sibling has it. It
 * asks `GET /fork` first, for the epoch, and names it in its call: in another epoch the call has no effect.
 *
 * Both can wait: `?wait=2s` is answered by 200 as soon as nothing is missing, since a fork after epoch N if it has `&after=N`
 * (a drill is none), and else after two seconds by 504 with what is.
 */
export class HookSource implements GenerationSource {
  readonly name: string;
  readonly timing = 'delayed';
  readonly uniqueness = 'unique';
  readonly #address: HookAddress;
  readonly #token: Buffer | undefined;
  readonly #requestTimeoutMs: number;
  readonly #settleTimeoutMs: number;
  readonly #enrol: HookEnrolment | undefined;
  readonly #report: HookReporter | undefined;
  #door: HookDoor | undefined;
  #settling = 0;
  #retry: NodeJS.Timeout | undefined;
  #file: SocketFile | undefined;
  #endVsock: (() => void) | undefined;
  #watch: ReadinessWatch | undefined;
  #listener: SourceListener | undefined;

  /**
   * `listen` is an absolute path for a Unix socket, or `127.0.0.1:port`, `[::1]:port` (port 0: any free one), or
   * `vsock:port`, where only the host of this machine can call; `vsock:CID:port` for who has that context ID instead.
   * Throws `ERR_SOURCE_OPTION` for any other address, or one that is not of this machine alone.
   */
  constructor(listen: string, options: HookSourceOptions = {}) {
    this.name = `hook:${listen}`;
    this.#address = parseAddress(listen);
    this.#requestTimeoutMs = options.requestTimeoutMs ?? 5_000;
    this.#settleTimeoutMs = options.settleTimeoutMs ?? 30_000;
    this.#enrol = options.enrol;
    this.#report = options.report;
    if (options.token !== undefined) {
      if (options.token.length < TOKEN_LENGTH_MIN) {
        throw invalid(listen, `a token has at least ${TOKEN_LENGTH_MIN} characters`);
      }
      this.#token = Buffer.from(`Bearer ${options.token}`);
    }
    if (!isLocal(this.#address)) {
      if (!options.allowRemote) throw invalid(listen, 'not a loopback address, and allowRemote is not set');
      if (!this.#token) throw invalid(listen, 'an address that other machines can reach needs a token');
    }
  }

  /** Where it listens: the socket's path, `host:port` with the port that the system chose, or `vsock:port`. */
  get address(): string | undefined {
    if (this.#endVsock) return this.name.slice('hook:'.length);
    const bound = this.#door?.server.address();
    if (!bound) return undefined;
    if (typeof bound === 'string') return this.#file?.path;
    return bound.family === 'IPv6' ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`;
  }

  /** Throws `ERR_HOOK_LISTEN` where it cannot listen: address in use, no permission, no such folder. */
  async start(listener: SourceListener): Promise<void> {
    this.#listener = listener;
    // It listens nowhere: it is given the connections that the door has let in, and counts no time.
    const http = createServer(
      { requestTimeout: 0, headersTimeout: 0, maxHeaderSize: HEADERS_MAX },
      (request, response) => void this.#serve(request, response),
    );
    http.maxRequestsPerSocket = 1;
    http.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (socket.writable) socket.end(plainAnswer(...clientError(error)));
    });
    const door = new HookDoor({
      admits: head => this.#authorized(AUTHORIZATION.exec(head)?.[1]),
      headIsProof: this.#token !== undefined,
      enter: socket => http.emit('connection', socket),
      refusal: plainAnswer('401 Unauthorized', UNAUTHORIZED, 'WWW-Authenticate: Bearer\r\n'),
      timeoutMs: this.#requestTimeoutMs,
    });
    this.#door = door;
    this.#watch = new ReadinessWatch(listener, this.#report);
    await this.#listen(door);
    door.server.on('error', error => this.#cannotAccept(error));
    door.server.unref();
  }

  async close(): Promise<void> {
    const door = this.#door;
    this.#door = undefined;
    this.#listener = undefined;
    clearTimeout(this.#retry);
    this.#endVsock?.();
    this.#endVsock = undefined;
    if (door?.server.listening) await this.#file?.remove();
    await door?.close();
  }

  // No descriptor is left, as a rule. Strangers give theirs back; a call that came in just now was not heard.
  #cannotAccept(error: Error): void {
    this.#door?.clear();
    this.#listener?.failed(new VmGenIdError('ERR_HOOK_LISTEN', `${this.name}: ${error.message}`));
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#listener?.recovered(), ACCEPT_RETRY_MS).unref();
  }

  async #listen(door: HookDoor): Promise<void> {
    const address = this.#address;
    const { server } = door;
    try {
      if ('path' in address) {
        this.#file = await listenAt(server, address.path);
        return;
      }
      if ('vsock' in address) {
        this.#endVsock = listenVsock({
          port: address.port,
          backlog: BACKLOG,
          admits: cid => cid === address.vsock,
          onConnection: socket => door.arrived(socket),
          onError: error => this.#cannotAccept(error),
        });
        return;
      }
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ ...address, backlog: BACKLOG }, () => {
          server.off('error', reject);
          resolve();
        });
      });
    } catch (error) {
      throw new VmGenIdError('ERR_HOOK_LISTEN', `${this.name}: cannot listen: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    let answer: Answer;
    try {
      answer = this.#refusal(request) ?? (await this.#take(request, gone.signal));
    } catch (error) {
      const refused = error instanceof VmGenIdError && error.code === 'ERR_HOOK_REQUEST';
      answer = { status: refused ? 400 : 500, body: { error: refused ? error.message : 'internal error' } };
    }
    // One call, one connection: nothing that is left of a refused call is taken for the next one.
    response.writeHead(answer.status, {
      'content-type': 'application/json',
      connection: 'close',
      ...answer.headers,
    });
    response.end(JSON.stringify(answer.body));
    request.resume();
  }

  #refusal({ url, method, headers }: IncomingMessage): Answer | undefined {
    const no = (status: number, error: string, more?: Record<string, string>): Answer => {
      return { status, body: { error }, ...(more && { headers: more }) };
    };
    // A web page can make its reader's browser post to a loopback port. A browser then names the page's origin.
    if (headers.origin !== undefined) return no(403, 'Origin: calls from web pages are refused');
    // To its own server it needs to name none: neither may this be a name that was made to lead here.
    if ('host' in this.#address && !isOwnHost(headers.host))
      return no(421, 'Host: call the hook by its address, or as localhost');
    if (!this.#authorized(headers.authorization)) {
      return no(401, UNAUTHORIZED, { 'www-authenticate': 'Bearer' });
    }
    if (url?.split('?', 1)[0] !== '/fork') return no(404, 'path: only /fork is served');
    if (method !== 'POST' && method !== 'GET') {
      return no(405, 'method: only GET and POST are served', { allow: 'GET, POST' });
    }
    return undefined;
  }

  #authorized(given: string | undefined): boolean {
    if (!this.#token) return true;
    // The lengths may differ; the comparison takes as long as the token in any case.
    const padded = Buffer.alloc(this.#token.length);
    const bytes = Buffer.from(given ?? '');
    bytes.copy(padded);
    return timingSafeEqual(padded, this.#token) && bytes.length === this.#token.length;
  }

  async #take(request: IncomingMessage, gone: AbortSignal): Promise<Answer> {
    const query = parseHookQuery(request.url ?? '');
    if (request.method === 'GET') {
      this.#door?.heard(request.socket);
      if (query.waitMs === undefined) return this.#standing(query);
      return this.#isFull ? FULL : this.#waited(gone, () => this.#standing(query, gone));
    }
    const body = await readBody(request);
    if (!body) return TOO_LARGE;
    this.#door?.heard(request.socket);
    let call: HookCall;
    try {
      call = parseHookCall(body);
    } finally {
      body.fill(0);
    }
    const listener = this.#listener;
    if (!listener) return CLOSED;
    const { announcement } = call;
    const enrol = this.#enrolment(call.identity);
    // From here to the announcement nothing else runs. Without an epoch the announcement itself is the first look: what it
    // brings is not believed if that one shows a fork.
    const now = call.epoch === undefined ? undefined : listener.look().epoch;
    if (call.epoch !== now) {
      announcement.seed?.fill(0);
      return { status: 409, body: { error: `epoch: it is ${now} now; ask for all else again`, epoch: now } };
    }
    const epoch = listener.announce(announcement);
    if (epoch === NO_EPOCH) return CLOSED;
    // Its fork has begun: the identity is taken even if nobody waits for what comes of it.
    const enrolled = enrol?.(epoch).catch((error: Error) => error);
    if (this.#isFull) return unfinished('as many wait as may', epoch);
    return this.#waited(gone, async () => {
      const limit = query.waitMs ?? this.#settleTimeoutMs;
      const deadline = performance.now() + limit;
      const settled = listener.settled().then(() => true);
      if (!(await within(limit, settled))) return unfinished('subscribers have not finished', epoch);
      const named = enrolled && (await within(deadline - performance.now(), enrolled));
      if (enrolled && !named) return unfinished('the device is not enrolled', epoch);
      if (named instanceof Error) return unfinished(`the device is not enrolled: ${named.message}`, epoch);
      const waitMs = query.waitMs === undefined ? undefined : deadline - performance.now();
      const standing = await this.#standing({ ...query, waitMs }, gone);
      // An identity is of its epoch: the answer may be about a later one by now.
      const isOfNow = 'epoch' in standing.body && standing.body.epoch === epoch;
      return isOfNow ? { ...standing, body: { ...standing.body, ...named } } : standing;
    });
  }

  get #isFull(): boolean {
    return this.#settling >= SETTLING_MAX;
  }

  /** Who is gone waits no more, and takes nobody's place. */
  async #waited(gone: AbortSignal, answer: () => Promise<Answer>): Promise<Answer> {
    this.#settling++;
    try {
      const left = new Promise<Answer>(resolve => {
        if (gone.aborted) resolve(CLOSED);
        else gone.addEventListener('abort', () => resolve(CLOSED), { once: true });
      });
      return await Promise.race([answer(), left]);
    } finally {
      this.#settling--;
    }
  }

  #enrolment(identity: unknown): ReturnType<HookEnrolment> | undefined {
    try {
      if (identity !== undefined && !this.#enrol) throw new Error('identity: this device is told none');
      return this.#enrol?.(identity);
    } catch (error) {
      throw new VmGenIdError('ERR_HOOK_REQUEST', (error as Error).message, { cause: error });
    }
  }

  async #standing({ waitMs, after }: HookQuery, gone?: AbortSignal): Promise<Answer> {
    const watch = this.#watch;
    if (!watch || !this.#listener) return CLOSED;
    const now = await (waitMs === undefined ? watch.moment(REPORT_MS) : watch.wait(waitMs, after, gone));
    if (now.epoch === NO_EPOCH) return CLOSED;
    if (waitMs === undefined || now.ready) return { status: 200, body: now };
    return { status: 504, body: { error: `not ready: ${now.missing.join(', ')}`, ...now } };
  }
}

/** In the first lines of a call. */
const AUTHORIZATION = /^authorization:[ \t]*(.*?)[ \t]*$/im;
const UNAUTHORIZED = 'Authorization: Bearer token missing or wrong';
const CLOSED: Answer = { status: 503, body: { error: 'closed' } };
const FULL: Answer = { status: 503, body: { error: 'as many wait as may' } };
const TOO_LARGE: Answer = { status: 413, body: { error: `body: more than ${HOOK_BODY_MAX} bytes` } };

async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      length += chunk.length;
      if (length > HOOK_BODY_MAX) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } finally {
    for (const chunk of chunks) chunk.fill(0);
  }
}

function unfinished(what: string, epoch: number): Answer {
  return { status: 504, body: { error: `${what}; sessions are wiped`, epoch } };
}

function clientError(error: NodeJS.ErrnoException): [status: string, reason: string] {
  return error.code === 'HPE_HEADER_OVERFLOW'
    ? ['431 Request Header Fields Too Large', `headers: more than ${HEADERS_MAX} bytes`]
    : ['400 Bad Request', 'not an HTTP request'];
}

function parseAddress(listen: string): HookAddress {
  const address = parseHookAddress(listen);
  if (!address)
    throw invalid(
      listen,
      'neither an absolute path nor IPv4:port nor [IPv6]:port (0 to 65535) nor vsock:port',
    );
  if ('path' in address && Buffer.byteLength(address.path) > SOCKET_PATH_MAX)
    throw invalid(listen, `the path of a socket has at most ${SOCKET_PATH_MAX} bytes`);
  return address;
}

function invalid(listen: string, reason: string): VmGenIdError {
  return new VmGenIdError('ERR_SOURCE_OPTION', `hook:${listen}: ${reason}`);
}
