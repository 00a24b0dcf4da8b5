// Variables in which whoever starts a daemon hands it descriptors.
// Read on: background.ts, rights.ts (our own first start), wireguard-go main.go.

/** The descriptor on which a daemon in the background says that it is ready, or why not. */
export const READY_FD = 'WIREONCE_READY_FD';
/** Descriptors that whoever starts us may have opened for us. */
export const INHERITED = ['WG_TUN_FD', 'WG_UAPI_FD'] as const;
