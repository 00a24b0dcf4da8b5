// Why nothing answered, as far as can be told from here: the trouble in one line, and hints that follow from evidence.
// Promises: says only what was observed, and calls a guess a guess; no private or preshared key is shown.
// Read on: WireGuard paper 5.3 (why a WireGuard is silent to strangers) and 5.4.7 (cookies).

import type { DropReason } from '../sessions/drops.js';
import { TunnelError } from '../tunnel/errors.js';
import { CliError } from './errors.js';

/** What was seen while a handshake was tried. */
export interface HandshakeFacts {
  /** As configured and, if it was a name, as resolved. */
  readonly endpoint: string;
  readonly isWebSocket: boolean;
  readonly initiations: number;
  readonly waitedMs: number;
  readonly interrupted: boolean;
  readonly cookieReplies: number;
  /** An ICMP port unreachable came back. */
  readonly refused: boolean;
  readonly drops: Readonly<Record<DropReason, number>>;
  /** What the transports reported, oldest first. */
  readonly transportErrors: readonly TunnelError[];
  /** Why this machine may not make a handshake now; none when it may. */
  readonly heldBack: string | undefined;
  readonly peerPublicKey: string;
  readonly ownPublicKey: string;
  readonly hasPresharedKey: boolean;
  /** Wall-clock milliseconds. */
  readonly clock: number;
}

/** The error of a ping whose handshake did not complete. */
export function diagnoseHandshake(facts: HandshakeFacts): CliError | TunnelError {
  const { endpoint, initiations, waitedMs, transportErrors } = facts;
  const unresolved = transportErrors.find(isResolverError);
  if (unresolved) {
    return new TunnelError('ERR_ENDPOINT_UNRESOLVED', `cannot resolve ${endpoint}: ${codeOf(unresolved)}`);
  }
  const time = `${(waitedMs / 1_000).toFixed(1)} s${facts.interrupted ? ', then interrupted' : ''}`;
  if (initiations === 0) {
    const why = facts.heldBack ?? `the PublicKey ${facts.peerPublicKey} is no usable key`;
    return new CliError('ERR_CLI_NO_HANDSHAKE', `no handshake was begun with ${endpoint} (${time}): ${why}`);
  }
  const sent = initiations === 1 ? '1 initiation' : `${initiations} initiations`;
  const message = `no answer to the handshake from ${endpoint}: ${sent} in ${time}`;
  const found = [...transportFindings(facts), ...answerFindings(facts)];
  return new CliError('ERR_CLI_NO_HANDSHAKE', message, {
    hints: found.length > 0 ? found : silence(facts),
  });
}

function transportFindings({ transportErrors, isWebSocket, refused, endpoint }: HandshakeFacts): string[] {
  const found: string[] = [];
  if (refused) {
    found.push(
      `an ICMP port unreachable came back: no program listens at ${endpoint}, or a firewall says so`,
    );
  }
  const last = transportErrors.at(-1);
  if (last)
    found.push(`${isWebSocket ? 'the WebSocket connection failed' : 'sending failed'}: ${last.message}`);
  return found;
}

// Whatever came back, though it did not complete the handshake, says more than silence.
function answerFindings({ drops, cookieReplies, hasPresharedKey }: HandshakeFacts): string[] {
  const found: string[] = [];
  if (cookieReplies > 0) {
    found.push(
      'it answered with a cookie: it is there and under load, and the PublicKey is right. Initiations with that ' +
        'cookie follow every 5 s, so try again with a longer -W',
    );
  }
  if (drops.badTag > 0) {
    const psk = hasPresharedKey
      ? 'the PresharedKey is not the one it has, or it has none'
      : 'it has a PresharedKey for us and this file has none';
    found.push(
      `it answered ${times(drops.badTag)}, but the answer does not authenticate: most likely ${psk}`,
    );
  }
  if (drops.badMac1 > 0) {
    found.push(
      `${times(drops.badMac1)} a handshake message came that was made for another public key than ours`,
    );
  }
  if (drops.malformed > 0) {
    found.push(
      `${times(drops.malformed)} something came back that is not WireGuard: another service listens there`,
    );
  }
  if (drops.unknownIndex > 0) {
    found.push(`${times(drops.unknownIndex)} an answer came too late, to an initiation already given up`);
  }
  return found;
}

function silence({ peerPublicKey, ownPublicKey, clock, isWebSocket }: HandshakeFacts): string[] {
  const way = isWebSocket
    ? 'the server behind the WebSocket passes nothing on'
    : 'the host or the port is wrong, or a firewall drops what we send or what comes back';
  return [
    'a WireGuard is silent to strangers, so these look alike from here:',
    way,
    `its key is not the PublicKey of this file, ${peerPublicKey}`,
    `it has no [Peer] with our public key, ${ownPublicKey}`,
    `our clock is behind a moment at which it heard from this key before: here it is ${new Date(clock).toISOString()}`,
  ];
}

/** What was seen of a tunnel that stands, through which nothing was answered. */
export interface EchoFacts {
  readonly target: string;
  readonly source: string;
  readonly transmitted: number;
  readonly errors: number;
  readonly mismatches: number;
  readonly drops: Readonly<Record<DropReason, number>>;
  /** Data or keepalives came from the peer after the handshake. */
  readonly heardFromPeer: boolean;
  readonly unsent: number;
  /** Why this machine may not send now; none when it may. */
  readonly heldBack: string | undefined;
}

/** The error of a ping that was answered by nobody though the handshake is done. */
export function diagnoseEcho(facts: EchoFacts): CliError {
  const { target, source, transmitted, drops } = facts;
  const sent = transmitted === 1 ? '1 echo request was' : `${transmitted} echo requests were`;
  const message = `the handshake is done, but no echo came back from ${target}: ${sent} sent`;
  const hints: string[] = [];
  if (facts.heldBack) hints.push(`sending is held back: ${facts.heldBack}`);
  if (facts.unsent > 0) hints.push(`${times(facts.unsent)} a request could not leave this machine`);
  if (facts.errors > 0) hints.push(`${times(facts.errors)} an ICMP error came instead, as shown above`);
  if (facts.mismatches > 0)
    hints.push(`${times(facts.mismatches)} an answer came with other data than was sent`);
  if (drops.disallowedSource > 0) {
    const what = "a packet came from an address outside the peer's AllowedIPs of this file";
    hints.push(`${times(drops.disallowedSource)} ${what}, and was dropped`);
  }
  if (hints.length === 0) {
    hints.push(
      `its [Peer] for us must have ${source} in AllowedIPs, or it drops our packets unseen`,
      `${target} must exist behind it and answer echo requests; a firewall there may not let it`,
      `if ${target} is another machine, it must forward there, and the way back to ${source} must lead through it`,
    );
    if (!facts.heardFromPeer) hints.push('not a single packet came from it through the tunnel');
  }
  return new CliError('ERR_CLI_NO_ECHO', message, { hints });
}

/** The name in a URL does not resolve: nothing is won by waiting. */
export function isResolverError(error: TunnelError): boolean {
  return ['ENOTFOUND', 'EAI_AGAIN', 'EAI_NODATA', 'EAI_NONAME'].includes(codeOf(error));
}

function codeOf({ cause }: TunnelError): string {
  return (cause as NodeJS.ErrnoException | undefined)?.code ?? '';
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}
