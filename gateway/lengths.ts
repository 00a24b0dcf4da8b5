// Lengths of what an enrolment is told, for whoever reads a configuration and derives nothing.

/** Bytes of an enrolment secret. */
export const ENROLMENT_SECRET_BYTES = 32;
/** Bytes of the prefix that all addresses of an enrolment share: a /64 of IPv6. */
export const PREFIX_BYTES = 8;
