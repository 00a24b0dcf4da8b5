// A page of this program, for the browser of whoever started it.
// Promises: loopback only, and only for who calls it by that name (no other site's page reaches it by a name
// of its own, RFC 6454 and DNS rebinding); the page may load and call nothing but this server; what is served
// was read at the start, so that no request names a file.
// Read on: vite.config.ts (what is served); laboratory.ts and live-status.ts (who answers pages).

import { readFileSync, readdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { boundConnections } from '../../native/strangers.js';

/** Where the built pages are: each in a folder, and what they share in `assets`. */
export const PAGES = fileURLToPath(new URL('../pages/', import.meta.url));

export interface PageServerOptions {
  /** Its folder among the pages. */
  readonly page: string;
  /** Default: one that is free. */
  readonly port?: number | undefined;
  /** Default `PAGES`. */
  readonly folder?: string;
  /** Answers what is no file of the page; returns whether it has. */
  readonly answer?: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Takes what asks for a WebSocket, from this page alone; returns whether it has. */
  readonly upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => boolean;
}

export interface PageServer {
  /** `http://127.0.0.1:8080/` */
  readonly url: string;
  readonly server: Server;
  /** Whoever is behind this connection may stay, however many others come. */
  readonly keep: (socket: Duplex) => void;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
/** Connections of whom nobody knows whether they are our page's. */
const MOST_STRANGERS = 256;
/** Names of files in here are made of their content. */
const UNCHANGING = '/assets/';

/** Resolves when it listens. Rejects as `listen` of node:net does, or when the page is not built. */
export async function servePage(options: PageServerOptions): Promise<PageServer> {
  const files = filesOf(options.folder ?? PAGES);
  const page = files.get(`/${options.page}/index.html`);
  if (!page) throw new Error(`the page '${options.page}' is not built`);
  files.set('/', page);
  const server = createServer((request, response) => {
    const names = namesOf(server);
    for (const [name, value] of Object.entries(headersOf(names))) response.setHeader(name, value);
    if (!isCalledBy(names, request)) return end(response, 421, 'This is for 127.0.0.1 alone.\n');
    const path = (request.url ?? '').split('?', 1)[0];
    const file = files.get(path);
    if (!file) {
      if (!isOurPage(names, request)) return end(response, 403, 'This is for its own page alone.\n');
      if (!options.answer?.(request, response)) end(response, 404, 'There is no such page.\n');
      return;
    }
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return end(response, 405, 'This can only be read.\n');
    response.setHeader('Content-Type', file.type);
    response.setHeader(
      'Cache-Control',
      path.startsWith(UNCHANGING) ? 'max-age=31536000, immutable' : 'no-cache',
    );
    response.end(file.content);
  });
  const keep = boundConnections(server, MOST_STRANGERS);
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const names = namesOf(server);
    const isOurs = isCalledBy(names, request) && request.headers.origin && isOurPage(names, request);
    if (isOurs && options.upgrade?.(request, socket, head)) keep(socket);
    else socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, HOST, resolve);
  });
  server.removeAllListeners('error');
  // A connection that could not be taken, as where no descriptor is left: whoever it was tries again.
  server.on('error', () => undefined);
  return {
    url: `http://${namesOf(server)[0]}/`,
    server,
    keep,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface File {
  readonly type: string;
  readonly content: Buffer;
}

function filesOf(folder: string): Map<string, File> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry =>
    entry.isFile(),
  );
  return new Map(
    entries.flatMap(({ parentPath, name }): [string, File][] => {
      const path = join(parentPath, name);
      const type = TYPES[extname(name)];
      return type === undefined
        ? []
        : [[`/${path.slice(folder.length)}`, { type, content: readFileSync(path) }]];
    }),
  );
}

/** By which it may be called: what a browser sends as Host. */
function namesOf(server: Server): string[] {
  const { port } = server.address() as AddressInfo;
  return [HOST, 'localhost'].map(host => `${host}:${port}`);
}

function isCalledBy(names: readonly string[], { headers }: IncomingMessage): boolean {
  return names.includes(headers.host ?? '');
}

/** Whether no page of another site asks. A browser leaves the origin out where a page asks its own server. */
function isOurPage(names: readonly string[], { headers }: IncomingMessage): boolean {
  const { origin } = headers;
  return origin === undefined || names.some(name => origin === `http://${name}`);
}

function headersOf(names: readonly string[]): Record<string, string> {
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "worker-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src 'self' ${names.map(name => `ws://${name}`).join(' ')}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    // The page makes no script of text; its one policy names its worker.
    "require-trusted-types-for 'script'",
    'trusted-types wireonce',
  ];
  return {
    'Content-Security-Policy': policy.join('; '),
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Permissions-Policy': 'camera=(), microphone=(), geolocation=()',
  };
}

/** Answers in words. */
export function end(response: ServerResponse, status: number, words: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(words);
}
