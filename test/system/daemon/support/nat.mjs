// A home router for UDP, as small as can be: what one host sends to `inside` leaves for `to` from a port of the router's,
// and comes back. Every line on standard input gives it another port, as routers do after a while.
// Arguments: inside port, address and port to forward to.

import { createSocket } from 'node:dgram';

const [insidePort, toAddress, toPort] = process.argv.slice(2);
const inside = createSocket('udp4');
let client;
let outside;

function open() {
  outside?.close();
  outside = createSocket('udp4');
  outside.on('message', message => client && inside.send(message, client.port, client.address));
  outside.bind(0);
}

inside.on('message', (message, from) => {
  client = from;
  outside.send(message, Number(toPort), toAddress);
});
inside.bind(Number(insidePort), () => console.log('ready'));
open();
process.stdin.on('data', () => {
  open();
  console.log('moved');
});
process.stdin.on('end', () => process.exit());
