// Forks and drills since the daemon was started, on a line and in words.

import { ago } from '../../tunnel/daemon/human.js';
import type { DeviceStatus, EpochStart } from '../../tunnel/daemon/status.js';

const MARK_AT = 26;
/** Latest ones that are told at once. */
const TOLD = 4;
/** Of the line's length: what lies closer to the mark after it has no number. */
const ROOM = 0.05;

export function Epochs({ status, now }: { readonly status: DeviceStatus; readonly now: number }) {
  const { epochs, uptimeMs } = status;
  const latest = epochs.toReversed();
  const start = Math.min(now - uptimeMs, epochs[0]?.at ?? now);
  const place = ({ at }: EpochStart) => Math.min(1, Math.max(0, (at - start) / Math.max(1, now - start)));
  const next = (i: number) => (i + 1 < epochs.length ? place(epochs[i + 1]) : 1 + ROOM);
  return (
    <figure class="epochs">
      <svg height={44} role="img" aria-label={summary(status, now)}>
        <line x1="2%" x2="98%" y1={MARK_AT} y2={MARK_AT} />
        {epochs.map((each, i) => (
          <svg
            key={each.epoch}
            class={each.cause}
            x={`${2 + 96 * place(each)}%`}
            y={MARK_AT}
            overflow="visible"
          >
            <path d="M0 -7L7 0L0 7L-7 0Z" />
            {next(i) - place(each) >= ROOM && (
              <text y={-12} text-anchor="middle">
                {each.epoch}
              </text>
            )}
          </svg>
        ))}
      </svg>
      <span class="times">
        <span>start, {ago(start, now)}</span>
        <span>now</span>
      </span>
      <figcaption>
        <span class="sample fork">fork</span> <span class="sample drill">drill</span>
      </figcaption>
      {latest.length === 0 ? (
        <p>No fork and no drill since the start: epoch {status.epoch}.</p>
      ) : (
        <Told epochs={latest.slice(0, TOLD)} status={status} now={now} />
      )}
      {latest.length > TOLD && (
        <details>
          <summary>Earlier</summary>
          <Told epochs={latest.slice(TOLD)} status={status} now={now} />
        </details>
      )}
    </figure>
  );
}

function Told({
  epochs,
  status,
  now,
}: {
  readonly epochs: readonly EpochStart[];
  readonly status: DeviceStatus;
  readonly now: number;
}) {
  return (
    <ul class="told">
      {epochs.map(each => (
        <li key={each.epoch}>
          <strong>Epoch {each.epoch}</strong>, {each.cause},{' '}
          <time dateTime={new Date(each.at).toISOString()}>{ago(each.at, now)}</time>
          {recovery(each, status)}
        </li>
      ))}
    </ul>
  );
}

/** What became of the peers is known of the last one. */
function recovery({ epoch }: EpochStart, { recovery: of }: DeviceStatus): string {
  if (of?.epoch !== epoch) return '';
  if (of.called === 0) return ': nobody was in conversation';
  const last = of.lastBackMs === null ? '' : `, the last after ${of.lastBackMs.toFixed(1)} ms`;
  return `: ${of.back} of ${of.called} peers back${last}`;
}

function summary({ epoch, epochs }: DeviceStatus, now: number): string {
  const last = epochs.at(-1);
  const latest = last ? `The last was a ${last.cause}, ${ago(last.at, now)}.` : 'None yet.';
  return `Forks and drills since the start. Epoch ${epoch} now. ${latest}`;
}
