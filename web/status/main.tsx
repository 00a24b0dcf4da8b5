// The page of `wireonce status --web`: daemons of this machine as they are now.
// Promises: drawn once for each picture that comes; nothing can be changed from here.
// Read on: connection.ts (where pictures come from), history.ts (what is remembered of them); ../ui (what
// pages have in common).

import './page.css';
import { batch, signal } from '@preact/signals';
import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import { LiveRegion, announce } from '../ui/live.js';
import { Masthead } from '../ui/masthead.js';
import { route } from '../ui/route.js';
import { Verdict } from '../ui/show.js';
import { type Link, listen } from './connection.js';
import { History, type View } from './history.js';
import { Interface } from './interface.js';

const link = signal<Link>('connecting');
const view = signal<View | undefined>(undefined);

function Page() {
  const { interfaces, now } = view.value ?? { interfaces: [], now: 0 };
  const shown = interfaces.find(({ name }) => name === route.value.scene) ?? interfaces.at(0);
  const title = shown?.name ?? 'Live status';
  useEffect(() => {
    document.title = `${title} · wireonce`;
  }, [title]);
  return (
    <div class="page">
      <Masthead
        name="wireonce"
        what="live status"
        scenes={interfaces.map(({ name }) => ({ name, label: name }))}
        label="Interfaces"
        current={title}
      />
      <main class="scene">
        <h1>{title}</h1>
        <LinkNotice link={link.value} />
        {shown && <Interface key={shown.name} view={shown} now={now} />}
        {view.value && !shown && <Verdict tone="plain">No interface answers; it is asked on.</Verdict>}
      </main>
      <footer class="colophon note">
        Only to look at. This page is served on this machine, to this browser alone, and shows no private key.
      </footer>
      <LiveRegion />
    </div>
  );
}

function LinkNotice({ link: state }: { readonly link: Link }) {
  if (state === 'live') return null;
  if (state === 'connecting') return <Verdict tone="plain">Asking the daemon.</Verdict>;
  if (state === 'lost')
    return (
      <Verdict tone="harm">
        The command that serves this page does not answer. What is shown is old; it is tried again.
      </Verdict>
    );
  if (state === 'full')
    return (
      <Verdict tone="harm">
        Too many pages look at this already: close one of them. It is tried again until there is room.
      </Verdict>
    );
  return (
    <Verdict tone="harm">
      This page is shown by the address that <code>wireonce status --web</code> prints, once. That address was
      used already, or its command has ended: run it again.
    </Verdict>
  );
}

const LINK_NEWS: Readonly<Partial<Record<Link, string>>> = {
  lost: 'The command that serves this page does not answer.',
  full: 'Too many pages look at this already.',
  refused: 'This page is not shown: run wireonce status --web again.',
};

const history = new History();
void listen({
  picture: picture =>
    batch(() => {
      view.value = history.push(picture);
      for (const sentence of view.value.news) announce(sentence);
    }),
  link: state => {
    if (link.value === state) return;
    link.value = state;
    const news = LINK_NEWS[state];
    if (news) announce(news);
  },
});

const root = document.querySelector('#page');
if (root) render(<Page />, root);
