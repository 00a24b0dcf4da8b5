// A service of an operator's own that is asked for peers: what it may answer, and all that it may do wrong.

import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { type AddressInfo, type Server, type Socket, createServer as createTcp } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeKey } from '../../../tunnel/keys.js';
import { HttpPeers } from '../../../tunnel/peer-store/http.js';
import { keyOf } from '../../gateway/stores/stores.js';

const KEY = Uint8Array.from({ length: 32 }, (_, i) => 255 - i);
const PATH = `/${Buffer.from(KEY).toString('base64url')}`;
const SECRET = Buffer.from(new Uint8Array(32).fill(5)).toString('base64');
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function listen(server: Server): Promise<string> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => new Promise(resolve => server.close(resolve)));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    asked.push(request);
    answer(request, response);
  });
  cleanups.push(() => server.closeAllConnections());
  return { host: await listen(server), asked };
}

function peersAt(url: string, timeoutMs = 60_000): HttpPeers {
  const peers = new HttpPeers(url, { timeoutMs, now: () => 77 });
  cleanups.push(() => peers.close());
  return peers;
}

const json =
  (value: unknown, status = 200) =>
  (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(status).end(JSON.stringify(value));
  };

describe('a service that knows peers', () => {
  it('is asked for a key in base64url, and says what the peer has', async () => {
    const { host, asked } = await serve(
      json({ allowedIps: ['10.0.0.2', 'fd00::/64'], presharedKey: SECRET }),
    );
    expect(await peersAt(`http://${host}/peers?tenant=3`).get(KEY)).toEqual({
      publicKey: KEY,
      allowedIps: [
        { ip: Uint8Array.of(10, 0, 0, 2), prefix: 32 },
        { ip: Uint8Array.of(0xfd, ...new Uint8Array(15)), prefix: 64 },
      ],
      presharedKey: new Uint8Array(32).fill(5),
      admittedAt: 77,
      lastSeenAt: 0,
    });
    expect([asked[0].method, asked[0].url]).toEqual(['GET', `/peers${PATH}?tenant=3`]);
    expect(PATH).toMatch(/[-_]/);
  });

  it('knows nobody by 404, whatever stands there', async () => {
    const { host } = await serve(json({ allowedIps: ['10.0.0.2'] }, 404));
    expect(await peersAt(`http://${host}`).get(KEY)).toBeUndefined();
  });

  it('is told name and password of the URL in a header, and none of them is in an error', async () => {
    const { host, asked } = await serve(json({}, 500));
    const failed = peersAt(`http://us%40er:pa%3Ass%FFword@${host}/x?token=abc`).get(KEY);
    const error = (await failed.catch((reason: unknown) => reason)) as Error;
    expect(error.message).toBe(`http://${host}/x/ answers with status 500`);
    expect(asked[0].headers.authorization).toBe(
      `Basic ${Buffer.from('us@er:pa:ss\xffword', 'latin1').toString('base64')}`,
    );
    const nobody = createTcp();
    const dead = await listen(nobody);
    await cleanups.pop()?.();
    const refused = await peersAt(`http://user:password@${dead}/?token=abc`)
      .get(KEY)
      .catch((reason: unknown) => reason);
    expect(refused).toMatchObject({
      code: 'ERR_STORE_UNAVAILABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    });
    for (const said of ['user', 'password', 'abc']) expect(String(refused)).not.toContain(said);
  });

  it('is asked many things at once by few connections, which stay for the next', async () => {
    const ports = new Set<number | undefined>();
    const { host, asked } = await serve((request, response) => {
      ports.add(request.socket.remotePort);
      setTimeout(() => response.end('{"allowedIps":[]}'), 2);
    });
    const peers = peersAt(`http://${host}`);
    await Promise.all(Array.from({ length: 200 }, (_, n) => peers.get(keyOf(n))));
    expect(asked).toHaveLength(200);
    expect(ports.size).toBeLessThanOrEqual(16);
  });

  it('is asked again when the connection that was kept ends at the same moment', async () => {
    let answered = 0;
    const { host } = await serve((request, response) => {
      // The second question of a connection finds it closed.
      if (answered++ === 1) request.socket.destroy();
      else response.end('{"allowedIps":[]}');
    });
    const peers = peersAt(`http://${host}`);
    await peers.get(keyOf(1));
    expect(await peers.get(keyOf(2))).toMatchObject({ allowedIps: [] });
    expect(answered).toBe(3);
  });

  it.each([
    [
      'a redirect',
      (_: IncomingMessage, response: ServerResponse) =>
        response.writeHead(302, { location: '/elsewhere' }).end(),
      'status 302',
    ],
    [
      'no JSON',
      (_: IncomingMessage, response: ServerResponse) => response.end(`secret ${SECRET}`),
      'what is no JSON',
    ],
    ['nothing', (_: IncomingMessage, response: ServerResponse) => response.end(), 'what is no JSON'],
    ['a list', json([1]), 'what is no peer: no object'],
    ['null', json(null), 'what is no peer: no object'],
    ['no addresses', json({}), 'what is no peer: allowedIps: no list of addresses'],
    ['a number for an address', json({ allowedIps: [7] }), 'what is no peer: allowedIps: no text'],
    [
      'no address',
      json({ allowedIps: ['10.0.0.1/33'] }),
      "what is no peer: allowedIps: '10.0.0.1/33' is not an address range",
    ],
    [
      'a short key',
      json({ allowedIps: [], presharedKey: 'AAAA' }),
      'what is no peer: presharedKey: a key has 44 characters of base64, not 4 characters',
    ],
    [
      'a field that is not known',
      json({ allowedIps: [], presharedkey: SECRET }),
      'what is no peer: a field that is not known: presharedkey',
    ],
    [
      'a field that may be anything',
      json({ allowedIps: [], [SECRET]: 1 }),
      'what is no peer: a field that is not known',
    ],
    [
      'a time that is none',
      json({ allowedIps: [], revokedAt: -1 }),
      'what is no peer: revokedAt: no whole number of milliseconds',
    ],
    [
      'very much',
      (_: IncomingMessage, response: ServerResponse) => void response.end('x'.repeat(10_000_000)),
      'more than 65536 bytes',
    ],
  ])('that answers with %s is not believed, and no key is shown', async (_, answer, said) => {
    const { host } = await serve(answer);
    const refused = await peersAt(`http://${host}`)
      .get(KEY)
      .catch((reason: unknown) => reason);
    expect(refused).toMatchObject({
      code: 'ERR_STORE_ANSWER',
      message: `http://${host}/ answers with ${said}`,
    });
    expect(String(refused)).not.toContain(SECRET);
    expect(String(refused)).not.toContain(encodeKey(KEY));
  });

  it.each([
    ['says nothing', () => undefined],
    [
      'stops in the midst',
      (_: IncomingMessage, response: ServerResponse) => void response.writeHead(200).write('{"allo'),
    ],
    [
      'drips',
      (_: IncomingMessage, response: ServerResponse) => {
        const drip = setInterval(() => response.write(' '), 20);
        response.on('close', () => clearInterval(drip));
      },
    ],
  ])('that %s is waited for no longer than is allowed', async (_, answer) => {
    const { host } = await serve(answer);
    await expect(peersAt(`http://${host}`, 200).get(KEY)).rejects.toMatchObject({
      code: 'ERR_STORE_UNAVAILABLE',
      message: `http://${host}/ does not answer: no answer within 200 ms`,
    });
  });

  it.each([
    ['hangs up', (socket: Socket) => socket.destroy()],
    ['breaks off', (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{')],
    ['speaks something else', (socket: Socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')],
    [
      'has no end of headers',
      (socket: Socket) => socket.end(`HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(100_000)}`),
    ],
  ])('that %s has not answered', async (_, answer) => {
    const server = createTcp(socket => {
      socket.on('error', () => undefined);
      socket.once('data', () => answer(socket));
    });
    const host = await listen(server);
    await expect(peersAt(`http://${host}`).get(KEY)).rejects.toMatchObject({ code: 'ERR_STORE_UNAVAILABLE' });
  });

  it.each(['ftp://host/', 'peers', 'http://', 'http://host/#part'])('is at no URL such as %s', url => {
    expect(() => new HttpPeers(url)).toThrow(expect.objectContaining({ code: 'ERR_STORE_OPEN' }));
  });

  it('is asked nothing any more when it is closed', async () => {
    const { host, asked } = await serve(json({ allowedIps: [] }));
    const peers = new HttpPeers(`http://${host}`);
    await peers.get(KEY);
    await peers.close();
    await expect(peers.get(KEY)).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
    expect(asked).toHaveLength(1);
  });
});
