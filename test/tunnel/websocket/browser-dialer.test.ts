import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { UdpEndpoint } from '../../../tunnel/endpoint.js';
import {
  BrowserDialer,
  type BrowserDialerOptions,
  type PageSocket,
} from '../../../tunnel/websocket/browser-dialer.js';
import { MAX_MESSAGE_BYTES } from '../../../tunnel/websocket/limits.js';

/** A WebSocket of a page whose other end is the test. */
class FakeSocket implements PageSocket {
  static made: FakeSocket[] = [];
  binaryType = 'blob';
  bufferedAmount = 0;
  readonly #listeners = new Map<string, Parameters<PageSocket['addEventListener']>[1]>();
  readonly sent: string[] = [];
  readonly closedWith: (number | undefined)[] = [];

  readonly url: string;

  constructor(url: string) {
    this.url = url;
    FakeSocket.made.push(this);
  }

  addEventListener(...[type, listener]: Parameters<PageSocket['addEventListener']>): void {
    this.#listeners.set(type, listener);
  }

  /** What the page hears of it. */
  emit(type: 'open' | 'message' | 'close', event: { data?: unknown; code?: number } = {}): void {
    this.#listeners.get(type)?.(event);
  }

  send(data: Uint8Array<ArrayBuffer>): void {
    this.sent.push(Buffer.from(data).toString());
  }

  close(code?: number): void {
    this.closedWith.push(code);
  }
}

const randomness = { fresh: true, fill: () => {}, uint32: () => 0, below: () => 0, isFresh: () => true };
const bytes = (text: string) => Buffer.from(text);
const sockets = () => FakeSocket.made;
const last = () => sockets().at(-1) as FakeSocket;

let dialer: BrowserDialer;
let errors: string[];

function make(options: Partial<BrowserDialerOptions> = {}): BrowserDialer {
  dialer = new BrowserDialer('wss://example.net/way', { randomness, WebSocket: FakeSocket, ...options });
  dialer.onError = ({ message }) => errors.push(message);
  return dialer;
}

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.made = [];
  errors = [];
});
afterEach(async () => {
  await dialer.close();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

test('carries datagrams both ways, one message each, and its endpoint stays the same', () => {
  make();
  dialer.start();
  expect(last()).toMatchObject({ url: 'wss://example.net/way', binaryType: 'arraybuffer' });
  const got: unknown[] = [];
  dialer.onDatagram = (datagram, from) => got.push([Buffer.from(datagram).toString(), from]);
  last().emit('open');
  expect(dialer.isOpen).toBe(true);
  const used = bytes('one');
  expect(dialer.send(used, dialer.endpoint)).toBe(true);
  last().emit('message', { data: new Uint8Array(bytes('answer')).buffer });
  expect(last().sent).toEqual(['one']);
  expect(got).toEqual([['answer', dialer.endpoint]]);
  expect(dialer.counters).toMatchObject({ sent: 1, received: 1 });
});

test('keeps the first datagrams while it dials, the oldest of too many gives way', () => {
  make();
  dialer.start();
  for (let i = 0; i < 10; i++) expect(dialer.send(bytes(`${i}`), dialer.endpoint)).toBe(true);
  expect(last().sent).toEqual([]);
  last().emit('open');
  expect(last().sent).toEqual(['2', '3', '4', '5', '6', '7', '8', '9']);
  expect(dialer.counters.dropped.queueFull).toBe(2);
});

test('drops, and counts, what it cannot carry', async () => {
  make({ maxQueuedBytes: 10 });
  expect(dialer.send(bytes('x'), dialer.endpoint)).toBe(false);
  dialer.start();
  last().emit('open');
  const elsewhere = UdpEndpoint.of('192.0.2.1', 1);
  expect(dialer.send(bytes('x'), elsewhere)).toBe(false);
  expect(dialer.send(bytes(''), dialer.endpoint)).toBe(false);
  expect(dialer.send(new Uint8Array(MAX_MESSAGE_BYTES + 1), dialer.endpoint)).toBe(false);
  last().bufferedAmount = 10;
  expect(dialer.send(bytes('x'), dialer.endpoint)).toBe(false);
  dialer.isHeld = () => true;
  expect(dialer.send(bytes('x'), dialer.endpoint)).toBe(false);
  await dialer.close();
  expect(dialer.send(bytes('x'), dialer.endpoint)).toBe(false);
  const dropped = { notConnected: 1, notOurs: 1, badLength: 2, queueFull: 1, held: 1, closed: 1 };
  expect(dialer.counters.dropped).toMatchObject(dropped);
  expect(last().sent).toEqual([]);
});

test('dials anew after waits that grow, and that are short again after a good connection', () => {
  make({ minBackoffMs: 100, maxBackoffMs: 400, handshakeTimeoutMs: 1_000 });
  dialer.start();
  const waits: number[] = [];
  const refuse = () => {
    const [before, at] = [sockets().length, Date.now()];
    last().emit('close', { code: 1006 });
    while (sockets().length === before) vi.advanceTimersByTime(1);
    waits.push(Date.now() - at);
  };
  for (let i = 0; i < 4; i++) refuse();
  last().emit('open');
  last().emit('message', { data: new ArrayBuffer(1) });
  refuse();
  expect(waits).toEqual([50, 100, 200, 200, 50]);
  expect(errors).toHaveLength(5);
  // An attempt that nobody answers is one that failed.
  vi.advanceTimersByTime(1_000 + 100);
  expect(errors.at(-1)).toContain('no answer within 1000 ms');
  expect(sockets()).toHaveLength(7);
});

test('a message that is no datagram ends the connection', () => {
  make();
  for (const data of ['text', new ArrayBuffer(0)]) {
    dialer.start();
    last().emit('open');
    last().emit('message', { data });
    expect(dialer.isOpen).toBe(false);
    vi.advanceTimersByTime(60_000);
  }
  expect(dialer.counters.dropped.malformed).toBe(2);
  expect(dialer.counters.received).toBe(0);
});

test('after a fork nothing of the old connection is heard, and it dials when this clone has numbers of its own', () => {
  let fresh = false;
  make({ randomness: { ...randomness, isFresh: () => fresh } });
  fresh = true;
  dialer.start();
  const old = last();
  old.emit('open');
  fresh = false;
  dialer.dropAll();
  expect(old.closedWith).toEqual([1000]);
  old.emit('message', { data: new ArrayBuffer(1) });
  old.emit('close', { code: 1000 });
  expect(dialer.counters.received).toBe(0);
  expect(errors).toEqual([]);
  vi.advanceTimersByTime(10_000);
  expect(sockets()).toHaveLength(1);
  fresh = true;
  vi.advanceTimersByTime(20);
  expect(sockets()).toHaveLength(2);
});

test('on hold it neither dials nor uses a connection that the hold has overtaken', () => {
  make();
  let held = true;
  dialer.isHeld = () => held;
  dialer.start();
  vi.advanceTimersByTime(10_000);
  expect(sockets()).toHaveLength(0);
  held = false;
  vi.advanceTimersByTime(1_000);
  expect(sockets()).toHaveLength(1);
  dialer.send(bytes('staged'), dialer.endpoint);
  held = true;
  last().emit('open');
  expect(dialer.isOpen).toBe(false);
  expect(last().sent).toEqual([]);
  held = false;
  vi.advanceTimersByTime(1_000);
  expect(sockets()).toHaveLength(2);
});

test('what a page refuses to dial is told, and tried again', () => {
  let refusals = 0;
  class Refusing extends FakeSocket {
    constructor(url: string) {
      if (refusals++ === 0) throw new Error('an insecure connection may not be initiated');
      super(url);
    }
  }
  make({ WebSocket: Refusing });
  dialer.start();
  expect(errors).toEqual([expect.stringContaining('may not be initiated')]);
  vi.advanceTimersByTime(250);
  expect(sockets()).toHaveLength(1);
});

test('dials nothing after it was closed', async () => {
  make();
  dialer.start();
  await dialer.close();
  dialer.start();
  dialer.dropAll();
  vi.advanceTimersByTime(60_000);
  expect(sockets()).toHaveLength(1);
});
