// The head of a page: whose it is, its scenes, its theme.

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
  current,
}: {
  readonly name: string;
  readonly what: string;
  readonly scenes: readonly SceneLink[];
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
      <nav class="scenes" aria-label="Scenes">
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
    </header>
  );
}
