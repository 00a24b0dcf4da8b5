// The daemon's log: levels, forms, and a sentence for each event.

import { describe, expect, test } from 'vitest';
import { createLogger, type LogStream } from '../../../cli/daemon/log.js';
import {
  logCloneEvent,
  logCrngEvent,
  logDeviceEvent,
  logLinkEvent,
  logVmGenIdEvent,
  peerName,
  SilenceLog,
  TransportErrorLog,
} from '../../../cli/daemon/log-events.js';
import type { CrngEvent } from '../../../crng/index.js';
import type { DeviceEvent } from '../../../sessions/index.js';
import type { CloneEvent } from '../../../tunnel/daemon/clone/clone.js';
import { UdpEndpoint } from '../../../tunnel/endpoint.js';
import { TunnelError } from '../../../tunnel/errors.js';
import type { LinkEvent } from '../../../tunnel/linux/net/link-monitor.js';
import { VmGenIdError, type VmGenIdEvent } from '../../../vmgenid/index.js';

const PEER = new Uint8Array(32).fill(7);

function sink(isTTY = false): LogStream & { readonly lines: string[] } {
  const lines: string[] = [];
  return { lines, isTTY, write: text => lines.push(text) };
}

function recorder(LOG_LEVEL = 'verbose') {
  const stream = sink();
  const logger = createLogger({ interface: 'wg0', stream, env: { LOG_LEVEL } });
  return { logger, entries: () => stream.lines.map(line => JSON.parse(line) as Record<string, unknown>) };
}

describe('createLogger', () => {
  test.each([
    ['verbose', ['debug', 'info', 'warn', 'error']],
    ['debug', ['debug', 'info', 'warn', 'error']],
    ['error', ['error']],
    ['silent', []],
    [undefined, ['info', 'warn', 'error']],
    ['nonsense', ['info', 'warn', 'error']],
  ])('LOG_LEVEL=%s shows %j', (level, shown) => {
    const stream = sink();
    const env = level === undefined ? {} : { LOG_LEVEL: level };
    const logger = createLogger({ interface: 'wg0', stream, env });
    for (const name of ['debug', 'info', 'warn', 'error'] as const) logger[name](name);
    expect(stream.lines.map(line => JSON.parse(line).level)).toEqual(shown);
  });

  test('a line is JSON with level, time and interface, written before the call returns', () => {
    const stream = sink();
    createLogger({ interface: 'wg0', stream, env: {} }).info({ epoch: 3 }, 'text');
    expect(stream.lines).toHaveLength(1);
    expect(stream.lines[0]).toMatch(/\n$/);
    const { time, ...rest } = JSON.parse(stream.lines[0]);
    expect(rest).toEqual({ level: 'info', interface: 'wg0', epoch: 3, msg: 'text' });
    expect(new Date(time).getTime()).toBeGreaterThan(0);
  });

  test('a terminal gets the sentence alone, with colours unless NO_COLOR', () => {
    const stream = sink(true);
    createLogger({ interface: 'wg0', stream, env: { NO_COLOR: '1' } }).warn({ epoch: 3 }, 'forked');
    expect(stream.lines.join('')).toMatch(/^\[[\d:.]+\] WARN: forked\n$/);
    createLogger({ interface: 'wg0', stream, env: {} }).warn('forked');
    expect(stream.lines.at(-1)).toContain('\u001b[');
  });

  test.each([true, false])('what a line repeats steers no terminal (to one: %j)', isTTY => {
    const stream = sink(isTTY);
    const logger = createLogger({
      interface: 'wg\u202e0',
      stream,
      env: { NO_COLOR: '1', WIREONCE_DEBUG: '1' },
    });
    const foreign = 'printed \u001b]0;owned\u0007\u009b2J\u202e\nWARN: forked';
    logger.warn({ err: new Error(foreign), reason: foreign }, foreign);
    const [line] = stream.lines;
    expect(line).toMatch(/\n$/);
    expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    if (isTTY) expect(line).toContain(String.raw`\u001b]0;owned\u0007\u009b2J\u202e\u000aWARN: forked`);
    else expect(JSON.parse(line)).toMatchObject({ interface: 'wg\u202e0', reason: foreign, msg: foreign });
  });

  test('a stream that throws stops nobody', () => {
    const stream = {
      write: () => {
        throw new Error('no space left on device');
      },
    };
    createLogger({ interface: 'wg0', stream, env: {} }).info('text');
  });
});

test('a peer is shown as wireguard-go shows it', () => {
  expect(peerName(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe('peer(AAEC…dHh8)');
});

describe('every event has a sentence, a level and its fields', () => {
  const endpoint = UdpEndpoint.of('192.0.2.1', 9);
  const ended = { epoch: 3, wipedKeypairs: 1, wipedHandshakes: 2 };

  test.each<[DeviceEvent, string, RegExp]>([
    [
      { type: 'vmFork', policy: 'wipe', ...ended },
      'warn',
      /epoch 3\): 1 keypair and 2 handshakes ended; peers/,
    ],
    [{ type: 'vmFork', policy: 'hold', ...ended }, 'warn', /silent until a new private key is set/],
    [{ type: 'vmFork', policy: 'expire-sending', ...ended }, 'warn', /the next packet/],
    [
      { type: 'handshakeInitiated', peer: PEER, attempt: 1 },
      'debug',
      /^peer\(.*\) - Sent handshake initiation$/,
    ],
    [{ type: 'handshakeComplete', peer: PEER, role: 'responder' }, 'debug', /complete as responder$/],
    [{ type: 'handshakeGivenUp', peer: PEER }, 'debug', /giving up/],
    [{ type: 'waitingForFreshness', peer: PEER }, 'warn', /Handshake waits.*hook/],
    [{ type: 'roamed', peer: PEER, endpoint }, 'debug', /Moved to 192\.0\.2\.1:9$/],
    [{ type: 'cookieReceived', peer: PEER }, 'debug', /under load/],
    [{ type: 'keysErased', peer: PEER }, 'debug', /Erased all keys/],
  ])('%j', (event, level, sentence) => {
    const { logger, entries } = recorder();
    logDeviceEvent(logger, event);
    expect(entries()).toEqual([expect.objectContaining({ level, event: event.type })]);
    expect(entries()[0]['msg']).toMatch(sentence);
  });

  test('peerCloned', () => {
    const { logger, entries } = recorder();
    const counter = 2n ** 60n;
    logDeviceEvent(logger, {
      type: 'peerCloned',
      peer: PEER,
      counter,
      from: endpoint,
      knownEndpoint: undefined,
      wipedKeypairs: 2,
    });
    expect(entries()).toEqual([
      expect.objectContaining({
        level: 'error',
        event: 'peerCloned',
        counter: `${counter}`,
        wipedKeypairs: 2,
      }),
    ]);
    expect(entries()[0]['msg']).toMatch(
      /^peer\(.*\) was cloned.* from 192\.0\.2\.1:9.*private key of its own/,
    );
  });

  test.each<[LinkEvent, RegExp]>([
    [{ type: 'up' }, /^Interface up requested$/],
    [{ type: 'down' }, /down requested/],
    [{ type: 'gone' }, /deleted/],
    [{ type: 'mtu', mtu: 1400 }, /MTU updated: 1400$/],
    [{ type: 'renamed', name: 'wg1' }, /renamed to wg1$/],
    [{ type: 'moved', home: false }, /moved to another network namespace/],
    [{ type: 'moved', home: true }, /is back/],
  ])('%j', (event, sentence) => {
    const { logger, entries } = recorder();
    logLinkEvent(logger, event);
    expect(entries()).toEqual([expect.objectContaining({ level: 'debug', event: event.type })]);
    expect(entries()[0]['msg']).toMatch(sentence);
  });

  test('but for changes of routes, which come by the hundred', () => {
    const { logger, entries } = recorder();
    logLinkEvent(logger, { type: 'routing' });
    expect(entries()).toEqual([]);
  });

  const error = new VmGenIdError('ERR_SOURCE_UNREADABLE', 'no such file');
  test.each<[VmGenIdEvent, string, RegExp]>([
    [
      { type: 'fork', fork: { epoch: 2, source: 'kmsg' } },
      'warn',
      /forked: kmsg shows a new generation; epoch 2/,
    ],
    [
      { type: 'fork', fork: { epoch: 2, source: 'acpi', vmGenId: new Uint8Array(16) } },
      'warn',
      /generation 00000000-0000-0000-0000-000000000000;/,
    ],
    [{ type: 'sameFork', source: 'hook', epoch: 2 }, 'debug', /hook tells of the fork/],
    [{ type: 'sourceFailed', source: 'file:/g', error }, 'error', /no such file; unless another/],
    [{ type: 'sourceRecovered', source: 'file:/g' }, 'info', /works again/],
    [
      { type: 'subscriberFailed', subscriber: 'x', phase: 'sessions', error: 'text' },
      'error',
      /x failed to respond to a fork: text/,
    ],
  ])('%j', (event, level, sentence) => {
    const { logger, entries } = recorder();
    logVmGenIdEvent(logger, event);
    expect(entries()).toEqual([expect.objectContaining({ level, event: event.type })]);
    expect(entries()[0]['msg']).toMatch(sentence);
  });

  const identity = {
    publicKey: PEER,
    parent: new Uint8Array(32).fill(8),
    since: 5,
    addresses: [{ ip: Uint8Array.of(10, 0, 0, 7), prefix: 24 }],
    epoch: 2,
  };
  test.each<[CloneEvent, string, RegExp]>([
    [
      { type: 'enrolled', enrolled: identity, isNew: true },
      'info',
      /^Enrolled as BwcH.* at 10\.0\.0\.7\/24, cloned from CAgI.* \(epoch 2\)$/,
    ],
    [
      { type: 'enrolled', enrolled: { ...identity, parent: undefined }, isNew: false },
      'info',
      /^Goes on as BwcH.* at 10\.0\.0\.7\/24 \(epoch 2\)$/,
    ],
    [
      { type: 'identityRefused', path: '/i', reason: 'it is damaged' },
      'warn',
      /in \/i is not taken: it is damaged; a new one/,
    ],
    [
      { type: 'identityNotKept', path: '/i', reason: 'EROFS' },
      'warn',
      /not kept in \/i: EROFS; the next start enrols anew/,
    ],
    [
      { type: 'enrollerFailed', program: '/e', reason: 'ended with status 1', againInMs: 1_500 },
      'error',
      /^Silent, as \/e ended with status 1; it is asked again in 1\.5 s$/,
    ],
  ])('%j', (event, level, sentence) => {
    const { logger, entries } = recorder();
    logCloneEvent(logger, event);
    expect(entries()).toEqual([expect.objectContaining({ level, event: event.type })]);
    expect(entries()[0]['msg']).toMatch(sentence);
  });

  const since = { epoch: 2, waitedMs: 12.4 };
  test.each<[CrngEvent, string, RegExp]>([
    [{ type: 'reseeded', reason: 'fork', epoch: 2 }, 'debug', /reseeded \(fork\)/],
    [
      { type: 'freshness', freshness: 'fresh', facts: ['seed'], ...since },
      'info',
      /own now by seed \(epoch 2, 12 ms/,
    ],
    [{ type: 'freshness', freshness: 'waiting', facts: [], ...since }, 'warn', /handshakes wait/],
    [{ type: 'freshness', freshness: 'refusing', facts: [], ...since }, 'error', /no handshake is made/],
    [{ type: 'freshness', freshness: 'proceeding', facts: [], ...since }, 'error', /used twice/],
    [{ type: 'failed', error: new Error('EIO') }, 'error', /could not reseed: EIO/],
  ])('%j', (event, level, sentence) => {
    const { logger, entries } = recorder();
    logCrngEvent(logger, event);
    expect(entries()).toEqual([expect.objectContaining({ level, event: event.type })]);
    expect(entries()[0]['msg']).toMatch(sentence);
  });
});

describe('SilenceLog', () => {
  const fork = {
    type: 'vmFork',
    epoch: 2,
    policy: 'wipe',
    wipedKeypairs: 1,
    wipedHandshakes: 0,
  } as const;
  const called = (attempt: number) => ({ type: 'handshakeInitiated', peer: PEER, attempt }) as const;
  const answered = { type: 'handshakeComplete', peer: PEER, role: 'initiator' } as const;

  test('says once after each fork that a peer does not answer, and that the clock may be why', () => {
    const { logger, entries } = recorder();
    const log = new SilenceLog(logger);
    for (const event of [fork, called(1), called(2), called(3), called(4), called(3)]) log.hear(event);
    expect(entries()).toMatchObject([{ level: 'warn', event: 'silentSinceFork' }]);
    expect(entries()[0]['msg']).toMatch(/since this machine was forked.*clock stayed behind.*replays/);
    for (const event of [fork, called(3)]) log.hear(event);
    expect(entries()).toHaveLength(2);
  });

  test('says nothing without a fork, nor when the peer has answered since', () => {
    const { logger, entries } = recorder();
    const log = new SilenceLog(logger);
    for (const event of [called(3), fork, called(1), answered, called(3)]) log.hear(event);
    expect(entries()).toEqual([]);
  });
});

describe('TransportErrorLog', () => {
  const error = (text: string) => new TunnelError('ERR_UDP_SEND', text);

  test('tells one trouble once a minute, with how often it came', () => {
    const { logger, entries } = recorder();
    let now = 0;
    const log = new TransportErrorLog(logger, () => now);
    for (let i = 0; i < 1_000; i++) log.log(error('network is unreachable'));
    log.log(error('no route'));
    now = 60_000;
    log.log(error('network is unreachable'));
    log.log(error('no route'));
    expect(entries().map(entry => entry['msg'])).toEqual([
      'network is unreachable',
      'no route',
      'network is unreachable (and 999 times since this was last said)',
      'no route',
    ]);
  });

  test('remembers a bounded number of troubles', () => {
    const { logger, entries } = recorder();
    const log = new TransportErrorLog(logger, () => 0);
    for (let i = 0; i < 1_000; i++) log.log(error(`no route to ${i}`));
    expect(entries()).toHaveLength(1_000);
  });
});
