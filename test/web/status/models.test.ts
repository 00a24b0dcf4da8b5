// What the live view makes of pictures, without a browser.

import { describe, expect, it } from 'vitest';
import { DROP_REASONS } from '../../../sessions/index.js';
import type { StatusPicture } from '../../../tunnel/daemon/status-picture.js';
import { type DeviceStatus, INTERFACE_DROPS } from '../../../tunnel/daemon/status.js';
import { TRANSPORT_DROPS } from '../../../tunnel/transport.js';
import { readDropMeanings } from '../../../web/status/drop-table.js';
import { briefly, rateText } from '../../../web/status/figures.js';
import { History, WINDOW_MS } from '../../../web/status/history.js';
import { linesOf } from '../../../web/status/lines.js';
import { newsOf } from '../../../web/status/news.js';
import { type Column, inOrderOf, matching, sorted, windowOf } from '../../../web/status/peer-list.js';
import { HEIGHT, WIDTH, pathsOf, scaleOf } from '../../../web/status/plot.js';
import { read } from '../../house/documents.js';
import { deviceStatus, keyText, peerStatus } from '../../tunnel/daemon/status.js';

const peer = (byte: number, rxBytes = 0, txBytes = 0) =>
  peerStatus({ publicKey: keyText(byte), rxBytes, txBytes });
const picture = (at: number, change: Partial<DeviceStatus>): StatusPicture => ({
  at,
  now: at,
  interfaces: [{ name: 'wg0', status: deviceStatus({ uptimeMs: at, ...change }) }],
});
const waiting = (at: number): StatusPicture => ({
  at,
  now: at,
  interfaces: [{ name: 'wg0', waiting: 'wg0: no daemon answers' }],
});

describe('throughput', () => {
  const last = (history: History, of: StatusPicture) => {
    const [view] = history.push(of).interfaces;
    return { ...view, rate: view.samples.at(-1)?.rate };
  };

  it('is bytes a second of all peers together, and of each', () => {
    const history = new History();
    expect(last(history, picture(1_000, { peers: [peer(1, 100, 10), peer(2)] })).rate).toBeNull();
    const second = last(history, picture(3_000, { peers: [peer(1, 2_100, 10), peer(2, 0, 500)] }));
    expect(second.rate).toEqual({ rx: 1_000, tx: 250 });
    expect(second.rates.get(keyText(2))).toEqual({ rx: 0, tx: 250 });
  });

  it('is not known where the daemon was gone or is another, and is again after that', () => {
    const history = new History();
    history.push(picture(1_000, { peers: [peer(1, 100)] }));
    const gone = last(history, waiting(2_000));
    expect([gone.rate, gone.waiting, gone.status?.peers[0].rxBytes]).toEqual([
      null,
      'wg0: no daemon answers',
      100,
    ]);
    const back = last(history, picture(3_000, { peers: [peer(1, 900_100)] }));
    expect([back.rate, back.waiting]).toEqual([null, undefined]);
    expect(last(history, picture(4_000, { peers: [peer(1, 900_200)] })).rate).toEqual({ rx: 100, tx: 0 });
    const anew = last(history, picture(5_000, { uptimeMs: 10, peers: [peer(1, 950_000)] }));
    expect(anew.rate).toBeNull();
  });

  it('counts a peer that is new, or whose counters began anew, from its next picture on', () => {
    const history = new History();
    history.push(picture(1_000, { peers: [peer(1, 5_000)] }));
    expect(last(history, picture(2_000, { peers: [peer(1, 7), peer(2, 9_999)] })).rate).toEqual({
      rx: 0,
      tx: 0,
    });
  });

  it('is remembered for a window, however many pictures there are', () => {
    const history = new History();
    let count = 0;
    for (let at = 0; at <= 3 * WINDOW_MS; at += 100) {
      const { samples } = last(history, picture(at, {}));
      count = samples.length;
      expect(samples[0].at).toBeGreaterThanOrEqual(at - WINDOW_MS);
    }
    expect(count).toBeLessThanOrEqual(600);
  });

  it('is drawn from right to left, with a gap where nothing is known', () => {
    const end = 1_000_000;
    const samples = [
      { at: end - WINDOW_MS, rate: { rx: 0, tx: 0 } },
      { at: end - WINDOW_MS / 2, rate: { rx: 512, tx: 0 } },
      { at: end - WINDOW_MS / 4, rate: null },
      { at: end, rate: { rx: 1_024, tx: 0 } },
    ];
    expect(pathsOf(samples, 'rx', 1_024)).toBe(
      `M0.0 ${HEIGHT}.0L${WIDTH / 2}.0 ${HEIGHT / 2}.0M${WIDTH}.0 0.0`,
    );
    expect(pathsOf([], 'rx', 1_024)).toBe('');
  });

  it.each([
    [0, 1_024],
    [1_024, 1_024],
    [1_025, 2_048],
    [3_000_000, 2 ** 22],
  ])('of %d at most is drawn up to %d', (highest, scale) => {
    expect(scaleOf(highest)).toBe(scale);
  });
});

describe('what is new', () => {
  const news = (before: Partial<DeviceStatus>, after: Partial<DeviceStatus>) =>
    newsOf(
      { name: 'wg0', status: deviceStatus(before) },
      { name: 'wg0', status: deviceStatus({ uptimeMs: 2_000, ...after }) },
    );
  const fork = { epoch: 2, at: 5, cause: 'fork' } as const;
  const recovery = (called: number, back: number) => ({ epoch: 2, ageMs: 1, called, back, lastBackMs: null });

  it('is a fork, a drill, and that all are back: each once', () => {
    const forked = { epoch: 2, epochs: [fork], recovery: recovery(2, 1) };
    const back = { ...forked, recovery: recovery(2, 2) };
    expect(news({}, forked)).toEqual(['wg0: a fork: epoch 2 begins.']);
    expect(news(forked, back)).toEqual(['wg0: all who were called are back in epoch 2.']);
    expect(news(back, back)).toEqual([]);
    expect(news(back, { ...back, epoch: 3, epochs: [fork, { epoch: 3, at: 9, cause: 'drill' }] })).toEqual([
      'wg0: a drill: epoch 3 begins.',
    ]);
    expect(news({}, { ...forked, recovery: recovery(0, 0) })).toHaveLength(1);
  });

  it('is a sentence of what is wrong that was not said before, and that nothing is any more', () => {
    const once = { hints: ['the store of peers has failed once: the log says how'] };
    const more = { hints: ['the store of peers has failed 12 times: the log says how', 'another'] };
    expect(news({}, once)).toEqual([`wg0: ${once.hints[0]}.`]);
    expect(news(once, more)).toEqual(['wg0: another.']);
    expect(news(more, {})).toEqual(['wg0: nothing is wrong any more.']);
  });

  it('is no packet, no handshake and no peer', () => {
    const busy = {
      peers: [peer(1, 5, 5), peer(2)],
      handshakes: { completed: 9 },
      wipedKeypairs: 4,
    };
    expect(news({}, busy)).toEqual([]);
  });

  it('is a daemon that is gone, back, or another', () => {
    const here = { name: 'wg0', status: deviceStatus({ uptimeMs: 9_000 }) };
    const gone = { name: 'wg0', waiting: 'wg0: no daemon answers' };
    expect(newsOf(here, gone)).toEqual(['wg0: no answer any more. wg0: no daemon answers']);
    expect(newsOf(gone, gone)).toEqual([]);
    expect(newsOf(gone, here)).toEqual(['wg0 is back.']);
    expect(newsOf(here, { name: 'wg0', status: deviceStatus({ uptimeMs: 3 }) })).toEqual([
      'wg0: its daemon was started anew.',
    ]);
  });

  it('of an interface that is seen for the first time is nothing', () => {
    expect(new History().push(picture(1, { hints: ['wrong'], epochs: [fork] })).news).toEqual([]);
  });
});

describe('the list of peers', () => {
  const rates = new Map([
    [keyText(1), { rx: 5, tx: 1 }],
    [keyText(3), { rx: 9, tx: 0 }],
  ]);
  const peers = [
    peerStatus({ publicKey: keyText(3), allowedIps: ['10.0.0.10/32'], endpoint: '192.0.2.9:1', rxBytes: 7 }),
    peerStatus({ publicKey: keyText(1), allowedIps: ['10.0.0.9/32', 'fd00::9/128'], endpoint: null }),
    peerStatus({
      publicKey: keyText(2),
      allowedIps: [],
      endpoint: '192.0.2.10:1',
      lastHandshakeAt: 5,
      sessionEpoch: 2,
      recovery: { backAfterMs: 4 },
    }),
  ];
  const order = (by: Column, descending = false) =>
    sorted(peers, { by, descending }, rates).map(({ publicKey }) => Buffer.from(publicKey, 'base64')[0]);

  it.each<[Column, number[], number[]]>([
    ['key', [2, 1, 3], [3, 1, 2]],
    ['allowedIps', [1, 3, 2], [3, 1, 2]],
    ['endpoint', [3, 2, 1], [2, 3, 1]],
    ['handshake', [2, 1, 3], [2, 1, 3]],
    ['rateIn', [1, 3, 2], [3, 1, 2]],
    ['received', [1, 2, 3], [3, 1, 2]],
    ['epoch', [2, 1, 3], [2, 1, 3]],
    ['recovery', [2, 1, 3], [2, 1, 3]],
  ])('by %s: what is not there is last, and what is equal by key', (by, ascending, descending) => {
    expect([order(by), order(by, true)]).toEqual([ascending, descending]);
  });

  it('is found by parts of key, endpoint and allowed IPs, every word of them', () => {
    const found = (text: string) => matching(peers, text).map(({ publicKey }) => publicKey);
    expect(found(' ')).toHaveLength(3);
    expect(found(keyText(2).slice(3, 12))).toEqual([keyText(2)]);
    expect(found(keyText(2).slice(3, 12).toLowerCase())).toEqual([keyText(2)]);
    expect(found('FD00::9')).toEqual([keyText(1)]);
    expect(found('192.0.2 :1')).toEqual([keyText(3), keyText(2)]);
    expect(found('192.0.2 fd00')).toEqual([]);
  });

  it('keeps its order while somebody works in it: who is new comes last, who is gone is left out', () => {
    const [three, one, two] = peers;
    const four = peerStatus({ publicKey: keyText(4) });
    const grown = { ...one, rxBytes: 99 };
    expect(inOrderOf([four, grown, two], [three, two, one])).toEqual([two, grown, four]);
  });

  it('has few rows at a time, whatever its length and wherever it stands, and all of them somewhere', () => {
    const [row, height] = [36, 480];
    for (const count of [0, 1, 13, 14, 1_000, 100_000]) {
      const seen = new Set<number>();
      for (let scrolled = 0; scrolled <= count * row + height; scrolled += height / 2) {
        const { first, end, above, below } = windowOf(count, row, scrolled, height);
        expect(end - first).toBeLessThanOrEqual(26);
        expect(above + (end - first) * row + below).toBe(count * row);
        const top = Math.min(scrolled, Math.max(0, count * row - height));
        expect(first * row).toBeLessThanOrEqual(top);
        expect(end * row).toBeGreaterThanOrEqual(Math.min(count * row, top + height));
        for (let i = first; i < end; i++) seen.add(i);
      }
      expect(seen.size).toBe(count);
    }
  });
});

describe('drop reasons', () => {
  it('have their meaning from docs/errors.md, every one, in plain text', () => {
    const { device, transport, interface: link } = readDropMeanings(read('docs/errors.md'));
    expect(Object.keys(device)).toEqual([...DROP_REASONS]);
    expect(Object.keys(transport)).toEqual([...TRANSPORT_DROPS]);
    expect(Object.keys(link)).toEqual([...INTERFACE_DROPS]);
    const all = [device, transport, link].flatMap(each => Object.values(each));
    expect(all.filter(text => text.length < 10 || /[`[\]|]/.test(text))).toEqual([]);
    expect(device['reusedCounter']).toContain('the peer was cloned (the tripwire)');
  });

  it('in a document without a table are an error', () => {
    expect(() => readDropMeanings('# Errors\n')).toThrow('no drop reasons of a device in docs/errors.md');
  });
});

it.each([
  [-5, '0 s'],
  [59_999, '59 s'],
  [60_000, '1 min'],
  [7_200_000, '2 h'],
  [200_000_000, '2 d'],
])('%d ms are %s in a cell', (ms, text) => {
  expect(briefly(ms)).toBe(text);
});

it('a rate that is not known is no number', () => {
  expect([rateText(undefined), rateText(0.4), rateText(2_048)]).toEqual(['–', '0 B/s', '2.00 KiB/s']);
});

it('lines of a stream are the same however it is cut', async () => {
  const bytes = new TextEncoder().encode('{"a":"ä–"}\n\n{"b":2}\nnot ended');
  for (let size = 1; size <= bytes.length; size++) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.slice(i * size, (i + 1) * size),
    );
    const lines: string[] = [];
    const stream = new ReadableStream<Uint8Array>({
      start: controller => {
        for (const piece of pieces) controller.enqueue(piece);
        controller.close();
      },
    });
    for await (const line of linesOf(stream)) lines.push(line);
    expect(lines).toEqual(['{"a":"ä–"}', '', '{"b":2}']);
  }
});

it('a stream of which nobody wants more lines is given back', async () => {
  let cancelled = false;
  const stream = new ReadableStream<Uint8Array>({
    pull: controller => controller.enqueue(new TextEncoder().encode('{}\n')),
    cancel: () => void (cancelled = true),
  });
  for await (const line of linesOf(stream)) if (line) break;
  expect(cancelled).toBe(true);
});
