// What happens, in sentences, for whoever listens to the page instead of looking at it.
// Promises: each sentence is read once, in order.

import { signal } from '@preact/signals';

/** So many are kept: a reader that comes late hears the last ones. */
const KEPT = 4;
const sentences = signal<readonly { readonly id: number; readonly text: string }[]>([]);
let next = 0;

export function announce(text: string): void {
  sentences.value = [...sentences.value, { id: next++, text }].slice(-KEPT);
}

/** Once on each page. */
export function LiveRegion() {
  return (
    <div class="unseen" role="log" aria-live="polite" aria-label="What happens">
      {sentences.value.map(({ id, text }) => (
        <p key={id}>{text}</p>
      ))}
    </div>
  );
}
