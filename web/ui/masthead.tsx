// The head of a page: whose it is, its scenes where there are several, its theme.

import { useEffect, useRef } from 'preact/hooks';
import { hrefOf } from './route.js';
import { ThemeToggle } from './theme.js';

export interface SceneLink {
  /** In the address. */
  readonly name: string;
  /** In the list. */
  readonly label: string;
}

export function Masthead({
  name,
  what,
  scenes,
  label = 'Scenes',
  current,
}: {
  readonly name: string;
  readonly what: string;
  readonly scenes: readonly SceneLink[];
  /** What these are. */
  readonly label?: string;
  readonly current: string;
}) {
  const list = useRef<HTMLOListElement>(null);
  useEffect(() => {
    list.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }, [current]);
  return (
    <header>
      <div class="masthead">
        <span class="name">
          {name}
          <small>{what}</small>
        </span>
        <ThemeToggle />
      </div>
      {scenes.length > 1 && (
        <nav class="scenes" aria-label={label}>
          <ol ref={list}>
            {scenes.map(scene => (
              <li key={scene.name}>
                <a href={hrefOf(scene.name)} aria-current={scene.name === current ? 'page' : undefined}>
                  {scene.label}
                </a>
              </li>
            ))}
          </ol>
        </nav>
      )}
    </header>
  );
}
