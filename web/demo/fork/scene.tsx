// The scene of a fork: the wire, and what becomes of it, without protection and with it.
// Read on: run.ts (what happens), attack.tsx (what is made of it).

import { useEffect, useMemo } from 'preact/hooks';
import { Button, Choice } from '../../ui/controls.js';
import { change, route } from '../../ui/route.js';
import { Panel, Stats, Verdict } from '../../ui/show.js';
import { useSignal } from '@preact/signals';
import { Failure } from '../failure.js';
import { TimelineFigure } from '../timeline.js';
import { ForgeryPanel, PicturesPanel } from './attack.js';
import { ForkRun } from './run.js';

export function ForkScene({ guarded }: { readonly guarded: boolean }) {
  const tripwire = route.value.parameters.get('tripwire') === 'on';
  const again = useSignal(0);
  const run = useMemo(() => new ForkRun({ guarded, tripwire }), [guarded, tripwire, again.value]);
  useEffect(() => () => run.close(), [run]);
  const phase = run.phase.value;
  return (
    <>
      <div class="row">
        <Button main={phase !== 'over'} disabled={phase !== 'talking'} onPress={() => run.fork()}>
          Fork the machine
        </Button>
        <Button main={phase === 'over'} disabled={phase === 'starting'} onPress={() => again.value++}>
          Start again
        </Button>
        {!guarded && (
          <Choice
            label="The peer is"
            options={{ off: 'any WireGuard', on: 'wireonce, which notices' }}
            value={tripwire ? 'on' : 'off'}
            onChoose={value => change({ tripwire: value })}
          />
        )}
      </div>
      <section class="panel" aria-label="The wire">
        <TimelineFigure timeline={run.timeline.value} />
        <Counts run={run} guarded={guarded} />
        {run.forged.value && (
          <p class="note">
            From these datagrams alone the attacker has read both pictures and made a packet of its own: see
            below.
          </p>
        )}
      </section>
      <Failure why={run.problem.value} then="Start again." />
      {run.pictures.value && <PicturesPanel separated={run.pictures.value} />}
      {run.forged.value && (
        <ForgeryPanel forged={run.forged.value} arrived={run.arrived.value} noticed={run.noticed.value} />
      )}
      {phase === 'over' && !run.forged.value && <Unharmed run={run} />}
    </>
  );
}

function Counts({ run, guarded }: { readonly run: ForkRun; readonly guarded: boolean }) {
  const { marks, collisions } = run.timeline.value;
  const isOver = run.phase.value === 'over';
  return (
    <Stats
      of={[
        { label: 'datagrams', value: marks.length },
        {
          label: 'keys and counters used twice',
          value: collisions,
          tone: collisions > 0 ? 'harm' : isOver ? 'good' : 'plain',
        },
        ...(guarded
          ? [
              { label: 'sessions wiped', value: run.wiped.value },
              { label: 'new handshakes', value: run.newHandshakes.value },
            ]
          : [
              {
                label: 'thrown away by the peer',
                value: Object.values(run.dropped.value).reduce((a, b) => a + b, 0),
              },
            ]),
      ]}
    />
  );
}

function Unharmed({ run }: { readonly run: ForkRun }) {
  return (
    <Panel title="Nothing to find" tone="good">
      <p>
        The same attacker has listened to the same script. Each clone read its generation ID before its first
        datagram could leave, found that it was not the one that its keys were born under, erased them, and
        called its peer anew: {run.wiped} sessions wiped, {run.newHandshakes} new handshakes, each with an
        ephemeral key of the clone’s own.
      </p>
      <Verdict tone="good">
        No key and counter was used twice. Without two messages under one there is no picture to take apart,
        and no equation to solve.
      </Verdict>
      <p class="note">
        The two clones still share their static key, and so the peer takes them for one: whoever spoke last is
        where it answers. A key for each of them is another scene.
      </p>
    </Panel>
  );
}
