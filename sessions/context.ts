// What the parts of one device share. The parts are functions over it, each in the file that is named for its job.

import type { Randomness } from '../crng/randomness.js';
import type { LocalIdentity } from '../protocol/handshake.js';
import type { Sealer, Suite } from '../protocol/suite.js';
import type { ForkGuard } from '../vmgenid/driver.js';
import type { Admissions } from './admissions.js';
import type { AllowedIps } from './allowed-ips.js';
import type { CookieJar, MacKeys } from './cookie-jar.js';
import type { DeadlineQueue } from './deadline-queue.js';
import type { DropCounter } from './drops.js';
import type { DeviceEvent } from './events.js';
import type { Gathered } from './gathered.js';
import type { Handout } from './handout.js';
import type { HandshakeQueue } from './handshake-queue.js';
import type { IndexTable } from './index-table.js';
import type { KeySlab } from './key-slab.js';
import type { LoadMeter } from './load-meter.js';
import type { IndexEntry, Peer } from './peer.js';
import type { PeerRecords } from './peer-times.js';
import type { Clock } from './ports.js';
import type { Recovery } from './recovery.js';
import type { ReleaseGate } from './release.js';
import type { SettledSettings } from './settings.js';
import type { Turn } from './turn.js';
import type { Wishes } from './wishes.js';

/**
 * On the way to an identity of its own. `none`: it has one, or waits for nobody but an operator. `due`: to be drawn as soon as
 * there is randomness of this machine's own. `drawn`: there is one, which may not speak yet.
 */
export type Enrolment = 'none' | 'due' | 'drawn';

export interface Context {
  readonly suite: Suite;
  readonly crng: Randomness;
  readonly vmgenid: ForkGuard;
  readonly clock: Clock;
  readonly settings: SettledSettings;
  readonly peers: Map<string, Peer>;
  readonly indices: IndexTable<IndexEntry>;
  readonly allowedIps: AllowedIps<Peer>;
  readonly deadlines: DeadlineQueue<Peer>;
  readonly records: PeerRecords;
  /** Seals data messages; settled by the gate before it checks. */
  readonly sealer: Sealer;
  readonly gate: ReleaseGate;
  readonly gathered: Gathered;
  readonly handshakeQueue: HandshakeQueue;
  readonly turn: Turn;
  readonly wishes: Wishes;
  readonly handout: Handout;
  readonly drops: DropCounter;
  readonly cookies: CookieJar;
  readonly load: LoadMeter;
  /** Session secrets: erased as a whole by a fork. */
  readonly sessionSlab: KeySlab;
  /** What outlives a fork, unless the policy says otherwise: preshared keys, what is shared by static keys. */
  readonly identitySlab: KeySlab;
  /** Our private key, if we have one; of the identity slab. */
  readonly identityBlock: Uint8Array;
  /** Strangers who ask to be admitted; none where nobody decides about them. */
  readonly admissions: Admissions | undefined;
  /** The name under which `peers` knows a public key. */
  readonly peerId: (publicKey: Uint8Array) => string;
  /** Counts an event, and has it handed out when the turn is over. */
  readonly emit: (event: DeviceEvent) => void;
  /** Peers that the next `runTimers` calls anew: when everybody has been told of what ended their sessions. */
  readonly recalled: Set<Peer>;
  /** How far the device has come back from the last fork. */
  readonly recovery: Recovery;
  /** Peers whose handshake waits until somebody vouches for the generation and the randomness is fresh. */
  readonly waiting: Set<Peer>;
  /** Our identity; none until a private key is set. */
  local: (LocalIdentity & MacKeys) | undefined;
  mtu: number;
  /** The epoch this device has reacted to. What carries another stamp is dead. */
  epoch: number;
  /** Policies `hold` and `enrol` after a fork: silent until there is a new private key. */
  held: boolean;
  /** On the way to that, by policy `enrol`. */
  enrolment: Enrolment;
  /** The interface is down: nobody is called. */
  paused: boolean;
}
