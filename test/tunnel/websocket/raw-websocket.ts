// A WebSocket client made of a TCP socket, to send what no proper client sends and to see every byte that comes.

import { connect, type Socket } from 'node:net';
import { vi } from 'vitest';

export const UPGRADE =
  'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

const open: Socket[] = [];

export class RawClient {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  ended = false;

  constructor(port: number, first: string | Uint8Array = UPGRADE) {
    this.socket = connect(port, '127.0.0.1');
    open.push(this.socket);
    this.socket.on('data', chunk => (this.received = Buffer.concat([this.received, chunk])));
    this.socket.on('error', () => {});
    this.socket.on('close', () => (this.ended = true));
    if (first.length > 0) this.socket.write(first);
  }

  /** Resolves to what was received once it holds the answer to the upgrade. */
  async upgraded(): Promise<this> {
    await until(() => this.received.includes('\r\n\r\n'));
    return this;
  }

  get status(): string {
    return this.received.toString('latin1').split('\r\n', 1)[0];
  }

  /** What came after the HTTP answer. */
  get frames(): Buffer {
    return this.received.subarray(this.received.indexOf('\r\n\r\n') + 4);
  }

  /** The code of the close frame, if one came first. */
  get closeCode(): number | undefined {
    return this.frames[0] === 0x88 && this.frames.length >= 4 ? this.frames.readUInt16BE(2) : undefined;
  }
}

/** A masked frame. `length` overrides what the header says. */
export function frame(opcode: number, payload: Uint8Array, length = payload.length): Buffer {
  const header = Buffer.alloc(14);
  header[0] = 0x80 | opcode;
  header[1] = 0x80 | 127;
  header.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([header, payload]);
}

export function destroyRawClients(): void {
  for (const socket of open.splice(0)) socket.destroy();
}

export async function until(condition: () => boolean): Promise<void> {
  await vi.waitFor(
    () => {
      if (!condition()) throw new Error('not yet');
    },
    { timeout: 20_000, interval: 5 },
  );
}
