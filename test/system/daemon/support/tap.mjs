// A relay that remembers under which receiver index data passed, in which order: what an eavesdropper knows of keys.
// `to` is where the daemon behind it listens; whoever sends to `port` first is the other side.
// Arguments: port, address and port of the daemon behind it. A line on standard input has it print what it has seen.

import { createSocket } from 'node:dgram';

const TRANSPORT_DATA = 4;
const [port, toAddress, toPort] = process.argv.slice(2);
const outside = createSocket('udp4');
const inside = createSocket('udp4');
let client;
/** Runs of data messages of one direction under one receiver index, in order. */
const seen = { out: [], back: [] };

function note(runs, message) {
  if (message[0] !== TRANSPORT_DATA) return;
  const index = message.readUInt32LE(4);
  const now = performance.now();
  const last = runs.at(-1);
  if (last?.index === index) {
    last.count++;
    last.lastMs = now;
  } else runs.push({ index, count: 1, firstMs: now, lastMs: now });
}

outside.on('message', (message, from) => {
  client = from;
  note(seen.out, message);
  inside.send(message, Number(toPort), toAddress);
});
inside.on('message', message => {
  note(seen.back, message);
  if (client) outside.send(message, client.port, client.address);
});
inside.bind(0);
outside.bind(Number(port), () => console.log('ready'));
process.stdin.on('data', () => console.log(JSON.stringify(seen)));
process.stdin.on('end', () => process.exit());
