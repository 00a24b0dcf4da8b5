// Every number of the protocol, with its unit and where it stands.
// Read on: WireGuard paper sections 5 and 6; Linux drivers/net/wireguard/messages.h.

/** Paper 5.4. Hashed into the first chaining key. */
export const CONSTRUCTION = 'Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s';
/** Paper 5.4. Hashed into the first transcript hash. */
export const IDENTIFIER = 'WireGuard v1 zx2c4 Jason@zx2c4.com';

/** Message types, the first four bytes of every datagram as a little-endian u32. */
export const HANDSHAKE_INITIATION = 1;
/** Type 2, the first byte of a response. */
export const HANDSHAKE_RESPONSE = 2;
/** Type 3, the first byte of a cookie reply. */
export const COOKIE_REPLY = 3;
/** Type 4, the first byte of a data message. */
export const TRANSPORT_DATA = 4;

/** Message lengths in bytes. Exact, but for data, where it is the least. */
export const INITIATION_BYTES = 148;
/** The length of a response. */
export const RESPONSE_BYTES = 92;
/** The length of a cookie reply. */
export const COOKIE_REPLY_BYTES = 64;
/** What precedes the ciphertext of a data message: type, index, counter. */
export const TRANSPORT_HEADER_BYTES = 16;
/** What a data message is longer than its padded packet: header and tag. */
export const TRANSPORT_OVERHEAD_BYTES = 32;

/** Paper 5.4.6. Plaintext is padded to a multiple of this many bytes. */
export const PADDING_BYTES = 16;

/** Paper 6.2. After this many messages the initiator asks for new keys. */
export const REKEY_AFTER_MESSAGES = 1n << 60n;
/** Paper 6.2. A counter from here on is neither sent nor accepted. */
export const REJECT_AFTER_MESSAGES = (1n << 64n) - (1n << 13n) - 1n;

/** Paper 6.2. At this age of its keypair the initiator starts a new handshake when it sends. Milliseconds. */
export const REKEY_AFTER_TIME_MS = 120_000;
/** Paper 6.2. Past this age a keypair neither seals nor opens. Milliseconds. */
export const REJECT_AFTER_TIME_MS = 180_000;
/** Paper 6.4. For this long an initiation is repeated before the handshake is given up. Milliseconds. */
export const REKEY_ATTEMPT_TIME_MS = 90_000;
/** Paper 6.4. The time between two initiations to one peer, before jitter. Milliseconds. */
export const REKEY_TIMEOUT_MS = 5_000;
/** Paper 6.1. Linux: jitter added to a retransmission, exclusive bound. Milliseconds. */
export const REKEY_TIMEOUT_JITTER_MS = 334;
/** Paper 6.5. Silence after received data that a keepalive breaks. Milliseconds. */
export const KEEPALIVE_TIMEOUT_MS = 10_000;
/** Linux timers.c MAX_TIMER_HANDSHAKES: retries before giving up. */
export const MAX_HANDSHAKE_ATTEMPTS = REKEY_ATTEMPT_TIME_MS / REKEY_TIMEOUT_MS;
/** Paper 6.3. All keys of a peer are erased when no new ones came for this long. Milliseconds. */
export const ERASE_AFTER_TIME_MS = REJECT_AFTER_TIME_MS * 3;

/** Paper 5.4.7. The cookie secret changes this often. Milliseconds. */
export const COOKIE_SECRET_MAX_AGE_MS = 120_000;
/** Linux COOKIE_SECRET_LATENCY: a client stops using a cookie this much earlier. Milliseconds. */
export const COOKIE_LATENCY_MS = 5_000;
/** Linux INITIATIONS_PER_SECOND: at most so many initiations of one peer are consumed. Per second. */
export const INITIATIONS_PER_SECOND = 50;
