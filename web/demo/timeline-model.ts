// Datagrams as marks: who sent it, under which key and counter, and before what.
// Promises: a sender's marks stand in the order in which it sent them, an answer stands behind what it
// answers, and clones are beside each other: what each sent as its n-th after the fork stands in one column.
// Read on: timeline.tsx (how it looks); Lamport, Time, Clocks, and the Ordering of Events (the columns).

import { HANDSHAKE_INITIATION, TRANSPORT_DATA } from '../../protocol/constants.js';
import type { MessageType } from '../../protocol/messages.js';
import { plural } from '../../tunnel/daemon/human.js';
import { CLONES, type Seen, type Sender } from '../../demo/fork-story.js';

export interface Mark {
  readonly lane: Sender;
  readonly column: number;
  readonly kind: MessageType;
  /** Keys are numbered from 1 as they appear. */
  readonly key: number | undefined;
  readonly counter: bigint | undefined;
  readonly bytes: number;
  /** Another datagram, of other content, has the same key and counter. */
  readonly collides: boolean;
  readonly vanished: boolean;
}

export interface Timeline {
  readonly marks: readonly Mark[];
  readonly columns: number;
  /** The last column before the fork. */
  readonly forkedAt: number | undefined;
  /** Pairs of datagrams under one key and counter. */
  readonly collisions: number;
  readonly keys: readonly number[];
  readonly clocks: Readonly<Partial<Record<Sender, number>>>;
}

export const LANES: readonly Sender[] = ['machine', ...CLONES, 'attacker', 'peer'];

export const EMPTY: Timeline = {
  marks: [],
  columns: 0,
  forkedAt: undefined,
  collisions: 0,
  keys: [],
  clocks: {},
};

export function withDatagram(timeline: Timeline, seen: Seen): Timeline {
  const { clocks, columns } = timeline;
  const cause = seen.to ? (clocks[seen.to] ?? 0) : seen.from === 'attacker' ? columns : 0;
  const column = Math.max(clocks[seen.from] ?? timeline.forkedAt ?? 0, cause) + 1;
  const keys = seen.session === undefined || timeline.keys.includes(seen.session) ? [] : [seen.session];
  const allKeys = [...timeline.keys, ...keys];
  const mark: Mark = {
    lane: seen.from,
    column,
    kind: seen.kind,
    key: seen.session === undefined ? undefined : allKeys.indexOf(seen.session) + 1,
    counter: seen.counter,
    bytes: seen.bytes,
    collides: seen.reuse !== undefined,
    vanished: seen.vanished,
  };
  const isPartner = ({ key, counter }: Mark) => mark.collides && key === mark.key && counter === mark.counter;
  return {
    ...timeline,
    marks: [...timeline.marks.map(each => (isPartner(each) ? { ...each, collides: true } : each)), mark],
    columns: Math.max(columns, column),
    collisions: timeline.collisions + Number(mark.collides),
    keys: allKeys,
    clocks: { ...clocks, [seen.from]: column, ...(seen.to && { [seen.to]: column }) },
  };
}

export function withFork(timeline: Timeline): Timeline {
  return { ...timeline, forkedAt: timeline.columns };
}

/** In words, for one mark. */
export function describe({ kind, key, counter, collides, vanished }: Mark): string {
  if (kind !== TRANSPORT_DATA)
    return kind === HANDSHAKE_INITIATION ? 'handshake initiation' : 'handshake response';
  const notes = [collides && 'used twice', vanished && 'did not arrive'].filter(Boolean);
  return `key ${key}, counter ${counter}${notes.length > 0 ? `: ${notes.join(', ')}` : ''}`;
}

/** All of it, in a sentence. */
export function summarise({ marks, forkedAt, collisions, keys }: Timeline): string {
  const [messages, sessions] = [plural(marks.length, 'datagram'), plural(keys.length, 'key')];
  if (forkedAt === undefined) return `A machine and its peer: ${messages} under ${sessions}.`;
  const harm =
    collisions === 0
      ? 'no key and counter was used twice'
      : `${plural(collisions, 'pair')} under one key and counter`;
  return `A machine was cloned: ${messages} under ${sessions}, ${harm}.`;
}
