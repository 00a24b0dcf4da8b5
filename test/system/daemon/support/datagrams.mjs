// Sends datagrams as fast as they are given to it: HOST PORT LENGTH, and datagrams of that length on standard input.

import { createSocket } from 'node:dgram';

const [host, port, length] = process.argv.slice(2);
const socket = createSocket('udp4');
let rest = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  rest = Buffer.concat([rest, chunk]);
  for (; rest.length >= Number(length); rest = rest.subarray(Number(length))) {
    const datagram = Buffer.from(rest.subarray(0, Number(length)));
    await new Promise(resolve => socket.send(datagram, Number(port), host, resolve));
  }
}
socket.close();
process.stdout.write('sent\n');
