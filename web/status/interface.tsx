// One interface: what is wrong, what it does, what happened, its peers, what was dropped, and how it is set
// up.
// Read on: tunnel/daemon/status-rows.ts (the words).

import type { DeviceStatus } from '../../tunnel/daemon/status.js';
import { plural } from '../../tunnel/daemon/human.js';
import { describeProtection } from '../../tunnel/daemon/protection.js';
import { detailRows, deviceRows } from '../../tunnel/daemon/status-rows.js';
import { Panel, Rows, Stats, Verdict } from '../ui/show.js';
import { Drops } from './drops.js';
import { Epochs } from './epochs.js';
import { rateText } from './figures.js';
import type { InterfaceView } from './history.js';
import { Peers } from './peers.js';
import { Throughput } from './throughput.js';

export function Interface({ view, now }: { readonly view: InterfaceView; readonly now: number }) {
  const { status, waiting, rates, samples } = view;
  return (
    <>
      {waiting !== undefined && (
        <Verdict tone="harm">
          {waiting}. {status ? 'What is shown is the last that it said; it' : 'It'} is waited for.
        </Verdict>
      )}
      {status && (
        <>
          <Trouble status={status} />
          <Stats of={figuresOf(view, status)} />
          <div class="columns wide">
            <Panel title="Throughput">
              <Throughput samples={samples} />
            </Panel>
            <Panel title="Epochs">
              <Epochs status={status} now={now} />
            </Panel>
          </div>
          <Panel title="Peers">
            <Peers status={status} rates={rates} now={now} />
          </Panel>
          <Panel title="Dropped">
            <Drops status={status} />
          </Panel>
          <Panel title="Device">
            <Rows of={deviceRows(status, now)} />
            <details>
              <summary>Details</summary>
              <Rows of={detailRows(status)} />
            </details>
          </Panel>
        </>
      )}
    </>
  );
}

function Trouble({ status }: { readonly status: DeviceStatus }) {
  const { hints, protection, sources } = status;
  if (hints.length === 0)
    return (
      <Verdict tone="good">Nothing is wrong. Protection: {describeProtection(protection, sources)}.</Verdict>
    );
  return (
    <section class="verdict harm stack" aria-label="Look at">
      <h2>Look at</h2>
      <ul class="hints">
        {hints.map(hint => (
          <li key={hint}>{hint}</li>
        ))}
      </ul>
    </section>
  );
}

function figuresOf({ samples }: InterfaceView, status: DeviceStatus) {
  const { epoch, forks, drills, peers, handshakes, gateway } = status;
  const rate = samples.at(-1)?.rate;
  return [
    { label: 'epoch', value: epoch },
    { label: drills > 0 ? `forks, and ${plural(drills, 'drill')}` : 'forks', value: forks },
    {
      label: 'peers in conversation',
      value: `${peers.filter(({ hasSession }) => hasSession).length} of ${peers.length.toLocaleString('en')}`,
    },
    { label: 'handshakes', value: handshakes.completed.toLocaleString('en') },
    ...(gateway ? [{ label: 'admitted', value: gateway.admitted.toLocaleString('en') }] : []),
    { label: 'in', value: rateText(rate?.rx) },
    { label: 'out', value: rateText(rate?.tx) },
  ];
}
