// What a drill has shown: from what the daemon said when it began and from a status since.
// Promises: what is not shown by the device is not claimed; every problem is named; the same text and JSON each time.
// Read on: drill.ts; ../tunnel/daemon/drill.ts, ../sessions/recovery.ts (who counts as called, and as back).

import type { DrillStart } from '../tunnel/daemon/drill.js';
import type { DeviceStatus, PeerStatus } from '../tunnel/daemon/status.js';
import { plural } from '../tunnel/daemon/human.js';

/** A peer that was called, as it was in conversation or packets waited for it. */
export interface DrilledPeer {
  /** Base64. */
  readonly publicKey: string;
  /** Milliseconds from the drill to keys of its epoch on both sides; null until then. */
  readonly backAfterMs: number | null;
  /** Of the session now: its epoch, and the index by which the peer calls it; null without one. */
  readonly sessionEpoch: number | null;
  readonly sessionIndex: number | null;
  /** Of the session before. */
  readonly sessionIndexBefore: number | null;
}

/** As `wireonce drill --json` prints it. */
export interface DrillReport {
  readonly interface: string;
  readonly epoch: number;
  /** Whoever was called came back under new keys, and nothing of the old is left. With `called` 0 nothing is shown of peers. */
  readonly ok: boolean;
  /** Why not, a sentence each, the worst first. */
  readonly problems: readonly string[];
  readonly wipedKeypairs: number;
  /** Milliseconds from the call until every part of the daemon had responded: all of that was erased by then. */
  readonly respondedMs: number;
  /** Keypairs of an older epoch that could still seal. */
  readonly staleKeypairs: number;
  /** Whether OpenSSL's generator was seeded anew, with something that siblings lack; null where it is out of reach. */
  readonly opensslHealed: boolean | null;
  readonly called: number;
  readonly back: number;
  readonly peers: readonly DrilledPeer[];
}

/** Whether a later status would show nothing more. */
export function isOver({ epoch }: DrillStart, { epoch: now, recovery }: DeviceStatus): boolean {
  return now > epoch || (recovery?.epoch === epoch && recovery.back >= recovery.called);
}

/** `waitedS`: for whoever is not back. */
export function drillReport(start: DrillStart, status: DeviceStatus, waitedS: number): DrillReport {
  const { epoch, wipedKeypairs, sessionIndices } = start;
  const isOurs = status.recovery?.epoch === epoch;
  const peers = (isOurs ? status.peers.filter(({ recovery }) => recovery !== null) : []).map(peer => ({
    publicKey: peer.publicKey,
    backAfterMs: rounded(peer.recovery?.backAfterMs ?? null),
    sessionEpoch: peer.sessionEpoch,
    sessionIndex: peer.sessionIndex,
    sessionIndexBefore: sessionIndices[peer.publicKey] ?? null,
  }));
  const opensslHealed = status.openssl && status.openssl.epoch >= epoch && status.openssl.parted;
  const problems = [
    ...deviceProblems(start, status),
    ...(opensslHealed === false ? ["OpenSSL's generator was not seeded anew"] : []),
    ...status.peers
      .filter(peer => keepsOldKey(peer, start))
      .map(({ publicKey }) => `peer ${publicKey} has the session that it had before`),
    ...(isOurs ? peers.flatMap(peer => peerProblems(peer, epoch, waitedS)) : []),
  ];
  return {
    interface: status.interface,
    epoch,
    ok: problems.length === 0,
    problems,
    wipedKeypairs,
    respondedMs: rounded(start.respondedMs),
    staleKeypairs: status.staleKeypairs,
    opensslHealed,
    called: peers.length,
    back: peers.filter(({ backAfterMs }) => backAfterMs !== null).length,
    peers,
  };
}

function deviceProblems(
  start: DrillStart,
  { epoch, forks, recovery, staleKeypairs }: DeviceStatus,
): string[] {
  if (forks !== start.forks) return [`this machine was forked meanwhile: what is seen is of epoch ${epoch}`];
  if (epoch > start.epoch) return [`another drill has begun epoch ${epoch} meanwhile: drill again`];
  const problems: string[] = [];
  if (epoch < start.epoch || recovery?.epoch !== start.epoch)
    problems.push(`the device has not responded: it is in epoch ${epoch}`);
  if (staleKeypairs > 0)
    problems.push(`${plural(staleKeypairs, 'keypair')} of an older epoch could still seal`);
  return problems;
}

function peerProblems(peer: DrilledPeer, epoch: number, waitedS: number): string[] {
  const { publicKey, backAfterMs, sessionEpoch } = peer;
  if (backAfterMs === null) return [`peer ${publicKey} is not back after ${waitedS} s`];
  if (sessionEpoch !== epoch)
    return [
      `peer ${publicKey} is back, and its session is of ${sessionEpoch === null ? 'no epoch' : `epoch ${sessionEpoch}`}`,
    ];
  return [];
}

/** Whoever it is, called or not: an index is drawn with each pair of keys. */
function keepsOldKey({ publicKey, sessionIndex }: PeerStatus, { sessionIndices }: DrillStart): boolean {
  return sessionIndex !== null && sessionIndex === sessionIndices[publicKey];
}

/** So many peers are shown to a person: those that are not back, and the slowest. And so many problems: the worst. */
const SHOWN = 20;

export function drillLines(report: DrillReport): string[] {
  const { epoch, wipedKeypairs, respondedMs, opensslHealed, called, back, peers } = report;
  const slowestFirst = peers.toSorted((a, b) => (b.backAfterMs ?? Infinity) - (a.backAfterMs ?? Infinity));
  const openssl =
    opensslHealed === null
      ? 'out of reach: TLS connections may repeat random numbers after a fork'
      : 'seeded anew';
  return [
    `drill of ${report.interface}: epoch ${epoch} began, as if this machine had been forked`,
    `  wiped:    ${plural(wipedKeypairs, 'keypair')}, within ${respondedMs} ms`,
    ...(opensslHealed === false ? [] : [`  OpenSSL:  ${openssl}`]),
    `  peers:    ${called === 0 ? 'none was in conversation: nobody was called' : `${back} of ${called} back`}`,
    ...slowestFirst.slice(0, SHOWN).map(peerLine),
    ...moreLines(slowestFirst.slice(SHOWN)),
    ...endLines(report),
  ];
}

function moreLines(others: readonly DrilledPeer[]): string[] {
  if (others.length === 0) return [];
  const missing = others.filter(({ backAfterMs }) => backAfterMs === null).length;
  return [`    and ${others.length} more, ${missing === 0 ? 'all sooner' : `${missing} of them not back`}`];
}

function endLines({ problems, called }: DrillReport): string[] {
  if (problems.length === 0)
    return [called > 0 ? '  all under new keys' : '  nothing was shown of peers: drill again under traffic'];
  const more = problems.length - SHOWN;
  return [
    ...problems.slice(0, SHOWN).map(problem => `  FAILED: ${problem}`),
    ...(more > 0 ? [`  FAILED: and ${plural(more, 'problem')} more`] : []),
  ];
}

function peerLine({ publicKey, backAfterMs, sessionIndex, sessionIndexBefore }: DrilledPeer): string {
  if (backAfterMs === null) return `    ${publicKey}  not back`;
  const before = sessionIndexBefore === null ? 'none' : hex(sessionIndexBefore);
  const now = sessionIndex === null ? 'none' : hex(sessionIndex);
  return `    ${publicKey}  back after ${backAfterMs} ms, session ${before} -> ${now}`;
}

const hex = (index: number) => index.toString(16).padStart(8, '0');

function rounded(ms: number): number;
function rounded(ms: number | null): number | null;
function rounded(ms: number | null): number | null {
  return ms === null ? null : Math.round(10 * ms) / 10;
}
