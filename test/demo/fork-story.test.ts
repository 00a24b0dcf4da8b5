// The story of a fork, told in this process against the peer that the page has, over WebSockets on loopback.

import { once } from 'node:events';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCrng } from '../../index.js';
import { nobleSuite } from '../../protocol/suites/noble.js';
import { ForkStory, type ForkStoryOptions, LIE, PICTURES, type StoryEvent } from '../../demo/fork-story.js';
import { SECRET } from '../../demo/secret.js';
import { PIECES } from '../../demo/picture.js';
import type { SocketClass } from '../../demo/remote-peer.js';
import { type Demonstration, serveDemonstration } from '../../web/server/demonstration.js';

/** A health check or a payment, and two pictures. */
const SAID_BY_EACH = 1 + 2 * PIECES;

let folder: string;
let world: Awaited<ReturnType<typeof openCrng>>;
let demonstration: Demonstration;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-page-'));
  mkdirSync(join(folder, 'demo'));
  writeFileSync(join(folder, 'demo/index.html'), '<!doctype html>');
  world = await openCrng();
  demonstration = await serveDemonstration({ folder: `${folder}/` });
});
afterAll(async () => {
  await demonstration?.close();
  await world?.close();
  rmSync(folder, { recursive: true });
});

/** A browser says where its page is from. */
class PageSocket extends WebSocket {
  constructor(url: string) {
    super(url, { origin: demonstration.url.slice(0, -1) });
  }
}

function begin(options: Partial<ForkStoryOptions>): Promise<ForkStory> {
  return ForkStory.begin({
    origin: demonstration.url.slice(0, -1).replace('http', 'ws'),
    suite: nobleSuite,
    crng: world.crng,
    guarded: true,
    paceMs: 0,
    onEvent: () => undefined,
    WebSocket: PageSocket as unknown as SocketClass,
    ...options,
  });
}

async function tell(guarded: boolean, tripwire = false) {
  const events: StoryEvent[] = [];
  const story = await begin({ guarded, tripwire, onEvent: event => events.push(event) });
  try {
    await story.talk();
    await story.fork();
    await story.speak();
    const pictures = story.pictures();
    const forged = await story.forge();
    return { events, pictures, forged, reuses: story.attacker.wiretap.reuses.length };
  } finally {
    await story.close();
  }
}

const arrived = (events: readonly StoryEvent[]) =>
  events.flatMap(event => (event.type === 'arrived' ? [event.words] : []));

describe('a machine without protection', () => {
  it('sends everything twice under the same keys and counters, and whoever listens has its pictures and its voice', async () => {
    const { events, pictures, forged, reuses } = await tell(false);
    expect(reuses).toBe(SAID_BY_EACH);
    expect(events.filter(event => event.type === 'wiped' || event.type === 'noticed')).toEqual([]);
    expect(pictures?.pictures).toEqual([PICTURES[0][0], PICTURES[1][0]]);
    expect(forged?.overheard).toBe(SECRET.trimEnd());
    expect(forged?.believed).toBe(true);
    const words = arrived(events).filter(each => each !== '');
    expect(words.at(-1)).toBe(LIE);
    expect(words).not.toContain(SECRET.trimEnd());
  });

  it('talks to itself no more with a peer that notices: the sessions end, and a forgery comes too late', async () => {
    const { events, forged } = await tell(false, true);
    expect(events.filter(event => event.type === 'noticed').length).toBeGreaterThan(0);
    expect(arrived(events)).not.toContain(LIE);
    expect(forged?.believed).toBe(false);
  });
});

it('with protection, the same script: sessions are wiped, made anew, and nothing is there to listen to', async () => {
  const { events, pictures, forged, reuses } = await tell(true);
  expect(reuses).toBe(0);
  expect(pictures).toBeUndefined();
  expect(forged).toBeUndefined();
  expect(events.flatMap(event => (event.type === 'wiped' ? [[event.who, event.keypairs]] : []))).toEqual([
    ['clone A', 1],
    ['clone B', 1],
  ]);
  const handshakes = events.filter(event => event.type === 'handshake').map(event => event.who);
  expect(handshakes).toEqual(expect.arrayContaining(['machine', 'clone A', 'clone B']));
  expect(arrived(events).length).toBeGreaterThan(2 * (SAID_BY_EACH - 1));
});

describe('a story that is closed while it is told', () => {
  it.each(['talk', 'fork', 'speak'] as const)('goes no further, and dials no more: %s', async part => {
    const dialled: WebSocket[] = [];
    class CountedSocket extends PageSocket {
      constructor(url: string) {
        super(url);
        dialled.push(this);
      }
    }
    const story = await begin({ WebSocket: CountedSocket as unknown as SocketClass });
    if (part === 'speak') await story.fork();
    const telling = expect(story[part]()).rejects.toThrow('the story is over');
    const before = dialled.length;
    await story.close();
    await telling;
    expect(dialled.length).toBe(before);
    await Promise.all(dialled.map(gone));
  });
});

async function gone(socket: WebSocket): Promise<void> {
  if (socket.readyState !== socket.CLOSED) await once(socket, 'close');
}
