// What an operator should look at, from what a device knows of itself: what is wrong, why most likely, and what to do.
// Promises: only what the evidence supports; a guess is called one; no secrets; a bounded number of sentences, however many
// peers there are.
// Read on: status.ts (the fields); cli/ping-diagnosis.ts (the same evidence, from a handshake of its own).

import type { Privileges } from '../linux/capabilities.js';
import type { DeviceStatus, PeerStatus } from './status.js';

/** Initiations without an answer after which a fork may have left the clock behind. */
const UNANSWERED_INITIATIONS = 3;
/** The longest that a clone ran before its kernel's log told it of the fork (SECURITY.md). */
const MEASURED_DELAY_MS = 207;

/** The sentences for `hints`, from everything else. */
export function hintsFor(status: Omit<DeviceStatus, 'hints'>): string[] {
  const hints: string[] = [];
  if (status.enrolment?.waitsFor)
    hints.push(`silent until it is enrolled: it waits for ${status.enrolment.waitsFor}`);
  else if (status.publicKey === null) hints.push('no private key is set: the device is silent');
  if (status.held && !status.enrolment) {
    hints.push('held after a fork: set a new private key, and give its public key to the peers');
  }
  if (status.linkState === 'down') {
    hints.push(`the interface is down, and nothing is sent: ip link set ${status.interface} up`);
  }
  const broken = status.sources.filter(({ readable }) => !readable);
  for (const { name, reason } of broken) {
    hints.push(`the source ${name} does not work: ${reason ?? 'no reason is known'}`);
  }
  if (status.protection === 'none') {
    hints.push('nothing tells of a fork: a clone of this machine uses keys and nonces twice');
  } else if (status.protection === 'delayed' && status.holdBackMs <= MEASURED_DELAY_MS) {
    const held =
      status.holdBackMs === 0 ? '' : `, and ${status.holdBackMs} ms is less than has been measured`;
    hints.push(`a fork is seen late: HoldBackMs above the delay of the source closes the window${held}`);
  }
  if (status.clockBehindMs > 0) {
    const seconds = Math.round(status.clockBehindMs / 1_000);
    hints.push(
      `a fork left the clock ${seconds} s behind: handshakes take the hardware clock's time; set the system's from it`,
    );
  }
  const { refused } = status.keyMemory;
  if (refused !== null) hints.push(`keys are not kept out of swap and core dumps: ${refused}`);
  hints.push(...privilegeHints(status.privileges));
  if (isUnansweredSinceFork(status)) {
    hints.push(
      "handshakes since the fork were not answered: the clone's clock may be behind, and the peer takes them for replays",
    );
  }
  if (status.waitingForFreshness > 0) {
    hints.push(
      'handshakes wait: nothing yet parts the random numbers of this clone from those of its siblings',
    );
  }
  if (status.gateway?.known === null && status.gateway.refused.storeFailed > 0) {
    hints.push(
      'the store of peers gives no answer: nobody new is admitted, and whoever was away is not either',
    );
  } else if (status.gateway && status.gateway.refused.storeFailed > 0) {
    hints.push(
      `the store of peers has failed ${times(status.gateway.refused.storeFailed)}: the log says how`,
    );
  }
  if (status.gateway && status.gateway.refused.full > 0) {
    hints.push(
      'machines were refused, as there are as many peers as MaxPeers allows: raise it, or lower ExpireAfter',
    );
  }
  if (status.lastTripwire) {
    hints.push(`peer ${status.lastTripwire.peer} was cloned: two machines used one key; give each its own`);
  }
  return [...hints, ...peerHints(status)];
}

/** A drill leaves the clock as it is: whoever does not answer after one has other reasons. */
function isUnansweredSinceFork({ epochs, recovery, peers }: Omit<DeviceStatus, 'hints'>): boolean {
  if (epochs.at(-1)?.cause !== 'fork' || recovery?.back !== 0) return false;
  return peers.some(peer => peer.recovery && peer.unanswered >= UNANSWERED_INITIATIONS);
}

/** What every daemon keeps, or may keep. */
const NEEDED: ReadonlySet<string> = new Set(['CAP_NET_ADMIN', 'CAP_NET_BIND_SERVICE', 'CAP_IPC_LOCK']);
const TO_READ = 'CAP_DAC_READ_SEARCH';

function privilegeHints(privileges: Privileges | null): string[] {
  const { capabilities = [], noNewPrivileges = true } = privileges ?? {};
  const hints: string[] = [];
  const more = capabilities.filter(name => !NEEDED.has(name) && name !== TO_READ);
  if (more.length > 0) hints.push(`the daemon may do more than it needs: ${more.join(', ')}`);
  if (!noNewPrivileges) hints.push('no_new_privs is not set: the kernel refused it');
  if (capabilities.includes(TO_READ)) {
    hints.push(
      `${TO_READ} is kept: the program or its generation file lies in a folder that is closed to root itself`,
    );
  }
  return hints;
}

/** Of many peers in the same trouble so many are named. */
const NAMED = 3;
/** An initiation of 148 bytes for each try of a peer that takes none of our answers. */
const UNCOMPLETED_BYTES = UNANSWERED_INITIATIONS * 148;
/** A roaming peer moves now and then; two machines under one key take the session from each other every few seconds. */
const FIGHTING_MOVES = 4;
/** Those of wrong routes and rules on this machine, not of the network behind it. */
const REFUSED_HERE: ReadonlySet<string> = new Set(['EPERM', 'EACCES']);

function peerHints(status: Omit<DeviceStatus, 'hints'>): string[] {
  const { peers, drops, publicKey } = status;
  const silent = peers.filter(({ unanswered }) => unanswered >= UNANSWERED_INITIATIONS);
  const hints: string[] = [];
  const say = (which: readonly PeerStatus[], problem: string) => {
    if (which.length > 0) hints.push(`${names(which)} ${problem}`);
  };
  if (drops.badTag > 0) {
    say(
      silent,
      `completed no handshake, and ${times(drops.badTag)} an answer did not authenticate: most likely ${status.enrolment?.method === 'derived' ? 'the secret in our SecretFile is not its own' : 'its PresharedKey is another'}`,
    );
  } else if (silent.length > 0 && status.lastUdpError !== null && REFUSED_HERE.has(status.lastUdpError)) {
    say(
      silent,
      `cannot be called: sending failed with ${status.lastUdpError}, a firewall of this machine refuses`,
    );
  } else {
    say(
      silent,
      'answered no handshake: its Endpoint or PublicKey is wrong here, ' +
        `ours (${publicKey}) is missing there, a firewall drops what is sent, or our clock is behind a time it saw before` +
        (status.enrolment ? '; or it refuses this clone, and its own status says why' : '') +
        (status.lastUdpError === null ? '' : `; sending failed, last with ${status.lastUdpError}`),
    );
  }
  say(
    peers.filter(peer => peer.lastHandshakeAt === 0 && peer.rxBytes >= UNCOMPLETED_BYTES),
    'calls us, and completes no handshake: most likely its PresharedKey is another, or our answers do not reach it',
  );
  say(
    peers.filter(({ moves }) => moves >= FIGHTING_MOVES),
    'moves between addresses all the time: two machines use its key; give each its own',
  );
  if (drops.noEndpoint > 0) {
    say(
      peers.filter(({ endpoint }) => endpoint === null),
      'has no Endpoint: it is reached only after it has called us',
    );
  }
  if (drops.badMac1 >= UNANSWERED_INITIATIONS) {
    hints.push(
      `${times(drops.badMac1)} a handshake message came that was made for another public key than ours, ${publicKey}`,
    );
  }
  if (drops.replayedInitiation >= UNANSWERED_INITIATIONS) {
    hints.push(
      `${times(drops.replayedInitiation)} a peer called with a time before its last: its clock went back, or two machines use its key`,
    );
  }
  return hints;
}

function names(peers: readonly PeerStatus[]): string {
  const shown = peers.slice(0, NAMED).map(({ publicKey }) => publicKey);
  const more = peers.length - shown.length;
  const all =
    more > 0 ? `${shown.join(', ')} and ${more} more:` : `${shown.join(', ')}${shown.length > 1 ? ':' : ''}`;
  return `peer${peers.length === 1 ? '' : 's'} ${all}`;
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}
