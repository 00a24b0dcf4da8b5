// A clone's part of its enrolment, on the thread of the device: when a key of its own was drawn, the interface gets its
// address, the peers get their preshared keys, and the device speaks: without a word to the main thread, where all of it
// is derived.
// Promises: under a new key nothing is sent before the address is set, and none of the parent's is left; what was made for
// an identity is erased with it.
// Read on: gateway/derive.ts; sessions/device.ts (`completeEnrolment`); ../daemon/clone/clone.ts (the main thread's part).

import { equalBytes, isZero } from '../../native/bytes.js';
import { copySecret } from '../../native/secret-bytes.js';
import { PREFIX_BYTES, deriveAddress, derivePresharedKey } from '../../gateway/index.js';
import { type Suite, publicKeyOf } from '../../protocol/suite.js';
import type { Device } from '../../sessions/device.js';
import type { DeviceEvent } from '../../sessions/events.js';
import type { IpPrefix } from '../config/config-values.js';
import type { EnrolmentStage } from '../daemon/status.js';
import type { UapiChanges, UapiPeerChange } from '../daemon/uapi/types.js';
import { TunnelError } from '../errors.js';
import type { InterfaceAddresses } from './net/addresses.js';

/** What a clone is told of its identity beside its key, by a program or by the hook. */
export interface ToldIdentity {
  readonly addresses: readonly IpPrefix[];
  readonly peers: readonly UapiPeerChange[];
}

/** How a clone is to enrol. The secrets in it are the enrolment's from there on. */
export interface EnrolmentOrder {
  /** Absent: it waits to be told. */
  readonly derive?:
    | {
        /** 32 bytes. */
        readonly secret: Uint8Array;
        /** 8 bytes. */
        readonly prefix: Uint8Array;
        readonly gateways: readonly Uint8Array[] | undefined;
      }
    | undefined;
  /** The one that it has already, in this epoch. */
  readonly identity?: KeptIdentity | undefined;
  readonly epoch: number;
}

/** An identity as it was kept. */
export interface KeptIdentity {
  /** 32 bytes. */
  readonly privateKey: Uint8Array;
  /** Of the machine that this one was cloned from, 32 bytes. */
  readonly parent: Uint8Array | undefined;
  /** Wall-clock milliseconds; undefined: it is new. */
  readonly since: number | undefined;
  readonly told: ToldIdentity | undefined;
}

/** The device speaks under an identity. */
export interface Enrolled {
  readonly publicKey: Uint8Array;
  /** A copy for whoever keeps it, and erases it; absent when it was kept already. */
  readonly privateKey?: Uint8Array | undefined;
  readonly parent: Uint8Array | undefined;
  readonly since: number;
  readonly addresses: readonly IpPrefix[];
  /** With copies of the keys, as `privateKey`. */
  readonly told?: ToldIdentity | undefined;
  readonly epoch: number;
}

export interface EnrolmentReport {
  readonly stage: EnrolmentStage;
  readonly addresses: readonly IpPrefix[];
  readonly since: number | undefined;
  readonly parent: Uint8Array | undefined;
  /** What it lacks, and why. */
  readonly trouble: string | undefined;
}

export interface EnrolmentOptions {
  readonly device: Device;
  readonly suite: Suite;
  readonly addresses: InterfaceAddresses;
  /** Changes peers, as `wg` would. */
  readonly apply: (changes: UapiChanges) => void;
  /** Wall-clock milliseconds. */
  readonly wallClock: () => number;
  /** Called before the device speaks in this epoch, which it is about to do. */
  readonly onSpeaking: (epoch: number) => void;
  readonly onEnrolled: (enrolled: Enrolled) => void;
  /** An address or a peer cannot be set. It is tried again; told once for each reason. */
  readonly onTrouble: (error: TunnelError) => void;
}

const NO_KEY = new Uint8Array(32);

export class Enrolment {
  readonly #options: EnrolmentOptions;
  readonly #derive: EnrolmentOrder['derive'];
  #stage: EnrolmentStage = 'operator';
  #epoch = 0;
  /** Of the identity that holds, or is being made. */
  #publicKey: Uint8Array | undefined;
  #parent: Uint8Array | undefined;
  #since: number | undefined;
  #addresses: readonly IpPrefix[] = [];
  #told: ToldIdentity | undefined;
  /** A key that was kept, until the address is set. */
  #kept: Uint8Array | undefined;
  /** The interface has addresses of the machine that was copied. */
  #hasOldAddresses = false;
  #trouble: string | undefined;
  /** Peers whose preshared key is of this identity, by `idOf`. */
  readonly #given = new Set<string>();
  /** Peers that came with this identity, by the same names, and that no operator has set since. */
  readonly #brought = new Map<string, Uint8Array>();

  constructor(order: EnrolmentOrder, options: EnrolmentOptions) {
    this.#options = options;
    this.#derive = order.derive;
  }

  /** Takes the identity that there is, or has one made. Call once. */
  start({ identity, epoch }: EnrolmentOrder): void {
    if (!identity) {
      this.#begin();
      return;
    }
    const { privateKey, parent, since, told } = identity;
    this.#kept = privateKey;
    this.#parent = parent ?? this.#parent;
    this.#since = since;
    this.#told = told;
    this.#take(publicKeyOf(this.#options.suite, privateKey), epoch);
  }

  get report(): EnrolmentReport {
    return {
      stage: this.#stage,
      addresses: this.#addresses,
      since: this.#stage === 'enrolled' ? this.#since : undefined,
      parent: this.#parent,
      trouble: this.#trouble,
    };
  }

  /** Whether `retry` may help. */
  get isStuck(): boolean {
    return this.#stage === 'addressing' || (this.#stage === 'enrolled' && this.#trouble !== undefined);
  }

  /** Call now and then while `isStuck`. */
  retry(): void {
    if (this.#stage === 'addressing') this.#address();
    else if (this.isStuck) this.#setAddresses();
  }

  /** Call with every event of the device. */
  hear(event: DeviceEvent): void {
    if (event.type === 'vmFork') {
      if (!event.isDrill) this.#forked();
    } else if (event.type === 'identityDrawn') this.#drawn(event.publicKey, event.epoch);
  }

  /** What was asked for the key that was drawn. False when that is over, and `told` is erased. */
  tell(publicKey: Uint8Array, told: ToldIdentity): boolean {
    const isAwaited =
      this.#stage === 'asking' && this.#publicKey !== undefined && equalBytes(publicKey, this.#publicKey);
    if (!isAwaited) {
      eraseTold(told);
      return false;
    }
    this.#told = told;
    this.#take(publicKey, this.#epoch);
    return true;
  }

  /** An identity from outside, key and all. */
  become(identity: KeptIdentity, epoch: number): void {
    this.#forget();
    this.#hasOldAddresses = true;
    this.start({ identity, epoch });
  }

  /** The interface is up again: IPv6 addresses went when it came down. */
  linkUp(): void {
    if (this.#stage === 'enrolled') this.#setAddresses();
    else this.retry();
  }

  /**
   * What of the changes is to be applied: a private key of zeros, which `wg setconf` sends for a file without one, does not
   * clear an identity of ours.
   */
  filter(changes: UapiChanges): UapiChanges {
    const { privateKey, ...rest } = changes;
    if (!privateKey || this.#stage === 'operator') return changes;
    return isZero(privateKey) || this.#isOurs(privateKey) ? rest : changes;
  }

  /** Call when changes that `filter` let pass were applied, and before anything is sent. */
  changed({ privateKey, replacePeers, peers }: UapiChanges): void {
    if (replacePeers) {
      this.#given.clear();
      this.#brought.clear();
    }
    for (const { publicKey, presharedKey, remove } of peers) {
      this.#brought.delete(idOf(publicKey));
      if (remove || (presharedKey && !isZero(presharedKey))) this.#given.delete(idOf(publicKey));
    }
    if (privateKey) {
      if (isZero(privateKey)) this.#begin();
      else this.#yield();
    }
    if (replacePeers)
      this.#applyTold(told => !peers.some(({ publicKey }) => equalBytes(publicKey, told.publicKey)));
    for (const { publicKey } of peers) this.#give(publicKey);
  }

  /** Erases its secrets. */
  close(): void {
    this.#forget();
    this.#derive?.secret.fill(0);
  }

  #begin(): void {
    this.#forget();
    this.#stage = 'drawing';
    this.#options.device.beginEnrolment();
  }

  #forked(): void {
    // A machine that was copied in the midst of enrolling had no identity but that of its parent.
    if (this.#stage === 'enrolled' || this.#stage === 'operator') this.#parent = this.#publicKey;
    this.#forget();
    this.#hasOldAddresses = true;
    this.#stage = 'drawing';
  }

  #drawn(publicKey: Uint8Array, epoch: number): void {
    if (this.#derive) {
      this.#take(publicKey, epoch);
      return;
    }
    this.#publicKey = publicKey;
    this.#epoch = epoch;
    this.#stage = 'asking';
  }

  /** The key and all that belongs to it is known. */
  #take(publicKey: Uint8Array, epoch: number): void {
    this.#publicKey = publicKey;
    this.#epoch = epoch;
    const derive = this.#derive;
    this.#addresses = derive
      ? [{ ip: deriveAddress(derive.prefix, publicKey), prefix: 8 * PREFIX_BYTES }]
      : (this.#told?.addresses ?? []);
    this.#stage = 'addressing';
    this.#address();
  }

  #address(): void {
    if (this.#setAddresses()) this.#speak();
  }

  #setAddresses(): boolean {
    const { addresses } = this.#options;
    try {
      for (const address of this.#addresses) addresses.add(address);
      if (this.#hasOldAddresses) addresses.keepOnly(this.#addresses);
      this.#hasOldAddresses = false;
      this.#trouble = undefined;
      return true;
    } catch (error) {
      this.#hasTrouble('an address, which cannot be set', error as Error);
      return false;
    }
  }

  #speak(): void {
    const { device, wallClock, onEnrolled, onSpeaking } = this.#options;
    const publicKey = this.#publicKey as Uint8Array;
    const isKept = this.#since !== undefined;
    if (!this.#applyTold(() => true)) return;
    for (const peer of device.peers()) this.#give(peer.publicKey);
    const kept = this.#kept;
    this.#kept = undefined;
    onSpeaking(this.#epoch);
    if (kept) device.setPrivateKey(kept);
    kept?.fill(0);
    const isDone = kept !== undefined || device.completeEnrolment(publicKey);
    // Forked meanwhile: the device says so, or has said so, and another key will be drawn.
    if (!isDone || this.#publicKey !== publicKey || this.#stage !== 'addressing') return;
    this.#stage = 'enrolled';
    this.#since ??= wallClock();
    onEnrolled({
      publicKey,
      ...(!isKept && { privateKey: device.exportPrivateKey(), told: this.#told && copyOf(this.#told) }),
      parent: this.#parent,
      since: this.#since,
      addresses: this.#addresses,
      epoch: this.#epoch,
    });
  }

  /** The operator has set a key. What was made for ours is not for that one. */
  #yield(): void {
    const { device, addresses, onTrouble } = this.#options;
    try {
      for (const address of this.#addresses) addresses.remove(address);
    } catch (error) {
      onTrouble(error as TunnelError);
    }
    this.#forget();
    this.#publicKey = device.publicKey && new Uint8Array(device.publicKey);
    this.#stage = 'operator';
  }

  #isOurs(privateKey: Uint8Array): boolean {
    const own = this.#options.device.exportPrivateKey();
    const isOurs = own !== undefined && equalBytes(own, privateKey);
    own?.fill(0);
    return isOurs;
  }

  /** False: the device does not take it. */
  #applyTold(isWanted: (peer: UapiPeerChange) => boolean): boolean {
    const peers = this.#told?.peers.filter(isWanted) ?? [];
    if (peers.length === 0) return true;
    const { device } = this.#options;
    const newcomers = peers.filter(({ publicKey }) => !device.peer(publicKey));
    try {
      this.#options.apply({ replacePeers: false, peers });
    } catch (error) {
      this.#hasTrouble('peers, which cannot be set', error as Error);
      return false;
    }
    for (const { publicKey, presharedKey } of peers) if (presharedKey) this.#given.add(idOf(publicKey));
    for (const { publicKey } of newcomers) this.#brought.set(idOf(publicKey), publicKey);
    return true;
  }

  /** Told once for each reason. */
  #hasTrouble(lacks: string, cause: Error): void {
    const trouble = `${lacks}: ${cause.message}`;
    const isKnown = trouble === this.#trouble;
    this.#trouble = trouble;
    const { code = 'ERR_SYSTEM_CALL', errno } = cause as Partial<TunnelError>;
    if (!isKnown)
      this.#options.onTrouble(new TunnelError(code, `the clone lacks ${trouble}`, { cause, errno }));
  }

  /** Gives a peer the preshared key that belongs to this identity, unless the operator has given it one. */
  #give(publicKey: Uint8Array): void {
    if (this.#stage !== 'addressing' && this.#stage !== 'enrolled') return;
    const { device } = this.#options;
    const id = idOf(publicKey);
    const peer = device.peer(publicKey);
    if (!peer || (peer.hasPresharedKey && !this.#given.has(id))) return;
    const presharedKey = this.#presharedKeyFor(publicKey);
    if (!presharedKey) return;
    device.setPeer({ publicKey, presharedKey });
    presharedKey.fill(0);
    this.#given.add(id);
  }

  /** A copy, to be erased. */
  #presharedKeyFor(publicKey: Uint8Array): Uint8Array | undefined {
    const derive = this.#derive;
    if (!derive) {
      const told = this.#told?.peers.find(peer => equalBytes(peer.publicKey, publicKey))?.presharedKey;
      return told && copySecret(told);
    }
    if (derive.gateways && !derive.gateways.some(gateway => equalBytes(gateway, publicKey))) return undefined;
    return derivePresharedKey(derive.secret, publicKey, this.#publicKey as Uint8Array);
  }

  /** Erases what belongs to the identity that was. */
  #forget(): void {
    const { device } = this.#options;
    for (const publicKey of this.#brought.values()) device.removePeer(publicKey);
    this.#brought.clear();
    if (this.#given.size > 0) {
      for (const { publicKey } of device.peers()) {
        if (this.#given.has(idOf(publicKey))) device.setPeer({ publicKey, presharedKey: NO_KEY });
      }
    }
    this.#given.clear();
    if (this.#told) eraseTold(this.#told);
    this.#told = undefined;
    this.#kept?.fill(0);
    this.#kept = undefined;
    this.#addresses = [];
    this.#since = undefined;
    this.#trouble = undefined;
  }
}

function copyOf({ addresses, peers }: ToldIdentity): ToldIdentity {
  return {
    addresses,
    peers: peers.map(({ presharedKey, ...rest }) => ({
      ...rest,
      ...(presharedKey && { presharedKey: copySecret(presharedKey) }),
    })),
  };
}

/** What was moved to another thread is not here any more, and need not be erased. */
export function eraseIdentity({ privateKey, told }: KeptIdentity): void {
  privateKey.fill(0);
  if (told) eraseTold(told);
}

export function eraseTold({ peers }: ToldIdentity): void {
  for (const { presharedKey } of peers) presharedKey?.fill(0);
}

function idOf(publicKey: Uint8Array): string {
  return publicKey.join();
}
