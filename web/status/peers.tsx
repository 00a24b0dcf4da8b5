// The peers of an interface: to be put in order, to be searched, each with all that is known of it.
// Promises: of thousands only the rows on the screen are drawn; while somebody is in the list by keyboard, no
// row moves from under him.
// Read on: peer-list.ts (which rows, and in which order).

import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { bytes, plural } from '../../tunnel/daemon/human.js';
import type { Rates } from '../../tunnel/daemon/status-picture.js';
import { peerRows } from '../../tunnel/daemon/status-rows.js';
import type { DeviceStatus, PeerStatus } from '../../tunnel/daemon/status.js';
import { Button } from '../ui/controls.js';
import { Rows } from '../ui/show.js';
import { NOTHING, briefly, rateText, shortKey } from './figures.js';
import { type Column, type Order, inOrderOf, matching, sorted, windowOf } from './peer-list.js';

/** Pixels, as in status.css. */
const ROW = 36;

interface ColumnHead {
  readonly by: Column;
  readonly label: string;
  readonly isNumber: boolean;
}

const COLUMNS: readonly ColumnHead[] = [
  { by: 'key', label: 'peer', isNumber: false },
  { by: 'allowedIps', label: 'allowed IPs', isNumber: false },
  { by: 'endpoint', label: 'endpoint', isNumber: false },
  { by: 'handshake', label: 'handshake', isNumber: true },
  { by: 'rateIn', label: 'in', isNumber: true },
  { by: 'rateOut', label: 'out', isNumber: true },
  { by: 'epoch', label: 'epoch', isNumber: true },
  { by: 'recovery', label: 'came back', isNumber: true },
  { by: 'received', label: 'received', isNumber: true },
  { by: 'sent', label: 'sent', isNumber: true },
];

export interface PeersProps {
  readonly status: DeviceStatus;
  readonly rates: Rates;
  readonly now: number;
}

export function Peers({ status, rates, now }: PeersProps) {
  const [order, setOrder] = useState<Order>({ by: 'key', descending: false });
  const [text, setText] = useState('');
  const [chosen, setChosen] = useState<string>();
  const box = useRef<HTMLDivElement>(null);
  const list = usePeers(status.peers, order, text, rates);
  const total = status.peers.length;
  if (total === 0) return <p>No peer is configured.</p>;
  const peer = status.peers.find(({ publicKey }) => publicKey === chosen);
  const close = () => {
    // Back to where it was opened; to the list, where that row is scrolled away.
    (rowOf(box.current, chosen) ?? box.current)?.focus();
    setChosen(undefined);
  };
  return (
    <>
      <div class="row">
        <label class="filter">
          Find by key, address or endpoint
          <input type="search" value={text} onInput={event => setText(event.currentTarget.value)} />
        </label>
        <p class="note" role="status">
          {text.trim() === ''
            ? plural(total, 'peer')
            : `${list.peers.length.toLocaleString('en')} of ${total.toLocaleString('en')}`}
        </p>
      </div>
      <Table
        {...{ box, order, setOrder, chosen, setChosen, status, rates, now }}
        peers={list.peers}
        onWork={list.hold}
      />
      {peer && <OnePeer key={peer.publicKey} {...{ peer, status, rates, now }} onClose={close} />}
    </>
  );
}

/** Peers as they are shown. `hold`: whether their order stays for now. */
function usePeers(all: readonly PeerStatus[], order: Order, text: string, rates: Rates) {
  const [isHeld, hold] = useState(false);
  const before = useRef<{ order: Order; text: string; peers: readonly PeerStatus[] } | undefined>(undefined);
  const peers = useMemo(() => {
    const found = matching(all, text);
    const last = before.current;
    return isHeld && last?.order === order && last.text === text
      ? inOrderOf(found, last.peers)
      : sorted(found, order, rates);
  }, [all, order, text, rates, isHeld]);
  before.current = { order, text, peers };
  return { peers, hold };
}

/** The button of a peer's row, if that is drawn. */
function rowOf(box: HTMLElement | null, publicKey: string | undefined): HTMLElement | null | undefined {
  return box?.querySelector<HTMLElement>(`[data-peer="${publicKey}"]`);
}

interface TableProps extends PeersProps {
  readonly box: RefObject<HTMLDivElement | null>;
  readonly peers: readonly PeerStatus[];
  readonly order: Order;
  readonly setOrder: (order: Order) => void;
  readonly chosen: string | undefined;
  readonly setChosen: (publicKey: string | undefined) => void;
  /** Whether somebody is in the rows by keyboard. */
  readonly onWork: (isWorking: boolean) => void;
}

function Table({ box, peers, order, setOrder, chosen, setChosen, status, rates, now, onWork }: TableProps) {
  const [place, setPlace] = useState({ scrolled: 0, height: 0 });
  const [active, setActive] = useState<string>();
  const wanted = useRef<string | undefined>(undefined);
  const measure = () => {
    const { scrollTop: scrolled = 0, clientHeight: height = 0 } = box.current ?? {};
    setPlace(last => (last.scrolled === scrolled && last.height === height ? last : { scrolled, height }));
  };
  useEffect(() => {
    if (!box.current) return;
    // It says how large the box is at once, and whenever that changes: with the window, and with how many are
    // found.
    const observer = new ResizeObserver(measure);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, [box]);
  // Before anything else is heard of: the row that had the focus may be gone with this drawing.
  useLayoutEffect(() => {
    if (wanted.current === undefined) return;
    rowOf(box.current, wanted.current)?.focus({ preventScroll: true });
    wanted.current = undefined;
  });

  const { first, end, above, below } = windowOf(peers.length, ROW, place.scrolled, place.height);
  const shown = peers.slice(first, end);
  const entry = shown.some(({ publicKey }) => publicKey === active) ? active : shown.at(0)?.publicKey;

  const onKeyDown = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor(place.height / ROW) - 2);
    const steps: Readonly<Record<string, number>> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -peers.length,
      End: peers.length,
    };
    const step = steps[event.key];
    if (step === undefined || !box.current) return;
    event.preventDefault();
    const from = peers.findIndex(({ publicKey }) => publicKey === entry);
    const to = Math.min(peers.length - 1, Math.max(0, from + step));
    // Below the head of the table, which stays.
    box.current.scrollTop = Math.min(
      Math.max(box.current.scrollTop, (to + 2) * ROW - place.height),
      to * ROW,
    );
    wanted.current = peers[to].publicKey;
    setActive(peers[to].publicKey);
    measure();
  };

  return (
    <div ref={box} class="peers scroller" role="group" aria-label="Peers" tabIndex={0} onScroll={measure}>
      <table aria-rowcount={peers.length + 1}>
        <thead>
          <tr aria-rowindex={1}>
            {COLUMNS.map(column => (
              <Head key={column.by} column={column} order={order} setOrder={setOrder} />
            ))}
          </tr>
        </thead>
        <tbody
          onKeyDown={onKeyDown}
          onFocusIn={() => onWork(true)}
          onFocusOut={({ relatedTarget, currentTarget }) =>
            onWork(relatedTarget instanceof Node && currentTarget.contains(relatedTarget))
          }
        >
          <Space height={above} />
          {shown.map((peer, i) => (
            <Row
              key={peer.publicKey}
              index={first + i + 2}
              {...{ peer, status, now }}
              rate={rates.get(peer.publicKey)}
              isChosen={peer.publicKey === chosen}
              isEntry={peer.publicKey === entry}
              onChoose={() => {
                setActive(peer.publicKey);
                setChosen(peer.publicKey === chosen ? undefined : peer.publicKey);
              }}
            />
          ))}
          <Space height={below} />
        </tbody>
      </table>
    </div>
  );
}

function Space({ height }: { readonly height: number }) {
  return height > 0 ? (
    <tr class="space" aria-hidden="true">
      <td colSpan={COLUMNS.length} style={{ height: `${height}px` }} />
    </tr>
  ) : null;
}

function Head({
  column: { by, label, isNumber },
  order,
  setOrder,
}: {
  readonly column: ColumnHead;
  readonly order: Order;
  readonly setOrder: (order: Order) => void;
}) {
  const isBy = order.by === by;
  const sort = !isBy ? 'none' : order.descending ? 'descending' : 'ascending';
  const choose = () => setOrder({ by, descending: isBy ? !order.descending : isNumber });
  return (
    <th scope="col" class={isNumber ? 'number' : ''} aria-sort={sort}>
      <button type="button" class="quiet" onClick={choose}>
        {label}
        <span aria-hidden="true">{isBy ? (order.descending ? ' ↓' : ' ↑') : ''}</span>
      </button>
    </th>
  );
}

function Row({
  peer,
  index,
  status,
  rate,
  now,
  isChosen,
  isEntry,
  onChoose,
}: {
  readonly peer: PeerStatus;
  readonly index: number;
  readonly status: DeviceStatus;
  readonly rate: { readonly rx: number; readonly tx: number } | undefined;
  readonly now: number;
  readonly isChosen: boolean;
  /** Where the keyboard comes into the list. */
  readonly isEntry: boolean;
  readonly onChoose: () => void;
}) {
  const { publicKey, allowedIps, endpoint, lastHandshakeAt, rxBytes, txBytes, sessionEpoch } = peer;
  const [address = NOTHING, ...more] = allowedIps;
  return (
    <tr aria-rowindex={index} class={isChosen ? 'chosen' : ''}>
      <th scope="row">
        <button
          type="button"
          class="quiet mono"
          data-peer={publicKey}
          tabIndex={isEntry ? 0 : -1}
          aria-expanded={isChosen}
          title={publicKey}
          onClick={onChoose}
        >
          {shortKey(publicKey)}
        </button>
      </th>
      <td class="mono">
        {address}
        {more.length > 0 && ` and ${more.length} more`}
      </td>
      <td class="mono">{endpoint ?? NOTHING}</td>
      <td class="number">
        {lastHandshakeAt === 0 ? 'never' : briefly(now - lastHandshakeAt)}
        {peer.unanswered > 1 && <span class="harm"> ({peer.unanswered} unanswered)</span>}
      </td>
      <td class="number">{rateText(rate?.rx)}</td>
      <td class="number">{rateText(rate?.tx)}</td>
      <td class={`number ${sessionEpoch !== null && sessionEpoch !== status.epoch ? 'harm' : ''}`}>
        {sessionEpoch ?? NOTHING}
      </td>
      <td class={`number ${peer.recovery?.backAfterMs === null ? 'harm' : ''}`}>{recoveryText(peer)}</td>
      <td class="number">{bytes(rxBytes)}</td>
      <td class="number">{bytes(txBytes)}</td>
    </tr>
  );
}

function recoveryText({ recovery }: PeerStatus): string {
  if (!recovery) return NOTHING;
  return recovery.backAfterMs === null ? 'not back' : `back, ${recovery.backAfterMs.toFixed(1)} ms`;
}

function OnePeer({
  peer,
  status,
  rates,
  now,
  onClose,
}: PeersProps & { readonly peer: PeerStatus; readonly onClose: () => void }) {
  const box = useRef<HTMLElement>(null);
  useEffect(() => box.current?.scrollIntoView({ block: 'nearest' }), []);
  const rows = [
    ['public key', peer.publicKey],
    ['allowed IPs', peer.allowedIps.join(', ') || '(none)'],
    ...peerRows(peer, status, now, rates),
    ['after the last fork or drill', recoveryText(peer)],
    ['moves in a minute', String(peer.moves)],
  ] as const;
  return (
    <section ref={box} class="one-peer stack" aria-label={`Peer ${shortKey(peer.publicKey)}`}>
      <Rows of={rows} />
      <div>
        <Button onPress={onClose}>Close</Button>
      </div>
    </section>
  );
}
