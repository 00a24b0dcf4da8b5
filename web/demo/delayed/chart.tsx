// Two clones in time: each packet from when it was sealed to when it left.

import type { DelayedOutcome } from '../../../demo/delayed.js';
import { RowLabels, Scroller } from '../../ui/show.js';
import { plural } from '../../../tunnel/daemon/human.js';

const LABELS = 66;
const WIDTH = 800;
const TOP = 30;
const LANE = 70;
const SLOPE = 40;
const BEFORE_MS = 20;
const COLOURS = 5;
const NAMES = ['clone A', 'clone B'];

export function DelayedChart({ outcome }: { readonly outcome: DelayedOutcome }) {
  const { delayMs, holdBackMs, packets, untilMs, collisions } = outcome;
  const begin = BEFORE_MS + holdBackMs;
  const x = (ms: number) => 8 + ((ms + begin) / (untilMs + begin)) * (WIDTH - 24);
  const y = (clone: number) => TOP + clone * LANE;
  const height = TOP + 2 * LANE + 26;
  const text = `Two clones from their restore on. Word of it comes after ${delayMs} ms, datagrams are held for ${holdBackMs} ms; ${plural(packets.length, 'datagram')} left, ${collisions} of each clone under a key and counter of the other.`;
  return (
    <figure class="delayed">
      <Scroller label="Two clones in time" shows={x(delayMs)}>
        <RowLabels
          width={LABELS}
          height={height}
          rows={NAMES.map((text, clone) => ({ text, y: y(clone) + SLOPE }))}
        />
        <svg width={WIDTH} height={height} viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={text}>
          <rect class="window" x={x(0)} y={TOP - 8} width={x(delayMs) - x(0)} height={2 * LANE - 8} />
          {[
            { at: 0, label: 'restored' },
            { at: delayMs, label: 'word' },
          ].map(({ at, label }, i) => (
            <g key={label} class="instant">
              <line x1={x(at)} x2={x(at)} y1={TOP - 8} y2={TOP + 2 * LANE - 16} />
              <text x={x(at) + (i === 0 ? -4 : 4)} y={TOP - 14} text-anchor={i === 0 ? 'end' : 'start'}>
                {label}
              </text>
            </g>
          ))}
          {NAMES.map((name, clone) => (
            <g key={name}>
              <line class="lane" x1={0} x2={WIDTH} y1={y(clone) + SLOPE} y2={y(clone) + SLOPE} />
            </g>
          ))}
          {packets.map(({ clone, sealedAt, leftAt, key, counter, collides }) => (
            <g key={`${clone}/${key}/${counter}/${leftAt}`} class={collides ? 'collides' : ''}>
              <line class="held" x1={x(sealedAt)} y1={y(clone)} x2={x(leftAt)} y2={y(clone) + SLOPE} />
              <circle
                class={`key-${((key - 1) % COLOURS) + 1}`}
                cx={x(leftAt)}
                cy={y(clone) + SLOPE}
                r={collides ? 5 : 4}
              />
            </g>
          ))}
          {Array.from({ length: Math.floor(untilMs / 100) + 1 }, (_, i) => (
            <text key={i} class="tick" x={x(i * 100)} y={height - 6} text-anchor="middle">
              {i * 100} ms
            </text>
          ))}
        </svg>
      </Scroller>
      <figcaption>
        A line begins where a packet is sealed, and ends at a dot where its datagram leaves: coloured by its
        key, red where the other clone used the same key and counter. In the shaded time the clones do not
        know that they are two. At the word both call their peer at once, by one static key: it takes the
        second call for a replay of the first, and clone B is heard five seconds later, outside of this
        picture.
      </figcaption>
    </figure>
  );
}
