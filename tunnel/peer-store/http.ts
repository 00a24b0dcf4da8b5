// Peers that a service of an operator's own knows: GET BASE/KEY, the key in base64url, is answered by 200 and
// `{"allowedIps":["10.0.0.2/32"],"presharedKey":"..."}`, or by 404 when there is no such peer.
// Promises: an answer is waited for and read within bounds, and no redirect is followed; no message shows what the URL has of a
// name, a password or a query.
// Read on: gateway/store.ts (the port); record-text.ts (what the answer may say).

import { Agent, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as SecureAgent, request as httpsRequest } from 'node:https';
import { GatewayError } from '../../gateway/errors.js';
import type { PeerLookup, PeerRecord } from '../../gateway/store.js';
import { BadValue } from '../config/config-values.js';
import { encodeKey } from '../keys.js';
import { readPeer } from './record-text.js';

const TIMEOUT_MS = 5_000;
const MAX_BODY_BYTES = 64 * 1024;
/** Connections at a time. More questions wait for one. */
const MAX_CONNECTIONS = 16;
const OK = 200;
const NOT_FOUND = 404;

/** How a service is asked. */
export interface HttpPeersOptions {
  /** The longest wait for a whole answer, in milliseconds. Default 5 seconds. */
  readonly timeoutMs?: number;
  /** Wall-clock milliseconds. */
  readonly now?: () => number;
}

interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

/** Peers that a service of an operator's own knows: it is asked, and told nothing. */
export class HttpPeers implements PeerLookup {
  readonly #base: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: Agent;
  readonly #timeoutMs: number;
  readonly #now: () => number;
  #closed = false;

  /** `url`: what stands before the key; its name and password go into a header. Throws `ERR_STORE_OPEN`. */
  constructor(url: string, options: HttpPeersOptions = {}) {
    const base = URL.canParse(url) ? new URL(url) : undefined;
    if (!base || !/^https?:$/.test(base.protocol) || base.hash !== '')
      throw new GatewayError('ERR_STORE_OPEN', 'the place of a store is no http:// or https:// URL');
    this.#headers = { accept: 'application/json', ...authorization(base) };
    base.username = '';
    base.password = '';
    if (!base.pathname.endsWith('/')) base.pathname += '/';
    this.#base = base;
    const settings = { keepAlive: true, maxSockets: MAX_CONNECTIONS };
    this.#agent = base.protocol === 'https:' ? new SecureAgent(settings) : new Agent(settings);
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#now = options.now ?? Date.now;
  }

  /** Rejects with `ERR_STORE_UNAVAILABLE` when no answer comes, and `ERR_STORE_ANSWER` when it is none of those. */
  async get(publicKey: Uint8Array): Promise<PeerRecord | undefined> {
    if (this.#closed) throw new GatewayError('ERR_STORE_CLOSED', 'the store is closed');
    const url = new URL(this.#base);
    url.pathname += encodeKey(publicKey).replaceAll('+', '-').replaceAll('/', '_').replace('=', '');
    const { status, body } = await this.#ask(url);
    if (status === NOT_FOUND) return undefined;
    if (status !== OK) throw this.#strange(`status ${status}`);
    try {
      const said = readPeer(publicKey, JSON.parse(body.toString('utf8')));
      return { admittedAt: this.#now(), lastSeenAt: 0, ...said };
    } catch (error) {
      // What JSON.parse says of a text shows some of it.
      throw this.#strange(
        error instanceof BadValue ? `what is no peer: ${error.message}` : 'what is no JSON',
      );
    } finally {
      body.fill(0);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#agent.destroy();
  }

  #strange(what: string): GatewayError {
    return new GatewayError('ERR_STORE_ANSWER', `${this.#shown} answers with ${what}`);
  }

  get #shown(): string {
    return this.#base.origin + this.#base.pathname;
  }

  async #ask(url: URL): Promise<Answer> {
    const late = AbortSignal.timeout(this.#timeoutMs);
    try {
      return await this.#read(await this.#request(url, late));
    } catch (error) {
      if (error instanceof GatewayError) throw error;
      const reason = late.aborted ? `no answer within ${this.#timeoutMs} ms` : (error as Error).message;
      const problem = `${this.#shown} does not answer: ${reason}`;
      throw new GatewayError('ERR_STORE_UNAVAILABLE', problem, { cause: error });
    }
  }

  #request(url: URL, signal: AbortSignal, isSecondTry = false): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
      const request = send(url, { agent: this.#agent, headers: this.#headers, signal });
      request.on('response', resolve);
      request.on('error', error => {
        // A connection that was kept may have ended at the same moment.
        if (request.reusedSocket && !isSecondTry && !signal.aborted)
          resolve(this.#request(url, signal, true));
        else reject(error);
      });
      request.end();
    });
  }

  async #read(response: IncomingMessage): Promise<Answer> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      // Leaving the loop ends the connection.
      if (length > MAX_BODY_BYTES) throw this.#strange(`more than ${MAX_BODY_BYTES} bytes`);
      chunks.push(chunk);
    }
    const body = Buffer.concat(chunks);
    for (const chunk of chunks) chunk.fill(0);
    return { status: response.statusCode ?? 0, body };
  }
}

/** What the URL says of a name and password, as a header. */
function authorization({ username, password }: URL): Readonly<Record<string, string>> {
  if (username === '' && password === '') return {};
  // Bytes as they are written: `%40` is an `@`.
  const plain = [username, password].map(part =>
    part.replaceAll(/%[0-9a-f]{2}/gi, code => String.fromCharCode(Number.parseInt(code.slice(1), 16))),
  );
  return { authorization: `Basic ${Buffer.from(plain.join(':'), 'latin1').toString('base64')}` };
}
