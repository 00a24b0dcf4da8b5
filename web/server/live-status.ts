// `wireonce status --web`: the page, and the pictures of daemons that it shows, a line of JSON each.
// Promises: read only; nothing of a daemon is told to who did not bring the token of the printed address;
// daemons are asked only while somebody looks, and no oftener than he reads.
// Read on: admittance.ts; tunnel/daemon/status-picture.ts (what is sent), web/status/connection.ts (who hears
// it).

import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { kernelEntropy } from '../../crng/entropy.js';
import { harmless } from '../../tunnel/daemon/human.js';
import type { StatusPicture } from '../../tunnel/daemon/status-picture.js';
import { Admittance } from './admittance.js';
import { PASS_PATH, PICTURES_PATH } from './paths.js';
import { type PageServerOptions, end, servePage } from './serve.js';

/** Pages that may look at a time. */
const MOST_LOOKING = 8;

export interface LiveStatusOptions extends Pick<PageServerOptions, 'port' | 'folder'> {
  /** Pictures, one after another, until the signal. Called for each page that looks. */
  readonly feed: (signal: AbortSignal) => AsyncIterable<StatusPicture>;
}

export interface LiveStatus {
  /** With the token. */
  readonly url: string;
  close(): Promise<void>;
}

/** Resolves when the page can be opened. Rejects as `servePage`. */
export async function serveLiveStatus({ feed, ...options }: LiveStatusOptions): Promise<LiveStatus> {
  const entropy = kernelEntropy();
  const admittance = new Admittance(entropy);
  entropy.close();
  let looking = 0;

  const show = async (response: ServerResponse) => {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson', 'Cache-Control': 'no-store' });
    looking++;
    try {
      await pipeline(Readable.from(lines(feed(gone.signal)), { highWaterMark: 1 }), response);
    } catch {
      // He has gone, or the feed has failed: either way he hears that it is over.
    } finally {
      looking--;
    }
  };

  const answer = (request: IncomingMessage, response: ServerResponse): boolean => {
    const { url, method } = request;
    if (url !== PASS_PATH && url !== PICTURES_PATH) return false;
    const said = /^Bearer ([\da-f]+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (method !== 'GET') end(response, 405, 'This can only be read.\n');
    else if (url === PASS_PATH) {
      const pass = admittance.exchange(said);
      response.setHeader('Cache-Control', 'no-store');
      if (pass === undefined) end(response, 401, 'This address was used, or is another.\n');
      else end(response, 200, pass);
    } else if (!admittance.admits(said)) end(response, 401, 'Come by the address that was printed.\n');
    else if (looking >= MOST_LOOKING) end(response, 503, 'Too many look already.\n');
    else {
      page.keep(request.socket);
      void show(response);
    }
    return true;
  };

  const page = await servePage({ ...options, page: 'status', answer });
  return { url: `${page.url}#token=${admittance.token}`, close: () => page.close() };
}

async function* lines(pictures: AsyncIterable<StatusPicture>): AsyncGenerator<string> {
  for await (const picture of pictures) yield `${JSON.stringify(picture, shown)}\n`;
}

/**
 * A source repeats what it has read, an enrolment what it was told: it turns no text around it on the page.
 */
function shown(_field: string, value: unknown): unknown {
  return typeof value === 'string' ? harmless(value) : value;
}
