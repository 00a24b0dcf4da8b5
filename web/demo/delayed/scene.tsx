// The scene of a word that comes late: the window that it leaves, and what it costs to close it.
// Read on: demo/delayed.ts (what is computed), chart.tsx (how it looks).

import { useEffect } from 'preact/hooks';
import { LONGEST_DELAY_MS, LONGEST_HOLD_MS } from '../../../demo/delayed.js';
import { Slider } from '../../ui/controls.js';
import { announce } from '../../ui/live.js';
import { change, numberOf } from '../../ui/route.js';
import { Stats, Verdict } from '../../ui/show.js';
import { Failure } from '../failure.js';
import { useJob } from '../jobs.js';
import { plural } from '../../../tunnel/daemon/human.js';
import { DelayedChart } from './chart.js';

const STEP_MS = 10;
/** While somebody drags nothing is computed for every place on the way. */
const SETTLED_MS = 120;

export function DelayedScene() {
  const delayMs = numberOf('delay', 100, 0, LONGEST_DELAY_MS);
  const holdBackMs = numberOf('hold', 0, 0, LONGEST_HOLD_MS);
  const job = { task: 'delayed', options: { delayMs, holdBackMs } } as const;
  const { parts, problem } = useJob(job, { delayMs: SETTLED_MS });
  const outcome = parts.at(-1);
  useEffect(() => {
    if (!outcome) return;
    const { delayMs: delay, holdBackMs: hold, collisions } = outcome;
    announce(`Word after ${delay} milliseconds, held back for ${hold}: ${sentence(collisions)}`);
  }, [outcome]);
  return (
    <>
      <div class="row">
        <Slider
          label="The word of the fork comes after"
          value={delayMs}
          min={0}
          max={LONGEST_DELAY_MS}
          step={STEP_MS}
          text={`${delayMs} ms`}
          onMove={delay => change({ delay })}
        />
        <Slider
          label="Each datagram is held back for"
          value={holdBackMs}
          min={0}
          max={LONGEST_HOLD_MS}
          step={STEP_MS}
          text={`${holdBackMs} ms`}
          onMove={hold => change({ hold })}
        />
      </div>
      <Failure why={problem} then="Open the page anew." />
      {outcome && (
        <section class="panel" aria-label="Two clones in time">
          <DelayedChart outcome={outcome} />
          <Stats
            of={[
              {
                label: 'keys and counters used twice',
                value: outcome.collisions,
                tone: outcome.collisions > 0 ? 'harm' : 'good',
              },
              { label: 'sealed, and never sent', value: outcome.discarded },
              { label: 'latency added', value: `${outcome.holdBackMs} ms` },
            ]}
          />
          <Verdict tone={outcome.collisions > 0 ? 'harm' : 'good'}>
            {sentence(outcome.collisions)}{' '}
            {outcome.collisions > 0
              ? outcome.holdBackMs === 0
                ? 'Whatever a clone says before it knows is under the keys of both.'
                : 'What is held back for less than the word takes leaves before it comes.'
              : outcome.holdBackMs > outcome.delayMs
                ? 'Whatever was sealed after the snapshot was still there when the word came, and was thrown away: the price is latency, and those packets.'
                : 'There was no time in which a clone did not know.'}
          </Verdict>
        </section>
      )}
      <p class="note">
        Where the hypervisor’s page can be read, word of a fork is there before the first instruction, and
        nothing has to wait. A log line, a hook or a file is later. By <code>holdBackMs</code> every sealed
        datagram waits and is checked once more.
      </p>
    </>
  );
}

function sentence(collisions: number): string {
  return collisions === 0
    ? 'No key and counter was used twice.'
    : `${plural(collisions, 'key and counter pair')} used twice.`;
}
