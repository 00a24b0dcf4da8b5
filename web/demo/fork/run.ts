// One telling of the story of a fork, as the page shows it.
// Promises: nothing happens any more when it is closed, at whatever point, or when it has come to its end.
// Read on: demo/fork-story.ts (what happens), scene.tsx (how it looks).

import { batch, signal } from '@preact/signals';
import type { SeparatedPictures } from '../../../demo/attack/pictures.js';
import { ForkStory, type StoryEvent } from '../../../demo/fork-story.js';
import { pause } from '../../../demo/time.js';
import { plural } from '../../../tunnel/daemon/human.js';
import { announce } from '../../ui/live.js';
import { EMPTY, type Timeline, withDatagram, withFork } from '../timeline-model.js';
import { crng, origin, suite } from '../world.js';

export type Phase = 'starting' | 'talking' | 'forked' | 'over' | 'failed';
export type Forged = NonNullable<Awaited<ReturnType<ForkStory['forge']>>>;

/** A machine that nobody forks says no more than this. */
const MOST_TELEMETRY = 5;
const BETWEEN_TELEMETRY_MS = 900;
const BETWEEN_DATAGRAMS_MS = 70;
const BETWEEN_STEPS_MS = 500;

export interface RunOptions {
  readonly guarded: boolean;
  readonly tripwire: boolean;
}

export class ForkRun {
  readonly phase = signal<Phase>('starting');
  readonly timeline = signal<Timeline>(EMPTY);
  readonly pictures = signal<SeparatedPictures | undefined>(undefined);
  readonly forged = signal<Forged | undefined>(undefined);
  readonly wiped = signal(0);
  readonly newHandshakes = signal(0);
  /** What the peer threw away, by reason. */
  readonly dropped = signal<Readonly<Record<string, number>>>({});
  /** The counter by which the peer noticed, if it did. */
  readonly noticed = signal<bigint | undefined>(undefined);
  readonly arrived = signal<readonly { readonly words: string; readonly from: string }[]>([]);
  /** Why it has failed, if it has. */
  readonly problem = signal<string | undefined>(undefined);
  #story: ForkStory | undefined;
  #isClosed = false;
  #wantsFork: () => void = () => {};

  constructor(options: RunOptions) {
    this.#tell(options).catch((error: unknown) => {
      if (this.#isClosed) return;
      this.problem.value = error instanceof Error ? error.message : String(error);
      this.phase.value = 'failed';
    });
  }

  fork(): void {
    this.#wantsFork();
  }

  close(): void {
    this.#isClosed = true;
    this.#wantsFork();
    this.#end();
  }

  /** What is told so far stays; its machines fall silent, and its peer is given back. */
  #end(): void {
    void this.#story?.close();
  }

  async #tell({ guarded, tripwire }: RunOptions): Promise<void> {
    const story = await ForkStory.begin({
      origin,
      suite,
      crng,
      guarded,
      tripwire,
      paceMs: BETWEEN_DATAGRAMS_MS,
      onEvent: event => this.#hear(event),
    });
    this.#story = story;
    if (this.#isClosed) return void story.close();
    this.phase.value = 'talking';
    announce('A machine has made a handshake with its peer, and sends telemetry. You can fork it now.');
    const wished = new Promise<'fork'>(resolve => (this.#wantsFork = () => resolve('fork')));
    for (let i = 0; i < MOST_TELEMETRY; i++) {
      if ((await Promise.race([wished, pause(BETWEEN_TELEMETRY_MS)])) === 'fork') break;
      await story.talk();
    }
    await wished;
    if (this.#isClosed) return;
    this.phase.value = 'forked';
    await story.fork();
    await story.speak();
    await this.#step(() => {
      const { collisions } = this.timeline.value;
      const harm = collisions > 0 ? `${plural(collisions, 'pair')} of datagrams met` : 'No two datagrams met';
      announce(`Both clones have spoken. ${harm} under one key and counter.`);
    });
    await this.#step(() => {
      this.pictures.value = story.pictures();
      if (this.pictures.value) announce('The attacker has both pictures, from ciphertext alone.');
    });
    const forged = await story.forge();
    if (this.#isClosed) return;
    batch(() => {
      this.forged.value = forged;
      this.phase.value = 'over';
    });
    announce(ending(forged));
    this.#end();
  }

  async #step(act: () => void): Promise<void> {
    if (this.#isClosed) return;
    act();
    await pause(BETWEEN_STEPS_MS);
  }

  #hear(event: StoryEvent): void {
    if (this.#isClosed) return;
    switch (event.type) {
      case 'datagram':
        this.timeline.value = withDatagram(this.timeline.value, event);
        break;
      case 'forked':
        this.timeline.value = withFork(this.timeline.value);
        announce('Saved, and started twice: clone A and clone B have the same keys and counters.');
        break;
      case 'wiped':
        this.wiped.value += event.keypairs;
        announce(`${event.who} sees a new generation and has wiped its session.`);
        break;
      case 'handshake':
        if (this.timeline.value.forkedAt === undefined) break;
        this.newHandshakes.value++;
        announce(`${event.who} has made a new handshake.`);
        break;
      case 'arrived':
        if (event.words) this.arrived.value = [...this.arrived.value, event];
        break;
      case 'dropped': {
        const { [event.reason]: before = 0 } = this.dropped.value;
        this.dropped.value = { ...this.dropped.value, [event.reason]: before + 1 };
        break;
      }
      case 'noticed':
        this.noticed.value ??= event.counter;
        break;
    }
  }
}

function ending(forged: Forged | undefined): string {
  if (!forged) return 'The attacker has nothing to solve, and nothing to say.';
  return forged.believed
    ? 'The attacker has solved the authenticator’s key, and the peer has accepted a forged packet.'
    : 'The attacker has forged a packet, and the peer has refused it.';
}
