// Names of the suites that there are. A file of its own: whoever reads a setting need not load what it names.

/** `fastest` composes one of the parts of the others. */
export const SUITE_NAMES = ['fastest', 'ipsec-mb', 'openssl', 'sodium', 'noble'] as const;
