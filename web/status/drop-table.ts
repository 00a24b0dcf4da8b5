// What drop reasons mean, out of docs/errors.md: read when the page is built, so that both say the same.
// Read on: vite.config.ts, which puts it into the page; drops.tsx.

/** Where something is dropped, as docs/errors.md calls it. */
export const DROP_PLACES = {
  device: 'of a device',
  transport: 'of a transport',
  interface: 'at the interface',
} as const;
export type DropPlace = keyof typeof DROP_PLACES;
/** A sentence by reason. */
export type DropMeanings = Readonly<Record<DropPlace, Readonly<Record<string, string>>>>;

/** Reads the tables of the document. Throws where one is missing. */
export function readDropMeanings(document: string): DropMeanings {
  const read = (place: string) => {
    const [, table] = document.split(`## Drop reasons ${place}\n`);
    const rows = table?.split('\n## ', 1)[0].matchAll(/^\| `(\w+)` \| (.+) \|$/gm) ?? [];
    const meanings = Object.fromEntries(Array.from(rows, ([, reason, meaning]) => [reason, plain(meaning)]));
    if (Object.keys(meanings).length === 0) throw new Error(`no drop reasons ${place} in docs/errors.md`);
    return meanings;
  };
  const entries = Object.entries(DROP_PLACES).map(([place, title]) => [place, read(title)]);
  return Object.fromEntries(entries) as DropMeanings;
}

function plain(markdown: string): string {
  return markdown.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll('`', '');
}
