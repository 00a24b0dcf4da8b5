// Where the lines of a plot of throughput go.
// Promises: the newest sample is at the right edge; a gap in what is known is a gap in the line.

import type { Rate } from '../../tunnel/daemon/status-picture.js';
import { type Sample, WINDOW_MS } from './history.js';

/** Of the drawing, in units of its own. */
export const WIDTH = 600;
export const HEIGHT = 100;

/** The power of two at or above: so that the scale stays for a while. At least 1 KiB/s. */
export function scaleOf(highest: number): number {
  return 2 ** Math.max(10, Math.ceil(Math.log2(Math.max(1, highest))));
}

/** An SVG path. */
export function pathsOf(samples: readonly Sample[], way: keyof Rate, scale: number): string {
  const end = samples.at(-1)?.at ?? 0;
  let isDrawing = false;
  return samples
    .map(({ at, rate }) => {
      if (!rate) {
        isDrawing = false;
        return '';
      }
      const x = WIDTH * (1 - (end - at) / WINDOW_MS);
      const y = HEIGHT * (1 - rate[way] / scale);
      const step = `${isDrawing ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
      isDrawing = true;
      return step;
    })
    .join('');
}
