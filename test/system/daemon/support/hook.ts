// Telling a daemon of a fork that did not happen: to it there is no difference.
// Read on: ../../../../vmgenid/sources/ (the hook).

import { request } from 'node:http';

/** Resolves when every session of the old epoch is wiped. Each `number` is another generation. */
export function announceFork(socketPath: string, number: number): Promise<void> {
  const vmGenId = `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
  return new Promise((resolve, reject) => {
    const post = request({ socketPath, path: '/fork', method: 'POST' }, response => {
      response.resume();
      if (response.statusCode === 200) resolve();
      else reject(new Error(`the hook said ${response.statusCode}`));
    });
    post.on('error', reject);
    post.end(JSON.stringify({ vmGenId }));
  });
}
