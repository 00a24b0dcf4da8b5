// A Worker that draws on OpenSSL, and is told of healing or not.

import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { followOpenSslHealing } from '../../../../crng/index.js';

if ((workerData as { follow: boolean }).follow) followOpenSslHealing();
parentPort?.on('message', () => {
  parentPort?.postMessage({
    randomBytes: randomBytes(16).toString('hex'),
    randomUUID: randomUUID(),
    randomInt: String(randomInt(2 ** 47)),
  });
});
