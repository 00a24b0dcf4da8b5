// What a page shows: figures, pictures of bytes, numbers, a verdict. Each picture has its text.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

/** Whether it is good news. */
export type Tone = 'plain' | 'harm' | 'good';

export function Panel({
  title,
  tone = 'plain',
  children,
}: {
  readonly title: string;
  readonly tone?: Tone;
  readonly children: ComponentChildren;
}) {
  return (
    <section class={`panel appears ${tone}`} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

export function Verdict({ tone, children }: { readonly tone: Tone; readonly children: ComponentChildren }) {
  return <p class={`verdict ${tone}`}>{children}</p>;
}

/** Numbers with what they count. */
export function Stats({
  of,
}: {
  readonly of: readonly { readonly label: string; readonly value: ComponentChildren; readonly tone?: Tone }[];
}) {
  return (
    <dl class="stats">
      {of.map(({ label, value, tone = 'plain' }) => (
        <div key={label} class={tone}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** What stands beside which label. */
export function Rows({ of }: { readonly of: readonly (readonly [label: string, value: string])[] }) {
  return (
    <dl class="rows">
      {of.map(([label, value], i) => (
        <div key={`${i} ${label}`}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A grey picture, a byte for each pixel. `text` says what is to be seen. */
export function Bitmap({
  pixels,
  width,
  caption,
  text,
}: {
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly caption: string;
  readonly text: string;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const height = pixels.length / width;
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context) return;
    const image = context.createImageData(width, height);
    for (const [i, grey] of pixels.entries()) image.data.set([grey, grey, grey, 255], 4 * i);
    context.putImageData(image, 0, 0);
  }, [pixels, width, height]);
  return (
    <figure class="bitmap">
      <canvas ref={canvas} width={width} height={height} role="img" aria-label={text} />
      <figcaption>{caption}</figcaption>
    </figure>
  );
}

/** The names of a picture's rows, which stay where they are when it scrolls. `y`: the middle of each. */
export function RowLabels({
  width,
  height,
  rows,
}: {
  readonly width: number;
  readonly height: number;
  readonly rows: readonly { readonly text: string; readonly y: number }[];
}) {
  return (
    <svg class="row-labels" width={width} height={height} aria-hidden="true">
      {rows.map(({ text, y }) => (
        <text key={text} x={0} y={y + 4}>
          {text}
        </text>
      ))}
    </svg>
  );
}

/** Pixels that are to be seen on both sides of a place. */
const AROUND = 40;

/** What is wider than a narrow screen: it scrolls by itself, by keyboard too. */
export function Scroller({
  label,
  shows,
  children,
}: {
  readonly label: string;
  /** A place, in pixels from the left of what scrolls: whenever it changes, it is brought into sight. */
  readonly shows?: number;
  readonly children: ComponentChildren;
}) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (shows === undefined || !box.current) return;
    const { scrollLeft, clientWidth } = box.current;
    const labels = box.current.querySelector('.row-labels')?.getBoundingClientRect().width ?? 0;
    const nearest = Math.min(scrollLeft, shows - AROUND);
    box.current.scrollLeft = Math.max(nearest, shows + AROUND - (clientWidth - labels));
  }, [shows]);
  return (
    <div ref={box} class="scroller" role="group" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}
