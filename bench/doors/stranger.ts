// Somebody without a key who floods a daemon: HOST PORT PUBLIC_KEY udp|websocket junk|initiations|stalled|idle SECONDS
// `stalled` and `idle` are 1,024 connections: each sends initiations and reads no answer, or sends nothing.
// Says how many messages it got rid of.

import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { blake2s } from '@noble/hashes/blake2.js';

/** One after the other, so that other programs of this machine have their turn. */
const BLOCK = 500;
const CONNECTIONS = 1_024;
/** Of a connection among many. */
const CROWD_BLOCK = 50;
const UPGRADE =
  'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';

const [host, port, key, way, kind, seconds] = process.argv.slice(2);
const mac1Key = blake2s(Buffer.concat([Buffer.from('mac1----'), Buffer.from(key, 'base64')]), { dkLen: 32 });
const messages = Array.from({ length: BLOCK }, (_, i) => (kind === 'junk' ? junk(i) : initiation(i)));
const end = performance.now() + Number(seconds) * 1_000;
let sent = 0;

if (way === 'udp') byUdp();
else if (kind === 'stalled' || kind === 'idle') byCrowd();
else byWebSocket();
setTimeout(() => {
  process.stdout.write(`${sent}\n`);
  process.exit();
}, Number(seconds) * 1_000);

/** Data of a session that does not exist. */
function junk(index: number): Buffer {
  const message = Buffer.alloc(32);
  message[0] = 4;
  message.writeUInt32LE(0xdead_beef, 4);
  message.writeUInt32LE(index, 8);
  return message;
}

/** Passes mac1, and authenticates nobody. */
function initiation(index: number): Buffer {
  const message = Buffer.alloc(148, 7);
  message.writeUInt32LE(1, 0);
  message.writeUInt32LE(index, 4);
  message.writeUInt32LE(index, 8);
  message.set(blake2s(message.subarray(0, 116), { key: mac1Key, dkLen: 16 }), 116);
  message.fill(0, 132);
  return message;
}

function frame(payload: Buffer): Buffer {
  const { length } = payload;
  const head = length < 126 ? [0x82, 0x80 | length] : [0x82, 0x80 | 126, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]);
}

function byUdp(): void {
  const socket = createSocket('udp4');
  const go = () => {
    if (performance.now() > end) return;
    let left = BLOCK;
    for (const message of messages) {
      socket.send(message, Number(port), host, () => {
        sent++;
        if (--left === 0) setImmediate(go);
      });
    }
  };
  go();
}

function byWebSocket(): void {
  const block = Buffer.concat(messages.map(frame));
  const socket = connect(Number(port), host);
  socket.write(UPGRADE);
  const go = () => {
    if (performance.now() > end || socket.destroyed) return;
    sent += BLOCK;
    if (socket.write(block)) setImmediate(go);
    else socket.once('drain', go);
  };
  socket.once('data', () => {
    socket.resume();
    go();
  });
}

function byCrowd(): void {
  const block = Buffer.concat(messages.slice(0, CROWD_BLOCK).map(frame));
  for (let i = 0; i < CONNECTIONS; i++) {
    const socket = connect(Number(port), host).on('error', () => {});
    socket.write(UPGRADE);
    socket.once('data', () => {
      socket.pause();
      if (kind === 'idle') return;
      const go = () => {
        if (performance.now() > end || socket.destroyed) return;
        sent += CROWD_BLOCK;
        if (socket.write(block)) setTimeout(go, 20);
        else socket.once('drain', go);
      };
      go();
    });
  }
}
