// Who this device is: its static key pair, and how it comes and goes.
// Promises: there is one private key at most, in one place; when it goes it is erased, and so is all that was derived of it.
// A key that the device draws for itself is drawn behind the freshness barrier, as an ephemeral is, and nobody is spoken to
// under it before whoever drives the device has said that it is enrolled.
// Read on: fork-response.ts; crng/freshness.ts; docs/architecture.md "What a device does when its machine was forked".

import { bytesToHex } from '@noble/hashes/utils.js';
import { clampX25519 } from '../crng/x25519.js';
import { equalBytes, isZero } from '../native/bytes.js';
import { secretBytes } from '../native/secret-bytes.js';
import { KEY_BYTES } from '../protocol/suite.js';
import type { Context } from './context.js';
import { deriveMacKeys } from './cookie-jar.js';
import { draw } from './draw.js';
import { invariant } from './invariant.js';
import { evictPeer, removePeer } from './peers.js';
import { Wish } from './wishes.js';

/** Sets our identity, or (by zeros) leaves us without one. End all sessions first. A peer with our own key is removed. */
export function setIdentity(context: Context, privateKey: Uint8Array): void {
  forgetIdentity(context);
  if (isZero(privateKey)) return;
  const own = {
    privateKey: context.identityBlock.subarray(0, KEY_BYTES),
    publicKey: new Uint8Array(KEY_BYTES),
  };
  own.privateKey.set(privateKey);
  context.suite.publicKey(own.privateKey, own.publicKey);
  context.local = { ...own, ...deriveMacKeys(context.suite, own.publicKey) };
  removePeer(context, bytesToHex(own.publicKey));
}

/** Erases our identity, and what we share with each peer by it. Who was admitted was so by that identity. */
export function forgetIdentity(context: Context): void {
  for (const peer of context.peers.values()) {
    if (peer.admission) {
      evictPeer(context, peer);
      continue;
    }
    peer.usable = false;
    peer.staticShared.fill(0);
  }
  context.identityBlock.fill(0);
  context.local = undefined;
}

/** Erases our identity, and has another drawn. Then end all sessions, and fall silent. */
export function beginEnrolment(context: Context): void {
  forgetIdentity(context);
  context.enrolment = 'due';
}

/** Draws the identity that is due. `epoch`: read before; call where the randomness is fresh. */
export function drawIdentity(context: Context, epoch: number): void {
  const privateKey = secretBytes(KEY_BYTES);
  try {
    // Who hears of a fork that the draw has brought to light may have changed anything; another is due then.
    if (!draw(context.crng, privateKey) || context.epoch !== epoch || context.enrolment !== 'due') return;
    clampX25519(privateKey);
    setIdentity(context, privateKey);
    context.enrolment = 'drawn';
    const { local } = context;
    invariant(local !== undefined, 'what was drawn is a key');
    context.emit({ type: 'identityDrawn', publicKey: new Uint8Array(local.publicKey), epoch });
  } finally {
    privateKey.fill(0);
  }
}

/** The identity that was drawn may speak: every peer with an endpoint is called. False when that is not the one we have. */
export function completeEnrolment(context: Context, publicKey: Uint8Array): boolean {
  const { local, peers, wishes } = context;
  if (context.enrolment !== 'drawn' || !local || !equalBytes(local.publicKey, publicKey)) return false;
  context.enrolment = 'none';
  context.held = false;
  for (const peer of peers.values()) {
    wishes.add(peer, Wish.handshake);
    context.recovery.called(peer, context.epoch);
  }
  return true;
}
