// Receives the full load and checks it. Says `ready`, then once a second a line of JSON: when, and the counts of each flow.
// What has come of a flow of datagrams is acknowledged now and then: the sender goes by that.
// Argument: the flows, as JSON (../load.ts).

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { DatagramCheck, StreamCheck } from './check.mjs';
import { join } from './udp-option.mjs';

const REPORT_MS = 1_000;
const RECORDS_PER_ACKNOWLEDGEMENT = 16;
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;

async function receiveStream({ flow, address, port }) {
  const check = new StreamCheck(flow);
  const server = createServer(socket => {
    socket.on('data', bytes => check.take(bytes));
    // The sender has gone: what it has sent until then is counted.
    socket.on('error', () => undefined);
  });
  server.listen(port, address);
  await once(server, 'listening');
  return check;
}

async function receiveDatagrams({ kind, flow, address, port }) {
  const check = new DatagramCheck(flow);
  const type = address.includes(':') ? 'udp6' : 'udp4';
  const socket = createSocket({ type, recvBufferSize: RECEIVE_BUFFER_BYTES });
  const acknowledgement = Buffer.alloc(6);
  let acknowledged = 0;
  socket.on('message', (bytes, from) => {
    check.take(bytes);
    if (check.next - acknowledged < RECORDS_PER_ACKNOWLEDGEMENT) return;
    acknowledged = check.next;
    acknowledgement.writeUIntLE(acknowledged, 0, 6);
    socket.send(acknowledgement, from.port, from.address);
  });
  socket.bind(port, address);
  await once(socket, 'listening');
  if (kind === 'segments') join(socket);
  return check;
}

const checks = [];
for (const flow of JSON.parse(process.argv[2])) {
  checks.push(await (flow.kind === 'stream' ? receiveStream(flow) : receiveDatagrams(flow)));
}
console.log('ready');
setInterval(() => {
  console.log(JSON.stringify({ atMs: performance.now(), flows: checks.map(({ counts }) => counts) }));
}, REPORT_MS);
