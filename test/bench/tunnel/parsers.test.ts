// What other programs print, and what the kernel's books say, is read as they mean it.

import { describe, expect, test } from 'vitest';
import {
  cpuSecondsOf,
  fieldOf,
  fineCpuSecondsOf,
  memoryOf,
  usageOf,
} from '../../../bench/tunnel/accounting.js';
import { moduleVersion } from '../../../bench/tunnel/implementations/wireguard-go.js';
import { parseIperf } from '../../../bench/tunnel/iperf.js';
import { parsePing } from '../../../bench/tunnel/ping.js';

describe('iperf3', () => {
  const report = (received: object) =>
    JSON.stringify({ start: {}, intervals: [], end: { sum_sent: { bytes: 9 }, sum_received: received } });

  test('of TCP the rate is of what arrived', () => {
    const received = { seconds: 2, bytes: 500_000_000, bits_per_second: 2e9, sender: true };
    expect(parseIperf(report(received))).toEqual({ bytes: 500_000_000, bitsPerSecond: 2e9 });
  });

  test('of UDP what was lost does not count', () => {
    const received = { seconds: 2, bytes: 1_000, bits_per_second: 4_000, packets: 400, lost_packets: 300 };
    expect(parseIperf(report(received))).toMatchObject({ packetsPerSecond: 50, lostShare: 0.75 });
  });

  test('a run in which no packet was sent has lost nothing', () => {
    const received = { seconds: 1, bytes: 0, bits_per_second: 0, packets: 0, lost_packets: 0 };
    expect(parseIperf(report(received))).toMatchObject({ packetsPerSecond: 0, lostShare: 0 });
  });

  test('its complaint becomes the error, and so does a report without an end', () => {
    expect(() => parseIperf('{"end":{},"error":"unable to connect to server: Connection refused"}')).toThrow(
      'unable to connect',
    );
    expect(() => parseIperf('{"end":{}}')).toThrow('says nothing');
    expect(() => parseIperf('')).toThrow();
  });
});

describe('ping', () => {
  const text = `PING 10.99.0.2 (10.99.0.2) 56(84) bytes of data.
64 bytes from 10.99.0.2: icmp_seq=1 ttl=64 time=0.225 ms
64 bytes from 10.99.0.2: icmp_seq=2 ttl=64 time=12 ms

--- 10.99.0.2 ping statistics ---
3 packets transmitted, 2 received, 33.3333% packet loss, time 22ms
rtt min/avg/max/mdev = 0.225/6.112/12.000/5.887 ms, ipg/ewma 0.011/0.005 ms
`;

  test('every answer has its time, and the summary adds none', () => {
    expect(parsePing(text)).toEqual({ timesMs: [0.225, 12], sent: 3 });
  });

  test('without an answer there is no figure', () => {
    expect(() => parsePing('1 packets transmitted, 0 received, 100% packet loss, time 0ms')).toThrow(
      'no answer',
    );
  });
});

describe('/proc', () => {
  test('times are found behind a name with brackets and spaces in it', () => {
    const behindName = ['S', ...Array.from({ length: 10 }, () => '7'), '150', '50', '9', '9'];
    expect(cpuSecondsOf(`12 (a ) S (b) ${behindName.join(' ')}`)).toBe(2);
  });

  test('a field is found by its whole name', () => {
    const text = 'nonvoluntary_ctxt_switches:\t5\nvoluntary_ctxt_switches:\t12\nRss:     1024 kB\n';
    expect(fieldOf(text, 'voluntary_ctxt_switches')).toBe(12);
    expect(fieldOf(text, 'Rss')).toBe(1_024);
    expect(fieldOf(text, 'Pss')).toBe(0);
  });

  test('this process has its books, and a burning core shows in them', () => {
    const pids = [process.pid];
    const before = { usage: usageOf(pids), fine: fineCpuSecondsOf(pids) };
    const start = performance.now();
    while (performance.now() - start < 50) Math.sqrt(start);
    expect(fineCpuSecondsOf(pids)).toBeGreaterThan(before.fine);
    expect(usageOf(pids).cpuSeconds).toBeGreaterThanOrEqual(before.usage.cpuSeconds);
    expect(usageOf(pids).wakeUps).toBeGreaterThan(0);
    const { rssBytes, pssBytes } = memoryOf(pids);
    expect(rssBytes).toBeGreaterThanOrEqual(pssBytes);
    expect(pssBytes).toBeGreaterThan(1e6);
  });
});

test('the version of a Go program is that of its main module', () => {
  const text =
    'bin/wireguard: go1.26\n\tpath\tx.example/w\n\tmod\tx.example/w\tv0.0.1-abc\th1:x=\n\tdep\ty\tv0.9.0\n';
  expect(moduleVersion(text)).toBe('0.0.1-abc');
  expect(moduleVersion('')).toBe('unknown version');
});
