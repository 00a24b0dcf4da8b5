// Somebody without a key, at a daemon's WebSocket port: HOST PORT PUBLIC_KEY KIND CONNECTIONS
// Says "begun" when all of them are connected, and goes on until it is ended. `upgrade` asks once and says the answer.

import net from 'node:net';
import { blake2s } from '@noble/hashes/blake2.js';

const [host, port, key, kind, count] = process.argv.slice(2);
const connections = Number(count);
const mac1Key = blake2s(Buffer.concat([Buffer.from('mac1----'), Buffer.from(key, 'base64')]), { dkLen: 32 });

const UPGRADE =
  'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';
const BINARY = 0x82;
const PING = 0x89;

/** One frame whose mask is zeros. */
function frame(payload, opcode = BINARY) {
  const { length } = payload;
  const head = length < 126 ? [opcode, 0x80 | length] : [opcode, 0x80 | 126, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]);
}

/** Passes mac1, and authenticates nobody. */
function initiation(index) {
  const message = Buffer.alloc(148, 7);
  message.writeUInt32LE(1, 0);
  message.writeUInt32LE(index, 4);
  message.writeUInt32LE(index, 8);
  Buffer.from(blake2s(message.subarray(0, 116), { key: mac1Key, dkLen: 16 })).copy(message, 116);
  message.fill(0, 132);
  return message;
}

/** Data of a session that does not exist. */
function junk(counter) {
  const message = Buffer.alloc(32);
  message[0] = 4;
  message.writeUInt32LE(0xdeadbeef, 4);
  message.writeUInt32LE(counter, 8);
  return message;
}

const FRAMES = {
  junk: i => frame(junk(i)),
  initiation: i => frame(initiation(i)),
  stalled: i => frame(initiation(i)),
  answered: i => frame(initiation(i)),
  ping: () => frame(Buffer.alloc(0), PING),
  // A message in as many pieces as are taken.
  fragments: () =>
    Buffer.concat(
      Array.from({ length: 16 }, (_, i) => frame(Buffer.of(i), (i === 15 ? 0x80 : 0) | (i === 0 ? 2 : 0))),
    ),
};

const block = FRAMES[kind] && Buffer.concat(Array.from({ length: 500 }, (_, i) => FRAMES[kind](i)));
let begun = 0;

function begin() {
  if (++begun === connections) process.stdout.write('begun\n');
}

function flood(socket) {
  if (socket.destroyed) return;
  if (socket.write(block)) setTimeout(flood, 1, socket);
  else socket.once('drain', () => flood(socket));
}

function open() {
  const socket = net.connect(Number(port), host);
  socket.on('error', () => {});
  // Who is put out comes again.
  socket.on('close', () => setTimeout(open, 500));
  socket.once('connect', begin);
  if (kind === 'silent') return;
  socket.write(UPGRADE);
  socket.once('data', () => {
    if (kind === 'stalled') socket.pause();
    else socket.resume();
    if (kind === 'answered') socket.write(FRAMES.answered(begun));
    else flood(socket);
  });
}

if (kind === 'upgrade') {
  const socket = net.connect(Number(port), host, () => socket.write(UPGRADE));
  socket.on('error', error => {
    process.stderr.write(`${error.code}\n`);
    process.exit(1);
  });
  socket.on('close', () => process.exit(1));
  socket.once('data', data => {
    process.stdout.write(`${data.toString('latin1').split('\r\n', 1)[0]}\n`);
    process.exit(0);
  });
} else for (let i = 0; i < connections; i++) open();
