import { createHash } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Randomness } from '../../../crng/randomness.js';
import type { Endpoint } from '../../../sessions/ports.js';
import { UdpEndpoint, WebSocketEndpoint } from '../../../tunnel/endpoint.js';
import type { TunnelError } from '../../../tunnel/errors.js';
import {
  type DialerState,
  MAX_MESSAGE_BYTES,
  WebSocketDialer,
  type WebSocketDialerOptions,
  WebSocketListener,
  type WebSocketListenerOptions,
} from '../../../tunnel/websocket/index.js';
import { SimulationRandom } from '../../support/simulation-random.js';
import { LOOPBACK_CERT, LOOPBACK_KEY } from './loopback-tls.js';
import { destroyRawClients, frame, RawClient, until } from './raw-websocket.js';

const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  destroyRawClients();
  for (const close of closers.splice(0).reverse()) await close();
});

class TestRandomness implements Randomness {
  readonly #random = new SimulationRandom(1);
  fresh = true;
  readonly filled: Buffer[] = [];

  fill(into: Uint8Array): void {
    if (!this.fresh) throw new Error('ERR_CRNG_NOT_FRESH');
    for (let i = 0; i < into.length; i++) into[i] = this.#random.uint32();
    this.filled.push(Buffer.from(into));
  }

  uint32(): number {
    if (!this.fresh) throw new Error('ERR_CRNG_NOT_FRESH');
    return this.#random.uint32();
  }

  below(bound: number): number {
    return this.uint32() % bound;
  }

  isFresh(): boolean {
    return this.fresh;
  }
}

async function listen(options: WebSocketListenerOptions = {}): Promise<WebSocketListener> {
  const listener = await WebSocketListener.listen({
    ...(!options.server && { host: '127.0.0.1' }),
    ...options,
  });
  closers.push(() => listener.close());
  return listener;
}

function newDialer(target: number | string, options: Partial<WebSocketDialerOptions> = {}): WebSocketDialer {
  const url = typeof target === 'string' ? target : `ws://127.0.0.1:${target}/`;
  const dialer = new WebSocketDialer(url, { randomness: new TestRandomness(), minBackoffMs: 5, ...options });
  closers.push(() => dialer.close());
  return dialer;
}

async function dial(target: number | string, options: Partial<WebSocketDialerOptions> = {}) {
  const dialer = newDialer(target, options);
  dialer.start();
  await dialer.whenOpen();
  return dialer;
}

/** A TCP server on loopback that hands over each connection. */
async function tcpServer(onConnection: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer(socket => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise(resolve => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** Answers an upgrade as a server does (RFC 6455 section 4.2.2). */
function accept(socket: Socket, key: string): void {
  const answer = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${answer}\r\n\r\n`,
  );
}

/** What arrives at a transport, as [text, endpoint]. */
function collect(transport: WebSocketListener | WebSocketDialer): [string, Endpoint][] {
  const got: [string, Endpoint][] = [];
  transport.onDatagram = (datagram, from) => got.push([Buffer.from(datagram).toString(), from]);
  return got;
}

const bytes = (text: string) => Buffer.from(text);
const newPort = () =>
  tcpServer(() => {}).then(async port => {
    await closers.pop()?.();
    return port;
  });

describe('datagrams over WebSockets', () => {
  test('go both ways, one message each, between endpoints that stay the same', async () => {
    const listener = await listen();
    const dialer = await dial(listener.port);
    const [atListener, atDialer] = [collect(listener), collect(dialer)];
    for (const text of ['one', 'two']) expect(dialer.send(bytes(text), dialer.endpoint)).toBe(true);
    await until(() => atListener.length === 2);
    const from = atListener[0][1];
    expect(atListener).toEqual([
      ['one', from],
      ['two', from],
    ]);
    expect(from.ip).toEqual(Uint8Array.of(127, 0, 0, 1));
    expect(listener.owns(from)).toBe(true);
    expect(listener.send(bytes('answer'), from)).toBe(true);
    await until(() => atDialer.length === 1);
    expect(atDialer).toEqual([['answer', dialer.endpoint]]);
    expect([dialer.endpoint.ip, dialer.endpoint.port]).toEqual([Uint8Array.of(127, 0, 0, 1), listener.port]);
    expect(listener.counters).toMatchObject({ sent: 1, received: 2 });
    expect(listener.localAddresses).toEqual([`127.0.0.1:${listener.port}`]);
  });

  test('the longest message passes, one byte more is dropped before it is sent', async () => {
    const listener = await listen();
    const dialer = await dial(listener.port);
    const lengths: number[] = [];
    listener.onDatagram = datagram => lengths.push(datagram.length);
    expect(dialer.send(new Uint8Array(MAX_MESSAGE_BYTES + 1), dialer.endpoint)).toBe(false);
    expect(dialer.send(new Uint8Array(0), dialer.endpoint)).toBe(false);
    expect(dialer.send(new Uint8Array(MAX_MESSAGE_BYTES), dialer.endpoint)).toBe(true);
    await until(() => lengths.length === 1);
    expect(lengths).toEqual([MAX_MESSAGE_BYTES]);
    expect(dialer.counters.dropped.badLength).toBe(2);
  });

  test('the caller may use its buffer again when send returns, at both ends', async () => {
    const listener = await listen();
    const dialer = await dial(listener.port);
    const [atListener, atDialer] = [collect(listener), collect(dialer)];
    const buffer = Buffer.alloc(4);
    const texts = Array.from({ length: 50 }, (_, i) => String(1000 + i));
    for (const text of texts) {
      buffer.write(text);
      dialer.send(buffer, dialer.endpoint);
    }
    buffer.fill(0);
    await until(() => atListener.length === 50);
    expect(atListener.map(([text]) => text)).toEqual(texts);
    for (const text of texts) {
      buffer.write(text);
      listener.send(buffer, atListener[0][1]);
    }
    buffer.fill(0);
    await until(() => atDialer.length === 50);
    expect(atDialer.map(([text]) => text)).toEqual(texts);
  });

  test('go over TLS on a server of the caller, at a path, beside other requests', async () => {
    const server = createSecureServer({ key: LOOPBACK_KEY, cert: LOOPBACK_CERT }, (_, response) =>
      response.end(),
    );
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    closers.push(() => new Promise(resolve => server.close(resolve)));
    const listener = await listen({ server, path: '/tunnel' });
    const url = `wss://127.0.0.1:${listener.port}/tunnel?token=1`;
    const dialer = await dial(url, { tls: { ca: LOOPBACK_CERT } });
    const got = collect(listener);
    dialer.send(bytes('sealed twice'), dialer.endpoint);
    await until(() => got.length === 1);

    // A certificate that nobody vouches for is an error that says so, and no connection.
    const stranger = newDialer(url);
    const errors: TunnelError[] = [];
    stranger.onError = error => errors.push(error);
    stranger.start();
    await until(() => errors.length >= 2);
    expect(errors[0]).toMatchObject({
      code: 'ERR_WEBSOCKET_DIAL',
      message: expect.stringMatching(/self-signed/),
    });
    expect(listener.connections).toBe(1);

    // The server goes on when the listener is closed.
    await stranger.close();
    await listener.close();
    expect(server.listening).toBe(true);
  });

  test('a datagram sent while the dial runs goes out when it is open; the ninth pushes out the first', async () => {
    const listener = await listen();
    const got = collect(listener);
    const dialer = newDialer(listener.port);
    expect(dialer.send(bytes('early'), dialer.endpoint)).toBe(false);
    dialer.start();
    for (let i = 1; i <= 9; i++) expect(dialer.send(bytes(`${i}`), dialer.endpoint)).toBe(true);
    await until(() => got.length === 8);
    expect(got.map(([text]) => text)).toEqual(['2', '3', '4', '5', '6', '7', '8', '9']);
    expect(dialer.counters.dropped).toMatchObject({ notConnected: 1, queueFull: 1 });
  });

  test('what is not for it is refused by value', async () => {
    const listener = await listen();
    const dialer = await dial(listener.port);
    const elsewhere = UdpEndpoint.of('127.0.0.1', 9);
    expect(dialer.send(bytes('x'), elsewhere)).toBe(false);
    expect(listener.send(bytes('x'), elsewhere)).toBe(false);
    expect(listener.send(bytes('x'), WebSocketEndpoint.accepted('127.0.0.1', 9))).toBe(false);
    await dialer.close();
    await listener.close();
    expect(dialer.send(bytes('x'), dialer.endpoint)).toBe(false);
    expect(listener.send(bytes('x'), elsewhere)).toBe(false);
    expect(dialer.counters.dropped).toMatchObject({ notOurs: 1, closed: 1 });
    expect(listener.counters.dropped).toMatchObject({ notOurs: 1, notConnected: 1, closed: 1 });
    expect(dialer.owns(dialer.endpoint)).toBe(true);
    expect(listener.owns(dialer.endpoint)).toBe(false);
  });

  test('a client that does not read costs no more than the limit', async () => {
    const listener = await listen({ maxQueuedBytes: 100_000 });
    const got = collect(listener);
    const client = await new RawClient(listener.port).upgraded();
    client.socket.write(frame(2, bytes('hello')));
    await until(() => got.length === 1);
    client.socket.pause();
    const [[, to]] = got;
    const datagram = new Uint8Array(60_000);
    // The system takes a few megabytes before anything waits here.
    for (let i = 0; i < 1_000 && listener.counters.dropped.queueFull === 0; i++) {
      listener.send(datagram, to);
      await new Promise(resolve => setImmediate(resolve));
    }
    expect(listener.counters.dropped.queueFull).toBeGreaterThan(0);
    expect(listener.send(datagram, to)).toBe(false);
  });
});

describe('randomness', () => {
  test('frame masks are what the given generator filled', async () => {
    const randomness = new TestRandomness();
    let received = Buffer.alloc(0);
    const port = await tcpServer(socket => {
      socket.on('data', chunk => {
        received = Buffer.concat([received, chunk]);
        const key = /Sec-WebSocket-Key: (.*)\r\n/i.exec(received.toString('latin1'))?.[1];
        if (key && received.subarray(-4).toString() === '\r\n\r\n') {
          received = Buffer.alloc(0);
          accept(socket, key);
        }
      });
    });
    const dialer = await dial(port, { randomness });
    dialer.send(bytes('abcd'), dialer.endpoint);
    await until(() => received.length === 10);
    const mask = received.subarray(2, 6);
    expect(randomness.filled).toEqual([mask]);
    expect(received.subarray(6).map((byte, i) => byte ^ mask[i])).toEqual(Buffer.from('abcd'));
  });

  test('while it is not fresh, datagrams are dropped, and answers to pings do not end the process', async () => {
    const randomness = new TestRandomness();
    const listener = await listen({ pingIntervalMs: 5 });
    const dialer = await dial(listener.port, { randomness });
    const got = collect(listener);
    randomness.fresh = false;
    expect(dialer.send(bytes('x'), dialer.endpoint)).toBe(false);
    expect(dialer.counters.dropped.noRandomness).toBe(1);
    await new Promise(resolve => setTimeout(resolve, 50));
    expect(dialer.state).toBe('open');
    randomness.fresh = true;
    dialer.send(bytes('y'), dialer.endpoint);
    await until(() => got.length === 1);
  });

  test('while it is not fresh nothing is dialled: not at first, not after a fork', async () => {
    let connections = 0;
    const port = await tcpServer(socket => {
      connections++;
      socket.once('data', head => accept(socket, /Key: (.*)\r\n/i.exec(head.toString('latin1'))?.[1] ?? ''));
    });
    const randomness = new TestRandomness();
    randomness.fresh = false;
    const dialer = newDialer(port, { randomness });
    dialer.start();
    expect(dialer.state).toBe('waiting');
    await new Promise(resolve => setTimeout(resolve, 50));
    expect(connections).toBe(0);
    randomness.fresh = true;
    await dialer.whenOpen();
    randomness.fresh = false;
    dialer.dropAll('fork');
    expect(dialer.state).toBe('waiting');
    await new Promise(resolve => setTimeout(resolve, 50));
    expect(connections).toBe(1);
    randomness.fresh = true;
    await dialer.whenOpen();
    expect(connections).toBe(2);
  });
});

describe('reconnection', () => {
  test('a server that comes back is found again, and the endpoint is the same', async () => {
    const first = await listen();
    const { port } = first;
    const dialer = await dial(port);
    const states: DialerState[] = [];
    dialer.onState = state => states.push(state);
    await first.close();
    await until(() => states.includes('waiting'));
    expect(dialer.send(bytes('lost'), dialer.endpoint)).toBe(false);
    const got = collect(await listen({ port }));
    await dialer.whenOpen();
    dialer.send(bytes('again'), dialer.endpoint);
    await until(() => got.length === 1);
    expect(states.at(-1)).toBe('open');
  });

  test('the waits double up to the longest, also when a server accepts and hangs up, with jitter from outside', async () => {
    const listener = await listen();
    const timeouts = vi.spyOn(globalThis, 'setTimeout');
    const dialer = newDialer(listener.port, { random: () => 0.5, minBackoffMs: 8, maxBackoffMs: 50 });
    let opened = 0;
    dialer.onState = state => {
      if (state === 'open' && ++opened <= 5) setImmediate(() => listener.dropAll());
    };
    dialer.start();
    await until(() => opened === 5 && dialer.state === 'waiting');
    const waits = timeouts.mock.calls
      .map(([, ms]) => ms)
      .filter(ms => [6, 12, 24, 37.5].includes(ms as number));
    expect(waits.slice(0, 5)).toEqual([6, 12, 24, 37.5, 37.5]);
  });

  test('a datagram from the server makes the waits short again', async () => {
    const listener = await listen();
    const got = collect(listener);
    const timeouts = vi.spyOn(globalThis, 'setTimeout');
    const dialer = newDialer(listener.port, { random: () => 0, minBackoffMs: 14, maxBackoffMs: 60_000 });
    const answered = collect(dialer);
    dialer.start();
    for (let i = 1; i <= 3; i++) {
      await dialer.whenOpen();
      dialer.send(bytes('x'), dialer.endpoint);
      await until(() => got.length === i);
      listener.send(bytes('y'), got[i - 1][1]);
      await until(() => answered.length === i);
      listener.dropAll();
      await until(() => dialer.state !== 'open');
    }
    expect(timeouts.mock.calls.filter(([, ms]) => ms === 7)).toHaveLength(3);
  });

  test('a server that never answers, or not with WebSocket, is given up and reported', async () => {
    const silent = await tcpServer(() => {});
    const chatty = await tcpServer(socket => socket.write('SSH-2.0-x\r\n'));
    const web = createHttpServer((_, response) => response.writeHead(404).end());
    await new Promise<void>(resolve => web.listen(0, '127.0.0.1', resolve));
    closers.push(() => new Promise(resolve => web.close(resolve)));
    for (const [port, message, handshakeTimeoutMs] of [
      [silent, /no answer within 30 ms/, 30],
      [chatty, /Parse Error/, 10_000],
      [(web.address() as AddressInfo).port, /404/, 10_000],
      [await newPort(), /ECONNREFUSED/, 10_000],
    ] as const) {
      const dialer = newDialer(port, { handshakeTimeoutMs });
      const errors: TunnelError[] = [];
      dialer.onError = error => errors.push(error);
      dialer.start();
      dialer.send(bytes('held in vain'), dialer.endpoint);
      await until(() => errors.length >= 1);
      expect(errors[0].message).toMatch(message);
      expect(dialer.counters.dropped.notConnected).toBe(1);
      await dialer.close();
    }
  });

  test('a header that HTTP does not allow is thrown at once, a TLS key that cannot be read is reported', async () => {
    const dialer = newDialer(9, { headers: { Token: 'a\nb' } });
    expect(() => dialer.start()).toThrow(expect.objectContaining({ code: 'ERR_WEBSOCKET_DIAL' }));
    expect(dialer.state).toBe('idle');
    const secure = newDialer('wss://127.0.0.1:9/', { tls: { key: 'no key' } });
    const errors: TunnelError[] = [];
    secure.onError = error => errors.push(error);
    secure.start();
    await until(() => errors.length > 0);
    expect(errors[0]).toMatchObject({
      code: 'ERR_WEBSOCKET_DIAL',
      message: expect.stringMatching(/DECODER|PEM/),
    });
  });

  test('who waits for an open connection hears of the close', async () => {
    const dialer = newDialer(await newPort());
    const waiting = dialer.whenOpen();
    dialer.start();
    await dialer.close();
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    await expect(dialer.whenOpen()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    dialer.dropAll('fork');
    dialer.start();
    expect(dialer.state).toBe('closed');
  });

  test('whoever hears of a change may close, or cut, at once', async () => {
    const listener = await listen();
    for (const when of ['connecting', 'open', 'waiting'] as const) {
      const dialer = newDialer(listener.port);
      dialer.onState = state => {
        if (state === when) void dialer.close();
      };
      dialer.start();
      if (when === 'waiting') {
        await dialer.whenOpen();
        listener.dropAll();
      }
      await until(() => dialer.state === 'closed');
    }
    const restless = newDialer(listener.port);
    let cuts = 0;
    restless.onState = state => {
      if (state === 'connecting' && cuts++ < 3) restless.dropAll('again');
    };
    restless.start();
    await restless.whenOpen();
    await until(() => listener.connections === 1);
    expect(cuts).toBe(4);
  });

  test('close while an attempt runs ends the attempt', async () => {
    let closed = false;
    const port = await tcpServer(socket => socket.on('close', () => (closed = true)).resume());
    const dialer = newDialer(port);
    dialer.start();
    await dialer.close();
    const another = newDialer(port);
    another.start();
    await new Promise(resolve => setTimeout(resolve, 20));
    await another.close();
    await until(() => closed);
  });

  test('a connection from which nothing comes is dialled anew; pings keep a quiet one alive', async () => {
    let connections = 0;
    const mute = await tcpServer(socket => {
      connections++;
      socket.once('data', head => accept(socket, /Key: (.*)\r\n/i.exec(head.toString('latin1'))?.[1] ?? ''));
    });
    newDialer(mute, { idleTimeoutMs: 30, pingIntervalMs: 10 }).start();
    await until(() => connections >= 2);

    const listener = await listen({ idleTimeoutMs: 700 });
    const quiet = await dial(listener.port, { pingIntervalMs: 10, idleTimeoutMs: 700 });
    const states: DialerState[] = [];
    quiet.onState = state => states.push(state);
    await new Promise(resolve => setTimeout(resolve, 1_000));
    expect(states).toEqual([]);
  });
});

describe('on a fork', () => {
  test('the dialer cuts its connection without a farewell and dials anew at once', async () => {
    let connections = 0;
    const received: Buffer[] = [];
    const port = await tcpServer(socket => {
      const mine = connections++;
      received[mine] = Buffer.alloc(0);
      socket.once('data', head => {
        accept(socket, /Key: (.*)\r\n/i.exec(head.toString('latin1'))?.[1] ?? '');
        socket.on('data', chunk => (received[mine] = Buffer.concat([received[mine], chunk])));
      });
    });
    const dialer = await dial(port);
    const onState = vi.fn();
    dialer.onState = onState;
    dialer.dropAll('fork');
    expect(onState.mock.calls).toEqual([['connecting', 'fork']]);
    await dialer.whenOpen();
    expect(connections).toBe(2);
    expect(received[0]).toHaveLength(0);
    // The control: an ordinary close does say goodbye.
    await dialer.close();
    expect(received[1][0]).toBe(0x88);
  });

  test('what still arrives over a cut connection is not handed on', async () => {
    const sockets: Socket[] = [];
    const port = await tcpServer(socket => {
      sockets.push(socket);
      socket.once('data', head => accept(socket, /Key: (.*)\r\n/i.exec(head.toString('latin1'))?.[1] ?? ''));
    });
    const dialer = await dial(port);
    const got = collect(dialer);
    sockets[0].write(Buffer.from([0x82, 2, 1, 2, 0x82, 2, 3, 4]));
    dialer.onDatagram = () => {
      got.push(['first', dialer.endpoint]);
      dialer.dropAll('fork');
    };
    await until(() => got.length === 1 && dialer.state === 'open' && sockets.length === 2);
    sockets[1].write(Buffer.from([0x82, 1, 9]));
    await until(() => got.length === 2);
    expect(dialer.counters.received).toBe(2);
  });

  test('what waits for a connection to open is thrown away', async () => {
    const listener = await listen();
    const got = collect(listener);
    const dialer = newDialer(listener.port);
    dialer.start();
    dialer.send(bytes('old'), dialer.endpoint);
    dialer.dropAll('fork');
    dialer.send(bytes('new'), dialer.endpoint);
    await until(() => got.length === 1);
    expect(got[0][0]).toBe('new');
  });

  test('the listener cuts every connection, upgraded or not yet, and takes new ones', async () => {
    const listener = await listen();
    const [upgraded, half] = [
      new RawClient(listener.port),
      new RawClient(listener.port, 'GET / HTTP/1.1\r\n'),
    ];
    await upgraded.upgraded();
    const dialer = await dial(listener.port);
    const states: DialerState[] = [];
    dialer.onState = state => states.push(state);
    await until(() => listener.connections === 2);
    listener.dropAll();
    expect(listener.connections).toBe(0);
    await until(() => upgraded.ended && half.ended && states.includes('open'));
    expect(upgraded.frames).toHaveLength(0);
    // The control: a polite close has a frame.
    const polite = await new RawClient(listener.port).upgraded();
    await until(() => listener.connections === 2);
    await listener.close();
    await until(() => polite.ended);
    expect(polite.closeCode).toBe(1001);
  });

  test('a TLS connection of the listener that has not spoken yet is cut too', async () => {
    const server = createSecureServer({ key: LOOPBACK_KEY, cert: LOOPBACK_CERT });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    closers.push(() => new Promise(resolve => server.close(resolve)));
    const listener = await listen({ server });
    let accepted = 0;
    server.on('connection', () => accepted++);
    const handshaking = new RawClient(listener.port, '');
    const dialer = await dial(`wss://127.0.0.1:${listener.port}`, { tls: { ca: LOOPBACK_CERT } });
    await until(() => accepted === 2);
    listener.dropAll();
    await until(() => handshaking.ended && dialer.state === 'open' && listener.connections === 1);
    expect(accepted).toBe(3);
  });
});

describe('hostile clients', () => {
  test.each<[string, Buffer, number]>([
    ['a text frame', frame(1, bytes('hello')), 1003],
    ['an empty frame', frame(2, bytes('')), 1003],
    ['a frame that is too long', frame(2, bytes(''), MAX_MESSAGE_BYTES + 1), 1009],
    ['a frame of 2^63 bytes', frame(2, bytes(''), 2 ** 63), 1009],
    ['a frame without a mask', Buffer.from([0x82, 1, 0]), 1002],
    ['a reserved bit', Buffer.from([0xc2, 0x80, 0, 0, 0, 0]), 1002],
    ['an unknown opcode', frame(3, bytes('x')), 1002],
    ['a continuation of nothing', frame(0, bytes('x')), 1002],
  ])('%s ends the connection with its code and is counted', async (_, data, code) => {
    const listener = await listen();
    const got = collect(listener);
    const client = await new RawClient(listener.port).upgraded();
    client.socket.write(Buffer.concat([frame(2, bytes('good')), data, frame(2, bytes('after'))]));
    await until(() => client.closeCode !== undefined);
    expect(client.closeCode).toBe(code);
    expect(got.map(([text]) => text)).toEqual(['good']);
    expect(listener.counters.dropped.malformed).toBe(1);
    // Whether it answers the close or not, it is gone soon.
    await until(() => client.ended && listener.connections === 0);
  });

  test('a message in more fragments than any client needs ends the connection', async () => {
    const listener = await listen();
    const client = await new RawClient(listener.port).upgraded();
    const first = Buffer.from([0x02, 0x81, 0, 0, 0, 0, 1]);
    const more = Buffer.from([0x00, 0x81, 0, 0, 0, 0, 1]);
    client.socket.write(Buffer.concat([first, ...Array.from({ length: 100 }, () => more)]));
    await until(() => client.closeCode !== undefined);
    expect(listener.counters.dropped.malformed).toBe(1);
  });

  test.each([
    ['junk', '\x00\x01\x02\xff\xfe junk\r\n\r\n', /^HTTP\/1\.1 400/],
    ['a TLS hello', Buffer.from('160301020001000000', 'hex'), /^HTTP\/1\.1 400/],
    [
      'a WireGuard handshake',
      Buffer.concat([Buffer.from([1, 0, 0, 0]), Buffer.alloc(144)]),
      /^HTTP\/1\.1 400/,
    ],
    ['a web page request', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', /^HTTP\/1\.1 426/],
    [
      'an upgrade without a key',
      'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
      /400/,
    ],
    [
      'an upgrade to something else',
      'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
      /400/,
    ],
    ['a header without end', `GET / HTTP/1.1\r\nX: ${'a'.repeat(100_000)}`, /^HTTP\/1\.1 431/],
  ])('%s on the port is answered, ended, and nobody else is disturbed', async (_, data, status) => {
    const listener = await listen();
    const dialer = await dial(listener.port);
    const client = new RawClient(listener.port, data);
    await until(() => client.ended);
    expect(client.status).toMatch(status);
    const got = collect(listener);
    dialer.send(bytes('still here'), dialer.endpoint);
    await until(() => got.length === 1);
  });

  test('who opens a connection and says nothing, or half of something, is put out', async () => {
    const listener = await listen({ handshakeTimeoutMs: 50 });
    const clients = ['', 'GET / HT', 'GET / HTTP/1.1\r\nHost: x\r\n'].map(
      text => new RawClient(listener.port, text),
    );
    await until(() => clients.every(client => client.ended));
  });

  test('who upgrades and says nothing is put out after the idle time', async () => {
    const listener = await listen({ idleTimeoutMs: 30 });
    const client = await new RawClient(listener.port).upgraded();
    await until(() => client.ended);
    expect(listener.connections).toBe(0);
  });

  test('another path is refused, and left to other listeners of the same server', async () => {
    const listener = await listen({ path: '/tunnel' });
    const client = new RawClient(listener.port);
    await until(() => client.ended);
    expect(client.status).toMatch(/404/);
    expect(listener.refused).toBe(1);

    const server = createHttpServer();
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    closers.push(() => new Promise(resolve => server.close(resolve)));
    const [one, two] = [await listen({ server, path: '/one' }), await listen({ server, path: '/two' })];
    await dial(`ws://127.0.0.1:${one.port}/two`);
    await until(() => two.connections === 1);
    expect([one.connections, one.refused]).toEqual([0, 0]);
  });

  test('random bytes after the upgrade end that connection at most', async () => {
    const listener = await listen();
    const dialer = await dial(listener.port);
    const got = collect(listener);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 400 }), async data => {
        const client = await new RawClient(listener.port).upgraded();
        await new Promise<void>(resolve => client.socket.end(data, () => resolve()));
        await until(() => client.ended);
      }),
      { numRuns: 60 },
    );
    dialer.send(bytes('alive'), dialer.endpoint);
    await until(() => got.some(([text]) => text === 'alive'));
  });

  test('a port that is taken is an error that says so', async () => {
    const listener = await listen();
    await expect(listen({ port: listener.port })).rejects.toMatchObject({
      code: 'ERR_WEBSOCKET_LISTEN',
      cause: { code: 'EADDRINUSE' },
    });
  });
});

test('a hostile server ends its connection at most', async () => {
  let connections = 0;
  const tricks = [
    Buffer.from([0x81, 1, 65]),
    Buffer.from([0x82, 0]),
    Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 65]),
    Buffer.from([0x82, 0x81, 0, 0, 0, 0, 1]),
    Buffer.from([0xff, 0xff, 0xff]),
  ];
  const port = await tcpServer(socket => {
    const trick = tricks[connections++];
    socket.once('data', head => {
      accept(socket, /Key: (.*)\r\n/i.exec(head.toString('latin1'))?.[1] ?? '');
      if (trick) socket.write(trick);
    });
  });
  const dialer = newDialer(port, { maxBackoffMs: 5 });
  dialer.start();
  await until(() => connections === tricks.length + 1 && dialer.state === 'open');
  expect(dialer.counters.dropped.malformed).toBe(tricks.length);
  expect(dialer.counters.received).toBe(0);
});
