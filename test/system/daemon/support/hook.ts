// Telling a daemon of a fork that did not happen: to it there is no difference.
// Read on: ../../../../vmgenid/sources/ (the hook).

import { request } from 'node:http';

/** Resolves when every session of the old epoch is wiped. Each `number` is another generation. */
export async function announceFork(socketPath: string, number: number): Promise<void> {
  const { status } = await callHook(socketPath, { vmGenId: generationId(number) });
  if (status !== 200) throw new Error(`the hook said ${status}`);
}

export function generationId(number: number): string {
  return `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
}

/** Resolves with what the hook has answered. */
export function callHook(
  socketPath: string,
  body: object,
): Promise<{ readonly status: number | undefined; readonly body: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const post = request({ socketPath, path: '/fork', method: 'POST' }, response => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => (text += piece));
      response.on('end', () => resolve({ status: response.statusCode, body: JSON.parse(text) }));
    });
    post.on('error', reject);
    post.end(JSON.stringify(body));
  });
}
