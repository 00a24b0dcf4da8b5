// A device's status in words: what stands beside which label, for the terminal and for the page.
// Promises: what protects comes first, and counters last; labels and order stay the same; what is unknown and says nothing
// is left out.
// Read on: status.ts; cli/status-text.ts and web/status (who shows them).

import { ago, bytes, duration, plural } from './human.js';
import { describeProtection } from './protection.js';
import type { DeviceStatus, PeerStatus } from './status.js';
import type { Rates } from './status-picture.js';

export type Row = readonly [label: string, value: string];

/** `now`: wall-clock milliseconds. */
export function deviceRows(status: DeviceStatus, now: number): Row[] {
  const { sources, lastTripwire } = status;
  const rows: (Row | undefined)[] = [
    ['protection', describeProtection(status.protection, sources)],
    ...sources.map(
      ({ name, timing, uniqueness, readable, reason }): Row => [
        'source',
        `${name}: ${readable ? `${timing}, ${uniqueness}` : `does not work: ${reason}`}`,
      ],
    ),
    ['fork policy', forkPolicy(status)],
    ['epoch', `${status.epoch} (${epochs(status)})`],
    lastTripwire
      ? [
          'last tripwire',
          `peer ${lastTripwire.peer}, ${ago(lastTripwire.at, now)} (${status.clonedPeers} in all)`,
        ]
      : undefined,
    ...gatewayRows(status),
    status.waitingForFreshness > 0
      ? ['waiting for fresh randomness', plural(status.waitingForFreshness, 'peer')]
      : undefined,
    ['public key', status.publicKey ?? '(none)'],
    ...enrolmentRows(status, now),
    [
      'listening',
      [`udp port ${status.listenPort}`, ...status.webSockets.map(at => `websocket ${at}`)].join(', '),
    ],
  ];
  return rows.filter(row => row !== undefined);
}

function epochs({ forks, drills }: DeviceStatus): string {
  const seen = `${plural(forks, 'fork')} seen`;
  return drills === 0 ? seen : `${seen}, ${plural(drills, 'drill')}`;
}

function gatewayRows({ gateway }: DeviceStatus): Row[] {
  if (!gateway) return [];
  const { known, present, provisional, awaited, admitted, unproven, evicted, expired, refused } = gateway;
  const store = known === null ? 'of the store nothing is known' : `${known} in the store`;
  return [
    ['admitted peers', `${present} in memory, ${store}`],
    ['being admitted', `${provisional} not proven yet, ${awaited} being looked up`],
    [
      'admissions',
      `${admitted} proven, ${unproven} not proven, ${evicted} put out of memory, ${expired} expired`,
    ],
    ['refused', counts(refused)],
  ];
}

function enrolmentRows({ enrolment }: DeviceStatus, now: number): Row[] {
  if (!enrolment) return [];
  const { addresses, since, parent, stage } = enrolment;
  const rows: (Row | undefined)[] = [
    addresses.length > 0 ? ['addresses', addresses.join(', ')] : undefined,
    [
      'enrolled',
      since === null ? (stage === 'operator' ? 'no: its key was set by wg' : 'not yet') : ago(since, now),
    ],
    parent === null ? undefined : ['cloned from', parent],
  ];
  return rows.filter(row => row !== undefined);
}

/** Counters, and how it runs. */
export function detailRows(status: DeviceStatus): Row[] {
  return [
    ['running', `wireonce ${status.version} for ${duration(status.uptimeMs)}`],
    ['link', `${status.linkState}, mtu ${status.mtu}`],
    ['keypairs wiped', String(status.wipedKeypairs)],
    ['discarded at release', plural(status.discardedAtRelease, 'datagram')],
    ['handshakes', `${status.handshakes.completed} completed`],
    ['dropped', counts(status.drops)],
    ['dropped in transport', counts(status.transportDrops)],
    ['dropped at the interface', counts(status.interfaceDrops)],
    ['nonce headroom', headroom(status.nonceHeadroom)],
    ['may do', privileges(status)],
    ['primitives', status.suite],
    ['offloads', status.offloads.join(', ') || '(none)'],
  ];
}

/** `rates`: where they are known. */
export function peerRows(peer: PeerStatus, { epoch }: DeviceStatus, now: number, rates: Rates): Row[] {
  const rate = rates.get(peer.publicKey);
  const each = rate ? ` (${bytes(Math.round(rate.rx))}/s in, ${bytes(Math.round(rate.tx))}/s out)` : '';
  return [
    ['endpoint', peer.endpoint ?? '(none)'],
    ['session', session(peer, epoch)],
    ['latest handshake', latestHandshake(peer, now)],
    ['transfer', `${bytes(peer.rxBytes)} received, ${bytes(peer.txBytes)} sent${each}`],
  ];
}

function latestHandshake({ lastHandshakeAt, unanswered }: PeerStatus, now: number): string {
  const latest = lastHandshakeAt === 0 ? '(never)' : ago(lastHandshakeAt, now);
  return unanswered > 1 ? `${latest}, ${unanswered} calls without an answer since` : latest;
}

function session({ hasSession, sessionEpoch }: PeerStatus, epoch: number): string {
  if (sessionEpoch === null) return '(none)';
  if (sessionEpoch !== epoch) return `of epoch ${sessionEpoch}, ended by a fork`;
  return hasSession ? `of epoch ${sessionEpoch}` : `of epoch ${sessionEpoch}, expired`;
}

function forkPolicy({ forkPolicy, strict, holdBackMs, held, enrolment }: DeviceStatus): string {
  const parts: string[] = [forkPolicy];
  if (strict) parts.push('strict');
  if (holdBackMs > 0) parts.push(`holding back ${holdBackMs} ms`);
  if (enrolment?.waitsFor) parts.push('SILENT until it is enrolled');
  else if (held) parts.push('HELD: silent until a new private key is set');
  return parts.join(', ');
}

function counts(of: Readonly<Record<string, number>>): string {
  const some = Object.entries(of).filter(([, count]) => count > 0);
  return some.map(([reason, count]) => `${count} ${reason}`).join(', ') || '0';
}

function privileges({ privileges }: DeviceStatus): string {
  if (privileges === null) return '(not known: there is no /proc)';
  const { capabilities, noNewPrivileges } = privileges;
  return `${capabilities.join(', ') || 'nothing special'}${noNewPrivileges ? ', and no more ever' : ''}`;
}

/** Exact as long as that can be read. */
function headroom(counters: string | null): string {
  if (counters === null) return '(no session)';
  const exponent = BigInt(counters).toString(2).length - 1;
  return exponent < 32 ? `${counters} messages` : `over 2^${exponent} messages`;
}
