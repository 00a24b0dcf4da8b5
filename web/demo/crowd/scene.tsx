// The scene of the thousand clones: a key for each of them, or one for all.
// Read on: demo/crowd.ts (what is computed).

import { signal, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { Button, Choice } from '../../ui/controls.js';
import { announce } from '../../ui/live.js';
import { change, numberOf, route } from '../../ui/route.js';
import { Stats, Verdict } from '../../ui/show.js';
import { Failure } from '../failure.js';
import { useJob } from '../jobs.js';
import { plural } from '../../../tunnel/daemon/human.js';

const MOST = 1_000;
const CELL = 14;

/** Squares in a row: so many that one of them can be seen. */
const narrow = globalThis.matchMedia('(max-width: 40rem)');
const columns = signal(columnsOf(narrow));
narrow.addEventListener('change', event => (columns.value = columnsOf(event)));

function columnsOf({ matches: isNarrow }: Pick<MediaQueryList, 'matches'>): number {
  return isNarrow ? 25 : 50;
}

export function CrowdScene() {
  const clones = numberOf('clones', MOST, 2, MOST);
  const enrols = route.value.parameters.get('key') !== 'parent';
  /** Whether it was asked for with this choice, and how often with any. */
  const wanted = useSignal(false);
  const asked = useSignal(0);
  const { parts, done, problem } = useJob(
    wanted.value ? { task: 'crowd', options: { clones, enrols } } : undefined,
    { again: asked.value },
  );
  const state = parts.at(-1);
  const isRunning = wanted.value && !done && problem === undefined;
  const begin = () => {
    wanted.value = true;
    asked.value++;
  };
  const choose = (parameters: Record<string, string | number>) => {
    wanted.value = false;
    change(parameters);
  };
  useEffect(() => {
    if (isRunning)
      announce(`The machine becomes ${plural(clones, 'clone')}. You will hear when they are done.`);
  }, [isRunning, clones]);
  useEffect(() => {
    if (done && state)
      announce(
        `${plural(state.called, 'clone')} with ${plural(state.keys, 'key')}: the gateway reached ${state.reached.length}.`,
      );
  }, [done, state]);
  return (
    <>
      <div class="row">
        <Button main disabled={isRunning} onPress={begin}>
          Clone the machine
        </Button>
        <Choice
          label="Each clone has"
          options={{ own: 'a key of its own', parent: 'its parent’s key' }}
          value={enrols ? 'own' : 'parent'}
          onChoose={key => choose({ key })}
        />
        <Choice
          label="Clones"
          options={{ 50: '50', 250: '250', 1000: '1,000' }}
          value={String(clones)}
          onChoose={value => choose({ clones: value })}
        />
      </div>
      <Failure why={problem} then="Try again." />
      <section class="panel" aria-label="The clones">
        <Crowd
          clones={clones}
          called={state?.called ?? 0}
          reached={state?.reached ?? []}
          isOver={state?.isOver ?? false}
        />
        <Stats
          of={[
            { label: 'clones that have called', value: (state?.called ?? 0).toLocaleString('en') },
            { label: 'keys', value: (state?.keys ?? 0).toLocaleString('en') },
            { label: 'addresses', value: (state?.addresses ?? 0).toLocaleString('en') },
            {
              label: 'sessions under the parent’s key',
              value: (state?.underParentKey ?? 0).toLocaleString('en'),
              tone: state && state.underParentKey > 0 ? 'harm' : 'plain',
            },
            {
              label: 'reached by the gateway',
              value: state?.isOver ? state.reached.length.toLocaleString('en') : '–',
              tone: !state?.isOver ? 'plain' : state.reached.length === clones ? 'good' : 'harm',
            },
          ]}
        />
        {state?.isOver && (
          <Verdict tone={enrols ? 'good' : 'harm'}>
            {enrols
              ? `Each of ${plural(clones, 'clone')} erased its parent’s key, drew one of its own once something parted it from its siblings, and has the address that follows from it. The gateway was told of none of them.`
              : `To the gateway all of them are one peer, and that peer moved ${plural(state.moves, 'time')}: each handshake took it away from whoever had it. What it sent to each of the ${plural(clones, 'clone')} came out at ${state.reached.length}.`}
          </Verdict>
        )}
      </section>
      {enrols && state && state.names.length > 0 && (
        <section class="panel" aria-label="The first of them">
          <h2>The first of them</h2>
          <ul class="names mono">
            {state.names.map(name => (
              <li key={name}>{name}</li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

function Crowd({
  clones,
  called,
  reached,
  isOver,
}: {
  readonly clones: number;
  readonly called: number;
  readonly reached: readonly number[];
  readonly isOver: boolean;
}) {
  const inRow = columns.value;
  const rows = Math.ceil(clones / inRow);
  const isReached = new Set(reached);
  const squares = (belongs: (i: number) => boolean) =>
    Array.from({ length: clones }, (_, i) =>
      belongs(i) ? `M${(i % inRow) * CELL + 2} ${Math.floor(i / inRow) * CELL + 2}h10v10h-10z` : '',
    ).join('');
  return (
    <figure class="crowd">
      <svg
        viewBox={`0 0 ${inRow * CELL} ${rows * CELL}`}
        role="img"
        aria-label={`${plural(clones, 'clone')}: ${called} have called, ${reached.length} were reached`}
      >
        <path class="waiting" d={squares(i => i >= called)} />
        <path class="called" d={squares(i => i < called && !isOver)} />
        <path class="lost" d={squares(i => i < called && isOver && !isReached.has(i))} />
        <path class="reached" d={squares(i => isReached.has(i))} />
      </svg>
      <figcaption>
        A square is a clone: blue when it has called the gateway, green when the gateway’s answer came out of
        its tunnel, red when it came out elsewhere or nowhere.
      </figcaption>
    </figure>
  );
}
