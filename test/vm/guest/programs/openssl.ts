// A program that draws on OpenSSL by all its names in JavaScript, in this thread and in a Worker, at the first instant
// at which it knows that its machine was forked.

import { generateKeyPairSync, getRandomValues, randomBytes, randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type Server, createServer, type AddressInfo } from 'node:net';
import { connect } from 'node:tls';
import { Worker } from 'node:worker_threads';
import { ForkClock, openCrng, readRtc } from '../../../../tunnel/index.js';
import { openVmGenId } from '../../../../vmgenid/index.js';
import { serve } from '../serve.js';

/** Where a TLS ClientHello has its 32 random bytes: behind the record's and the message's header, and the version. */
const HELLO_RANDOM_AT = 11;
const HELLO_RANDOM_BYTES = 32;
const DRAWS = 20;

export interface Drawn {
  /** By the name of what was called: its outputs, in order. */
  readonly draws: Readonly<Record<string, readonly string[]>>;
  readonly kernelReseeded: boolean;
  readonly clock: { readonly systemMs: number; readonly wallMs: number; readonly rtcMs: number | undefined };
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

const SYNCHRONOUS: Readonly<Record<string, () => string>> = {
  randomBytes: () => hex(randomBytes(16)),
  getRandomValues: () => hex(getRandomValues(new Uint8Array(16))),
  randomUUID: () => randomUUID(),
  randomInt: () => String(randomInt(2 ** 47)),
  x25519: () => hex(generateKeyPairSync('x25519').publicKey.export({ type: 'spki', format: 'der' })),
  mathRandom: () => String(Math.random()),
};

function drawAll(): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(SYNCHRONOUS).map(([name, draw]) => [name, Array.from({ length: DRAWS }, draw)]),
  );
}

/** The random bytes of a TLS handshake that is begun now. */
async function helloRandom(server: Server): Promise<string> {
  const { port } = server.address() as AddressInfo;
  const client = connect({ host: '127.0.0.1', port }).on('error', () => undefined);
  const [socket] = await once(server, 'connection');
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  return hello.toString('hex', HELLO_RANDOM_AT, HELLO_RANDOM_AT + HELLO_RANDOM_BYTES);
}

async function askWorker(worker: Worker): Promise<Record<string, string>> {
  worker.postMessage(undefined);
  return ((await once(worker, 'message')) as [Record<string, string>])[0];
}

let result: Promise<Drawn> | undefined;

async function open({ heal }: { readonly heal: boolean }): Promise<string> {
  const vmgenid = await openVmGenId();
  const { openssl } = await openCrng({ vmgenid, healOpenSsl: heal });
  const clock = new ForkClock({ vmgenid });
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const worker = new Worker(new URL('./openssl-worker.js', import.meta.url), {
    workerData: { follow: heal },
  });
  // Everything has been used once, so that nothing is made in the clone that both could not have had before.
  drawAll();
  await helloRandom(server);
  await askWorker(worker);

  const forked = new Promise<Drawn['draws']>(resolve => {
    vmgenid.register('application', () => resolve(drawAll()));
  });
  const look = () => {
    vmgenid.check();
    setImmediate(look);
  };
  look();
  result = forked.then(async draws => {
    const tls: string[] = [];
    for (let i = 0; i < 3; i++) tls.push(await helloRandom(server));
    const inWorker = await askWorker(worker);
    const system = Date.now();
    const { kernelReseeded } = vmgenid.evidence;
    return {
      draws: {
        ...draws,
        tls,
        ...Object.fromEntries(
          Object.entries(inWorker).map(([name, value]) => [`${name} in a Worker`, [value]]),
        ),
      },
      kernelReseeded,
      clock: { systemMs: system, wallMs: clock.wallClock(), rtcMs: readRtc() },
    };
  });
  return openssl.reason ?? 'healed';
}

serve({ open, drawn: () => result });
