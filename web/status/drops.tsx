// What was dropped, why, and what that means.
// Read on: drop-table.ts (where the meanings are from).

import type { DeviceStatus } from '../../tunnel/daemon/status.js';
import { Scroller } from '../ui/show.js';
import { DROP_PLACES, type DropMeanings, type DropPlace } from './drop-table.js';

/** Put in when the page is built. */
declare const DROP_MEANINGS: DropMeanings;

interface Dropped {
  readonly place: DropPlace;
  readonly reason: string;
  readonly count: number;
}

export function Drops({ status }: { readonly status: DeviceStatus }) {
  const all = [
    ...listed('device', status.drops),
    ...listed('transport', status.transportDrops),
    ...listed('interface', status.interfaceDrops),
  ];
  const some = all.filter(({ count }) => count > 0).toSorted((a, b) => b.count - a.count);
  return (
    <>
      {some.length === 0 ? <p>Nothing was dropped.</p> : <Reasons of={some} label="What was dropped" />}
      <details>
        <summary>Every reason there is</summary>
        <Reasons of={all} label="Every reason" />
      </details>
    </>
  );
}

function listed(place: DropPlace, counts: Readonly<Record<string, number>>): Dropped[] {
  return Object.entries(counts).map(([reason, count]) => ({ place, reason, count }));
}

function Reasons({ of, label }: { readonly of: readonly Dropped[]; readonly label: string }) {
  return (
    <Scroller label={label}>
      <table class="drops">
        <thead>
          <tr>
            <th scope="col" class="number">
              times
            </th>
            <th scope="col">reason</th>
            <th scope="col">what happened</th>
          </tr>
        </thead>
        <tbody>
          {of.map(({ place, reason, count }) => (
            <tr key={`${place} ${reason}`}>
              <td class="number">{count.toLocaleString('en')}</td>
              <th scope="row">
                <code>{reason}</code> <small>{DROP_PLACES[place]}</small>
              </th>
              <td>{DROP_MEANINGS[place][reason]}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroller>
  );
}
