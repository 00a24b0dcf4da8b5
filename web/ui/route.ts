// Where a page is: `#/scene?name=value`. Everything that is worth a link is there, and nowhere else.

import { signal } from '@preact/signals';

export interface Route {
  /** Without slashes; empty at the start. */
  readonly scene: string;
  readonly parameters: URLSearchParams;
}

export const route = signal(parse());
globalThis.addEventListener('hashchange', () => (route.value = parse()));

/** The address of a scene, for a link. */
export function hrefOf(scene: string, parameters: Readonly<Record<string, string | number>> = {}): string {
  const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]));
  return `#/${scene}${query.size > 0 ? `?${query}` : ''}`;
}

/** The same scene with other parameters, without a step in the history of the browser. */
export function change(parameters: Readonly<Record<string, string | number>>): void {
  const { scene, parameters: now } = route.value;
  history.replaceState(null, '', hrefOf(scene, { ...Object.fromEntries(now), ...parameters }));
  route.value = parse();
}

/** A whole number of the address within bounds. */
export function numberOf(name: string, fallback: number, min: number, max: number): number {
  const text = route.value.parameters.get(name);
  const number = Math.round(Number(text ?? fallback));
  return Number.isFinite(number) ? Math.min(max, Math.max(min, number)) : fallback;
}

function parse(): Route {
  const [scene, query] = location.hash.replace(/^#\/?/, '').split('?', 2);
  return { scene, parameters: new URLSearchParams(query) };
}
