// The strokes of which the drawings of docs/pictures are made: boxes, arrows, lanes, words, and one style for
// all.
// Promises: the same calls give the same bytes; a drawing brings its own ground, and so is readable in light
// and dark whatever page it stands on.
// Read on: drawings.ts (what is drawn), main.ts (who writes it down).

export const WIDTH = 660;

/** What a stroke means: plain, of clone A, of clone B, harm done, harm averted. */
export type Tone = 'plain' | 'a' | 'b' | 'harm' | 'good';

export interface Drawing {
  /** The name of the file, without `.svg`. */
  readonly name: string;
  /** What it shows, for whoever does not see it: the text beside it in the page. */
  readonly alt: string;
  readonly height: number;
  readonly strokes: readonly string[];
}

/** Colours of the pages, each in light and in dark: the values of web/ui/theme.css, under the names there. */
export const COLOURS = {
  ground: ['#f7f6f3', '#121417'],
  surface: ['#ffffff', '#1a1d22'],
  line: ['#d9d5cc', '#2e333b'],
  ink: ['#1b1d21', '#e8e6e1'],
  soft: ['#585c65', '#a3a8b2'],
  harm: ['#b3261e', '#ff8a7f'],
  good: ['#1b6b45', '#6fce9d'],
  'key-1': ['#2f6fb0', '#74b0ea'],
  'key-4': ['#9a5b13', '#e3a65a'],
} as const;

/** Clones have the colours of keys. */
const TONES = { a: 'key-1', b: 'key-4', harm: 'harm', good: 'good' } as const;

function rules(theme: 0 | 1): string[] {
  const { ground, surface, line, ink, soft } = COLOURS;
  return [
    `.ground { fill: ${ground[theme]} }`,
    `text { fill: ${ink[theme]} }`,
    `.soft { fill: ${soft[theme]} }`,
    `.box { fill: ${surface[theme]}; stroke: ${line[theme]} }`,
    `.stroke { stroke: ${soft[theme]} }`,
    `.head { fill: ${soft[theme]} }`,
    ...Object.entries(TONES).flatMap(([tone, colour]) => [
      `.box.${tone}, .stroke.${tone} { stroke: ${COLOURS[colour][theme]} }`,
      `text.${tone}, .head.${tone} { fill: ${COLOURS[colour][theme]} }`,
    ]),
  ];
}

const STYLE = [
  'text { font: 14px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }',
  '.bold { font-weight: 650 }',
  '.box, .stroke { stroke-width: 1.5 }',
  '.stroke { fill: none }',
  '.cut { stroke-dasharray: 5 4 }',
  ...rules(0),
  `@media (prefers-color-scheme: dark) { ${rules(1).join(' ')} }`,
];

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');

const round = (value: number) => Number(value.toFixed(1));

/** A line of words; `y` is its baseline. */
export function words(
  x: number,
  y: number,
  text: string,
  tone: Tone | 'soft' | 'bold' = 'plain',
  anchor: 'start' | 'middle' | 'end' = 'start',
): string {
  return `<text class="${tone}" x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escaped(text)}</text>`;
}

/** A box with lines of words in its middle. */
export function box(
  x: number,
  y: number,
  width: number,
  lines: readonly string[],
  tone: Tone = 'plain',
): string {
  const height = 14 + 18 * lines.length;
  return [
    `<rect class="box ${tone}" x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${height}" rx="6"/>`,
    ...lines.map((line, i) => words(x + width / 2, y + 21 + 18 * i, line, tone, 'middle')),
  ].join('\n');
}

export function arrow(x1: number, y1: number, x2: number, y2: number, tone: Tone = 'plain'): string {
  const angle = Math.atan2(y2 - y1, x2 - x1);
  const corner = (turn: number) =>
    `${round(x2 - 8 * Math.cos(angle + turn))} ${round(y2 - 8 * Math.sin(angle + turn))}`;
  const end = `${round(x2 - 6 * Math.cos(angle))} ${round(y2 - 6 * Math.sin(angle))}`;
  return [
    `<path class="stroke ${tone}" d="M${round(x1)} ${round(y1)}L${end}"/>`,
    `<path class="head ${tone}" d="M${round(x2)} ${round(y2)}L${corner(0.45)}L${corner(-0.45)}Z"/>`,
  ].join('\n');
}

/** Where the snapshot is taken. */
export function snapshot(x: number, top: number, bottom: number, label = 'snapshot'): string {
  return [
    words(x, top - 6, label, 'bold', 'middle'),
    `<path class="stroke cut" d="M${round(x)} ${top}V${bottom}"/>`,
  ].join('\n');
}

export type Link = readonly [label: string, tone?: Tone];

const GAP = 22;

function widthOf([label]: Link): number {
  return Math.max(...label.split('\n').map(line => line.length)) * 8 + 18;
}

/** Where the n-th of these boxes ends, counted from 1; the first begins at `x`. */
export function endOf(x: number, links: readonly Link[], n = links.length): number {
  return links.slice(0, n).reduce((sum, link) => sum + widthOf(link) + GAP, x) - GAP;
}

/**
 * Boxes one after the other with arrows between: what is done, in its order. Each is as wide as its longest
 * line.
 */
export function chain(x: number, y: number, links: readonly Link[]): string {
  return links
    .flatMap((link, i) => {
      const [label, tone = 'plain'] = link;
      const left = i === 0 ? x : endOf(x, links, i) + GAP;
      const itself = box(left, y, widthOf(link), label.split('\n'), tone);
      return i === 0 ? [itself] : [arrow(left - GAP, y + 16, left, y + 16, tone), itself];
    })
    .join('\n');
}

/** A snapshot between the n-th of these boxes and the next. */
export function chainCut(x: number, y: number, links: readonly Link[], n: number): string {
  return [chain(x, y, links), snapshot(endOf(x, links, n) + GAP / 2, y - 2, y + 36, 'S')].join('\n');
}

/** The file of a drawing. */
export function svg({ alt, height, strokes }: Drawing): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">
<title>${escaped(alt)}</title>
<style>
${STYLE.join('\n')}
</style>
<rect class="ground" width="${WIDTH}" height="${height}" rx="10"/>
${strokes.join('\n')}
</svg>
`;
}
