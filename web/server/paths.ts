// Where the page of `wireonce status --web` asks; live-status.ts answers.

/** Gives the pass for the token, once. */
export const PASS_PATH = '/pass';
/** Gives pictures, for as long as anybody listens. */
export const PICTURES_PATH = '/pictures';
