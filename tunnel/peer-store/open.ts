// Where the peers of a gateway are kept: by the place that its configuration names.

import { FilePeerStore, type FileStoreOptions } from '../../gateway/stores/file.js';
import type { PeerLookup, PeerStore } from '../../gateway/store.js';
import { HttpPeers } from './http.js';

/** Whether a place is a service that is asked, and no file. */
export function isServiceUrl(place: string): boolean {
  return /^https?:\/\//i.test(place);
}

/** A file, or a service at an `http://` or `https://` URL. Rejects as `FilePeerStore.open` and `HttpPeers` do. */
export async function openPeerStore(
  place: string,
  options: FileStoreOptions = {},
): Promise<PeerLookup | PeerStore> {
  return isServiceUrl(place) ? new HttpPeers(place) : FilePeerStore.open(place, options);
}
