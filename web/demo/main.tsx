// The page of `wireonce demo --web`: its scenes, and which of them is shown.
// Promises: each scene has an address of its own; what is left is closed.
// Read on: one folder for each scene; ../ui (what pages have in common).

import './page.css';
import { render } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Masthead } from '../ui/masthead.js';
import { LiveRegion } from '../ui/live.js';
import { hrefOf, route } from '../ui/route.js';
import { SCENES } from './scenes.js';

function Page() {
  const heading = useRef<HTMLHeadingElement>(null);
  const { scene: name } = route.value;
  const scene = SCENES.find(each => each.name === name) ?? SCENES[0];
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${scene.title} · wireonce`;
    // Whoever follows a link to a scene is at its head; whoever opens the page is where the browser puts him.
    if (!isFirst.current) heading.current?.focus();
    isFirst.current = false;
  }, [scene]);
  return (
    <div class="page">
      <Masthead name="wireonce" what="see it" scenes={SCENES} current={scene.name} />
      <main class="scene" key={scene.name}>
        <div class="stack">
          <h1 ref={heading} tabIndex={-1}>
            {scene.title}
          </h1>
          <p class="lead">{scene.lead}</p>
        </div>
        <scene.Scene />
        <Next after={scene.name} />
      </main>
      <footer class="colophon note">
        Everything here is computed now: the machines and the attacker in this page, by the code of the
        package, their peer in the process that serves it. Nothing leaves your computer.
      </footer>
      <LiveRegion />
    </div>
  );
}

function Next({ after }: { readonly after: string }) {
  const next = SCENES[SCENES.findIndex(({ name }) => name === after) + 1];
  return (
    <p class="note">
      {next ? (
        <>
          Next: <a href={hrefOf(next.name)}>{next.title}</a>
        </>
      ) : (
        <>
          Would your own machine notice? <code>wireonce vmgenid status</code>
        </>
      )}
    </p>
  );
}

const root = document.querySelector('#page');
if (root) render(<Page />, root);
