// Where a page is: `#/scene?name=value`. Everything that is worth a link is there, and nowhere else.

import { signal } from '@preact/signals';

export interface Route {
  /** Without slashes; empty at the start. */
  readonly scene: string;
  readonly parameters: URLSearchParams;
}

export const route = signal(parse(location.hash));
let writing: ReturnType<typeof setTimeout> | undefined;
globalThis.addEventListener('hashchange', () => {
  clearTimeout(writing);
  writing = undefined;
  route.value = parse(location.hash);
});

/** The address of a scene, for a link. */
export function hrefOf(scene: string, parameters: Readonly<Record<string, string | number>> = {}): string {
  const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]));
  return `#/${scene}${query.size > 0 ? `?${query}` : ''}`;
}

/** Browsers refuse to change an address much oftener than three times a second. */
const WRITTEN_AFTER_MS = 400;

/**
 * The same scene with other parameters, without a step in the history of the browser. The address follows.
 */
export function change(parameters: Readonly<Record<string, string | number>>): void {
  const { scene, parameters: now } = route.value;
  route.value = parse(hrefOf(scene, { ...Object.fromEntries(now), ...parameters }));
  writing ??= setTimeout(() => {
    writing = undefined;
    history.replaceState(null, '', hrefOf(route.value.scene, Object.fromEntries(route.value.parameters)));
  }, WRITTEN_AFTER_MS);
}

/** A whole number of the address within bounds. */
export function numberOf(name: string, fallback: number, min: number, max: number): number {
  const text = route.value.parameters.get(name);
  const number = Math.round(Number(text ?? fallback));
  return Number.isFinite(number) ? Math.min(max, Math.max(min, number)) : fallback;
}

function parse(hash: string): Route {
  const [scene, query] = hash.replace(/^#\/?/, '').split('?', 2);
  return { scene, parameters: new URLSearchParams(query) };
}
