// Datagrams on a wire, as a picture and as a table.
// Read on: timeline-model.ts (what stands where).

import { TRANSPORT_DATA } from '../../protocol/constants.js';
import { RowLabels, Scroller } from '../ui/show.js';
import { describe, LANES, type Mark, summarise, type Timeline } from './timeline-model.js';

const LABELS = 68;
const CELL = 31;
const LANE = 46;
const TOP = 24;
const BOX = { width: 25, height: 26 };
/** Colours that there are for keys; after the last comes the first. */
const COLOURS = 5;

export function TimelineFigure({ timeline }: { readonly timeline: Timeline }) {
  const { marks, columns, forkedAt } = timeline;
  const lanes = LANES.filter(lane =>
    lane === 'machine' || lane === 'peer'
      ? true
      : lane === 'attacker'
        ? marks.some(mark => mark.lane === lane)
        : forkedAt !== undefined,
  );
  const x = (column: number) => column * CELL - CELL / 2;
  const y = (lane: Mark['lane']) => TOP + lanes.indexOf(lane) * LANE + LANE / 2;
  const width = Math.max(columns + 1, 14) * CELL;
  const height = TOP + lanes.length * LANE + 6;
  return (
    <figure class="timeline">
      <Scroller label="Datagrams on the wire" shows={x(columns)}>
        <RowLabels width={LABELS} height={height} rows={lanes.map(lane => ({ text: lane, y: y(lane) }))} />
        <svg
          width={width}
          height={height}
          viewBox={`0 0 ${width} ${height}`}
          role="img"
          aria-label={summarise(timeline)}
        >
          {lanes.map(lane => (
            <g key={lane} class="lane">
              <line {...laneSpan(lane, forkedAt, x, width)} y1={y(lane)} y2={y(lane)} />
            </g>
          ))}
          {forkedAt !== undefined && (
            <g class="fork">
              <line x1={x(forkedAt + 0.5)} x2={x(forkedAt + 0.5)} y1={TOP - 6} y2={height} />
              <text x={x(forkedAt + 0.5)} y={TOP - 10} text-anchor="middle">
                fork
              </text>
            </g>
          )}
          {marks
            .filter(mark => mark.collides && mark.lane === 'clone B')
            .map(mark => (
              <line
                key={`${mark.key}/${mark.counter}`}
                class="clash"
                x1={x(mark.column)}
                x2={x(mark.column)}
                y1={y('clone A') + BOX.height / 2}
                y2={y('clone B') - BOX.height / 2}
              />
            ))}
          {marks.map((mark, i) => (
            <MarkGlyph key={i} mark={mark} x={x(mark.column)} y={y(mark.lane)} />
          ))}
        </svg>
      </Scroller>
      <figcaption>
        A square is a data message: its colour is the key, the number its counter. A diamond is a handshake
        message. <span class="clash-sample">Outlined in red</span>: another message has the same key and
        counter. Dashed: it never arrived.
      </figcaption>
      <details>
        <summary>The same as a table</summary>
        <Scroller label="Datagrams as a table">
          <table>
            <thead>
              <tr>
                <th scope="col">from</th>
                <th scope="col">what</th>
                <th scope="col" class="number">
                  bytes
                </th>
              </tr>
            </thead>
            <tbody>
              {marks.map((mark, i) => (
                <tr key={i}>
                  <td>{mark.lane}</td>
                  <td>{describe(mark)}</td>
                  <td class="number">{mark.bytes}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroller>
      </details>
    </figure>
  );
}

function laneSpan(
  lane: Mark['lane'],
  forkedAt: number | undefined,
  x: (column: number) => number,
  width: number,
) {
  const split = x((forkedAt ?? 0) + 0.5);
  if (lane === 'machine' && forkedAt !== undefined) return { x1: 0, x2: split };
  return { x1: lane === 'clone A' || lane === 'clone B' ? split : 0, x2: width };
}

function MarkGlyph({ mark, x, y }: { readonly mark: Mark; readonly x: number; readonly y: number }) {
  const tone = `mark ${mark.collides ? 'collides' : ''} ${mark.vanished ? 'vanished' : ''} ${mark.lane === 'attacker' ? 'forged' : ''}`;
  if (mark.kind !== TRANSPORT_DATA)
    return <path class="mark handshake" d={`M${x} ${y - 9}l9 9l-9 9l-9 -9z`} />;
  const colour = `key-${(((mark.key ?? 1) - 1) % COLOURS) + 1}`;
  return (
    <g class={tone}>
      <rect
        class={colour}
        x={x - BOX.width / 2}
        y={y - BOX.height / 2}
        width={BOX.width}
        height={BOX.height}
        rx={5}
      />
      <text x={x} y={y + 4} text-anchor="middle">
        {String(mark.counter)}
      </text>
    </g>
  );
}
