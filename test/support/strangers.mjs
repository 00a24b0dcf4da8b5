// Local users at a port, in a process of their own: connections that never ask for anything, or never stop asking.
// node strangers.mjs PORT KIND COUNT says `ready` over IPC when COUNT connections were made, and goes on until it is ended.

import { connect } from 'node:net';

const [port, kind, count] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4])];
/** What each sends when it is connected, and what it goes on sending. */
const KINDS = {
  silent: [],
  halfHead: ['POST /fork HTTP/1.1\r\nHost: x\r\nX-Slow: ', 'x'],
  // Each of them within the limits that a call has.
  slowBody: ['POST /fork HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n{', ' '],
  endlessBody: ['POST /fork HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n', `1000\r\n${'x'.repeat(4096)}\r\n`],
  wrongToken: ['POST /fork HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\nContent-Length: 2\r\n\r\n{}'],
  pipelined: ['GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2_000)],
  // Gone as soon as they are there, and there again.
  churn: [],
};
const [first, more] = KINDS[kind];
const AT_ONCE = 100;
let made = 0;

function open() {
  const socket = connect(port, '127.0.0.1');
  let again;
  const settled = () => {
    made++;
    if (made === count) process.send('ready');
    if (kind === 'churn' || made + AT_ONCE <= count) setImmediate(open);
  };
  socket.once('connect', () => {
    if (first) socket.write(first);
    if (more) again = setInterval(() => socket.writableLength < 65_536 && socket.write(more), 20);
    if (kind === 'churn') socket.resetAndDestroy();
    settled();
  });
  socket.once('error', () => {
    if (socket.connecting || socket.bytesRead + socket.bytesWritten === 0) settled();
  });
  socket.on('close', () => clearInterval(again));
  socket.resume();
}

process.on('disconnect', () => process.exit());
for (let i = 0; i < Math.min(AT_ONCE, count); i++) open();
