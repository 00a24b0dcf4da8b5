// The URLs that a WebSocket may be dialled at.

/** The parsed URL, or `undefined` unless it is `ws:` or `wss:`, with a host and without a fragment. */
export function parseWebSocketUrl(text: string): URL | undefined {
  if (!/^wss?:\/\//i.test(text) || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  return url.hostname === '' || url.hash !== '' || text.includes('#') || url.port === '0' ? undefined : url;
}

/**
 * A URL for others to see: without the user name and the password that it may hold, and its query, where
 * tokens stand.
 */
export function withoutCredentials(url: string): string {
  const shown = new URL(url);
  shown.username = '';
  shown.password = '';
  if (shown.search !== '') shown.search = '...';
  return shown.href;
}
