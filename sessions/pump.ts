// From wishes to messages: the one place where handshakes are begun and answered, and staged packets sent.
// Promises: wishes are done in their order; a turn makes a bounded number of handshakes, and the rest waits for the next. So
// does what follows a draw that has brought a fork to light: others hear of it first.
// Read on: wishes.ts, handshakes.ts, send.ts.

import type { Context } from './context.js';
import { initiateHandshake, respond } from './handshakes.js';
import { flushStaged } from './send.js';
import { Wish } from './wishes.js';

/** After a fork many peers may be called: so many, and datagrams get their turn again. */
export const HANDSHAKES_PER_TURN = 32;

/** No packet: a data message without content. */
const KEEPALIVE = new Uint8Array(0);

/** Does what is wished for, as far as the bound of a turn goes. */
export function pump(context: Context): void {
  const { epoch, wishes } = context;
  for (let left = HANDSHAKES_PER_TURN; left > 0 && context.epoch === epoch; ) {
    const peer = wishes.take();
    if (!peer) return;
    const wished = peer.wishes;
    peer.wishes = 0;
    if (wished & Wish.respond) {
      left--;
      respond(context, peer);
    }
    if (wished & Wish.keepalive && peer.staged.length === 0) peer.staged.stage(KEEPALIVE);
    if (wished & (Wish.keepalive | Wish.flush)) flushStaged(context, peer);
    if (wished & Wish.handshake) peer.handshakeAttempts = 0;
    if (wished & (Wish.handshake | Wish.retry)) {
      left--;
      initiateHandshake(context, peer);
    }
  }
}
