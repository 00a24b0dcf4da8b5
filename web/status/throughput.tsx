// Bytes a second of all peers together, over the last minutes: as a plot and in words.
// Read on: plot.ts (where lines go).

import { bytes } from '../../tunnel/daemon/human.js';
import { rateText } from './figures.js';
import { type Sample, WINDOW_MS } from './history.js';
import { HEIGHT, WIDTH, pathsOf, scaleOf } from './plot.js';

const MINUTES = WINDOW_MS / 60_000;

export function Throughput({ samples }: { readonly samples: readonly Sample[] }) {
  const known = samples.flatMap(({ rate }) => (rate ? [rate] : []));
  const highest = {
    rx: Math.max(0, ...known.map(({ rx }) => rx)),
    tx: Math.max(0, ...known.map(({ tx }) => tx)),
  };
  const now = samples.at(-1)?.rate;
  const scale = scaleOf(Math.max(highest.rx, highest.tx));
  const text =
    `Throughput of the last ${MINUTES} minutes. In: ${rateText(now?.rx)} now, ${rateText(highest.rx)} at most. ` +
    `Out: ${rateText(now?.tx)} now, ${rateText(highest.tx)} at most.`;
  return (
    <figure class="throughput">
      <div class="plot">
        <span class="scale">{bytes(scale)}/s</span>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={text}>
          <path class="grid" d={`M0 0H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT}H${WIDTH}`} />
          {(['rx', 'tx'] as const).map(way => (
            <path key={way} class={way} d={pathsOf(samples, way, scale)} />
          ))}
        </svg>
        <span class="times">
          <span>{MINUTES} min ago</span>
          <span>now</span>
        </span>
      </div>
      <figcaption>
        <span class="sample rx">in</span> {rateText(now?.rx)}, at most {rateText(highest.rx)};{' '}
        <span class="sample tx">out</span> {rateText(now?.tx)}, at most {rateText(highest.tx)}
      </figcaption>
    </figure>
  );
}
