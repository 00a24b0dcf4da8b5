// From the address that was printed to pictures: the token becomes a pass, the pass opens the stream.
// Promises: the token is gone from the address before anything else is done; the pass is known to this tab
// alone, and lasts as long as it; a stream that breaks off is begun anew, until the server knows the pass no
// more.
// Read on: web/server/live-status.ts (the other end).

import type { StatusPicture } from '../../tunnel/daemon/status-picture.js';
import { PASS_PATH, PICTURES_PATH } from '../server/paths.js';
import { linesOf } from './lines.js';

const KEPT_AS = 'pass';
const AGAIN_MS = 2_000;

/**
 * `refused`: the address was used elsewhere, or its command has ended. `lost`: nobody answers. `full`: too
 * many look. After these two it is tried again.
 */
export type Link = 'connecting' | 'live' | 'lost' | 'full' | 'refused';

export interface Listener {
  picture(picture: StatusPicture): void;
  link(link: Link): void;
}

/** Tells pictures for ever, or until it is refused. */
export async function listen(listener: Listener): Promise<void> {
  const pass = await admitted();
  if (pass !== undefined) {
    for (let end = await hear(pass, listener); end !== 'refused'; end = await hear(pass, listener)) {
      listener.link(end);
      await new Promise(resolve => setTimeout(resolve, AGAIN_MS));
    }
  }
  listener.link('refused');
}

/** Resolves with why there are no pictures, or no more of them. */
async function hear(pass: string, { picture, link }: Listener): Promise<'lost' | 'full' | 'refused'> {
  try {
    const response = await ask(PICTURES_PATH, pass);
    if (response.status === 401) return 'refused';
    if (response.status === 503) return 'full';
    if (response.ok && response.body) {
      for await (const line of linesOf(response.body)) {
        link('live');
        picture(JSON.parse(line) as StatusPicture);
      }
    }
  } catch {
    // It has broken off.
  }
  return 'lost';
}

async function admitted(): Promise<string | undefined> {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token === null) return sessionStorage.getItem(KEPT_AS) ?? undefined;
  location.replace('#/');
  const response = await ask(PASS_PATH, token).catch(() => undefined);
  if (!response?.ok) return sessionStorage.getItem(KEPT_AS) ?? undefined;
  const pass = await response.text();
  sessionStorage.setItem(KEPT_AS, pass);
  return pass;
}

function ask(path: string, secret: string): Promise<Response> {
  return fetch(path, { headers: { Authorization: `Bearer ${secret}` } });
}
