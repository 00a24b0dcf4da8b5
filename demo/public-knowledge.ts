// What somebody on the wire knows without having seen a key: who talks, in which form, and what machines of
// this kind say when they have nothing to say. It is all that the attacker guesses by.
// Promises: nothing of this is drawn, or told by a machine.

import { innerPacket } from './packet.js';
import { picturePackets, standby } from './picture.js';

/** Addresses in the tunnel, which its operator has published, or which everybody uses. */
export const SANDBOX_IP = '10.44.0.2';
export const GATEWAY_IP = '10.44.0.1';

/** What each sandbox asks first, word for word. */
export const HEALTH_CHECK = 'GET /health HTTP/1.1  Host: sandbox.internal  User-Agent: probe ';

/** The same as a packet. */
export const HEALTH_PACKET = innerPacket(SANDBOX_IP, GATEWAY_IP, HEALTH_CHECK);

/** What a camera of this kind sends when it has nothing to show. */
export const STANDBY_CARD = standby();

/** A packet of a picture, as long as each of them is. */
export const [PICTURE_PIECE] = picturePackets(SANDBOX_IP, GATEWAY_IP, STANDBY_CARD);
