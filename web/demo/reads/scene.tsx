// The scene of every instant: one run, forked at each look at its generation.
// Read on: demo/every-read.ts (what is computed).

import { useEffect } from 'preact/hooks';
import { type ForkAtRead, type Harm, STEPS } from '../../../demo/every-read.js';
import { Slider } from '../../ui/controls.js';
import { announce } from '../../ui/live.js';
import { change, numberOf } from '../../ui/route.js';
import { RowLabels, Scroller, Stats, Verdict } from '../../ui/show.js';
import { Failure } from '../failure.js';
import { useJob } from '../jobs.js';
import { plural } from '../../../tunnel/daemon/human.js';

const CELL = 15;
const ROW = 30;
const LABELS = 84;
const NAMES = { guarded: 'protected', heedless: 'looks away' } as const;
const MOST_READS = 1_000;

export function ReadsScene() {
  const { parts, done, problem } = useJob({ task: 'reads' });
  const of = parts[0]?.of ?? 0;
  const chosen = Math.min(numberOf('look', 21, 1, MOST_READS), Math.max(1, of));
  const fork = parts[chosen - 1];
  const sum = (which: 'guarded' | 'heedless') => parts.filter(part => part[which].collisions > 0).length;
  const [guarded, heedless] = [sum('guarded'), sum('heedless')];
  useEffect(() => {
    if (done)
      announce(
        `All ${of} instants are done: with protection ${guarded} did harm, for clones that look away ${heedless}.`,
      );
  }, [done, of, guarded, heedless]);
  return (
    <>
      <section class="panel" aria-label="A fork at every instant">
        <figure class="reads">
          <Scroller label="Every look" shows={(chosen - 0.5) * CELL}>
            <RowLabels
              width={LABELS}
              height={2 * ROW + 44}
              rows={Object.values(NAMES).map((text, row) => ({ text, y: row * ROW + 16 }))}
            />
            <svg
              width={Math.max(of, 40) * CELL + 8}
              height={2 * ROW + 44}
              role="img"
              aria-label={`${plural(parts.length, 'instant')} of ${of}: with protection ${guarded} did harm, without ${heedless}.`}
            >
              {(['guarded', 'heedless'] as const).map((which, row) => (
                <g key={which}>
                  {Array.from({ length: of }, (_, i) => (
                    <rect
                      key={i}
                      class={toneOf(parts[i]?.[which])}
                      x={2 + i * CELL}
                      y={row * ROW + 4}
                      width={CELL - 3}
                      height={ROW - 8}
                      rx={3}
                    />
                  ))}
                  <path class="crosses" d={crosses(parts, which, row)} />
                </g>
              ))}
              <rect
                class="chosen"
                x={(chosen - 1) * CELL - 0.5}
                y={0}
                width={CELL + 2}
                height={2 * ROW + 2}
                rx={5}
              />
              {STEPS.map((_, step) => {
                const at = parts.findIndex(part => part.step === step);
                return at < 0 ? null : (
                  <g key={step} class="step">
                    <line
                      x1={2 + at * CELL - 1.5}
                      x2={2 + at * CELL - 1.5}
                      y1={2 * ROW + 4}
                      y2={2 * ROW + 24}
                    />
                    <text x={2 + at * CELL + 3} y={2 * ROW + 22}>
                      {step + 1}
                    </text>
                  </g>
                );
              })}
            </svg>
          </Scroller>
          <figcaption>
            Each cell is a fork at one look of the machine at its generation. Green: nothing was used twice.
            Red, crossed: the two clones used a key and counter for two messages. Below, what the machine did:{' '}
            {STEPS.map((step, i) => `${i + 1} ${step}`).join('; ')}.
          </figcaption>
        </figure>
        <Slider
          label="Fork it at look"
          value={chosen}
          min={1}
          max={Math.max(1, of)}
          text={of > 0 ? `${chosen} of ${of}` : 'computing'}
          onMove={look => change({ look })}
        />
        {fork && (
          <div class="columns">
            <Outcome title="With protection" harm={fork.guarded} />
            <Outcome title="The same clones, looking away" harm={fork.heedless} />
          </div>
        )}
        {fork && (
          <p class="note">
            The snapshot falls into: {STEPS[fork.step]}. The clones go on from there, and say three things
            each.
          </p>
        )}
        {!done && problem === undefined && (
          <p class="note">
            {of > 0 ? `${parts.length} of ${of} instants are computed.` : 'The first run is computed.'}
          </p>
        )}
      </section>
      <Failure why={problem} then="Open the page anew." />
      {done && (
        <Verdict tone={guarded === 0 ? 'good' : 'harm'}>
          {of} instants, there are no others at which a clone could learn of its fork: {guarded} of them did
          harm. Of the same clones, heeding nothing, {heedless}; before there is a session there is nothing to
          use twice.
        </Verdict>
      )}
    </>
  );
}

function Outcome({ title, harm }: { readonly title: string; readonly harm: Harm }) {
  return (
    <div class="stack">
      <h2>{title}</h2>
      <Stats
        of={[
          {
            label: 'used twice',
            value: harm.collisions,
            tone: harm.collisions > 0 ? 'harm' : 'good',
          },
          { label: 'data messages', value: harm.datagrams },
          { label: 'stopped at the gate', value: harm.discarded },
          { label: 'new handshakes', value: harm.handshakes },
        ]}
      />
    </div>
  );
}

/** Harm can be told from none without colours. */
function crosses(parts: readonly ForkAtRead[], which: 'guarded' | 'heedless', row: number): string {
  const cross = (i: number) => `M${2 + i * CELL + 3} ${row * ROW + 12}l6 6m0 -6l-6 6`;
  return parts.map((part, i) => (part[which].collisions > 0 ? cross(i) : '')).join('');
}

function toneOf(harm: Harm | undefined): string {
  if (!harm) return 'waiting';
  return harm.collisions > 0 ? 'harm' : 'good';
}
