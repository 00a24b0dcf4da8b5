// Light or dark: as the system has it, until somebody chooses.
// Promises: a choice lasts as long as the browser keeps it, and no longer than the page where it keeps
// nothing.

import { signal } from '@preact/signals';

const KEPT_AS = 'theme';
const dark = globalThis.matchMedia('(prefers-color-scheme: dark)');
const chosen = signal(recall());
const system = signal(dark.matches);
dark.addEventListener('change', () => (system.value = dark.matches));
apply();

export function ThemeToggle() {
  const isDark = chosen.value ? chosen.value === 'dark' : system.value;
  const choose = () => {
    chosen.value = isDark ? 'light' : 'dark';
    apply();
  };
  return (
    <button type="button" class="quiet" onClick={choose}>
      {isDark ? 'Light' : 'Dark'} theme
    </button>
  );
}

function apply(): void {
  if (!chosen.value) return;
  document.documentElement.dataset['theme'] = chosen.value;
  try {
    localStorage.setItem(KEPT_AS, chosen.value);
  } catch {
    // A browser that keeps nothing.
  }
}

function recall(): string | null {
  try {
    return localStorage.getItem(KEPT_AS);
  } catch {
    return null;
  }
}
