import { once } from 'node:events';
import { request } from 'node:http';
import { type Socket, connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { type MetricsOptions, MetricsServer } from '../../../tunnel/daemon/metrics.js';
import { formatMetrics } from '../../../tunnel/daemon/metrics-format.js';
import { parseMetricsAddress } from '../../../tunnel/daemon/metrics-address.js';
import { RecoveryTimes } from '../../../tunnel/daemon/recovery-times.js';
import type { DeviceStatus } from '../../../tunnel/daemon/status.js';
import { deviceStatus, keyText, noDrops, peerStatus } from './status.js';

const servers: MetricsServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function serve(options: Partial<MetricsOptions> = {}): Promise<number> {
  const server = await MetricsServer.listen({ listen: '0', status: () => deviceStatus(), ...options });
  servers.push(server);
  return Number(/:(\d+)$/.exec(server.address)?.[1]);
}

function get(port: number, path = '/metrics', method = 'GET', headers: Record<string, string> = {}) {
  return new Promise<{ status: number | undefined; type: string | undefined; text: string }>(
    (resolve, reject) => {
      request({ host: '127.0.0.1', port, path, method, headers }, response => {
        let text = '';
        response.on('data', chunk => (text += chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode, type: response.headers['content-type'], text }),
        );
      })
        .on('error', reject)
        .end();
    },
  );
}

function took(...ms: number[]) {
  const times = new RecoveryTimes();
  for (const each of ms) times.observe(each);
  return times.histogram;
}

describe('formatMetrics', () => {
  const busy = deviceStatus({
    uptimeMs: 2_500,
    protection: 'delayed',
    epoch: 4,
    forks: 3,
    drills: 4,
    lastForkAt: 1_700_000_000_250,
    lastDrillAt: 1_700_000_001_000,
    recovery: { epoch: 4, ageMs: 9, called: 4, back: 3, lastBackMs: 8 },
    recoveries: { fork: took(20, 20, 70_000), drill: took() },
    wipedKeypairs: 7,
    discardedAtRelease: 2,
    handshakes: { completed: 9 },
    drops: { ...noDrops(), badTag: 5 },
    nonceHeadroom: '18446744073709543423',
    lastTripwire: { peer: keyText(9), at: 1_700_000_000_500 },
    clonedPeers: 2,
    held: true,
    gateway: {
      known: 1_000_000,
      present: 3,
      provisional: 4,
      awaited: 5,
      lookups: 6,
      admitted: 7,
      unproven: 8,
      evicted: 9,
      expired: 10,
      refused: { revoked: 11, notEnrolled: 0, addressTaken: 0, full: 0, storeFailed: 12 },
    },
    enrolment: {
      method: 'derived',
      stage: 'enrolled',
      addresses: [],
      since: 1_700_000_001_500,
      parent: null,
      waitsFor: null,
    },
    peers: [
      peerStatus({ rxBytes: 2 ** 45, txBytes: 92, lastHandshakeAt: 1_700_000_000_000, hasSession: true }),
    ],
  });

  test.each([
    'wireonce_info{version="0.1.0",suite="sodium",fork_policy="wipe",interface="wg0"} 1',
    'wireonce_uptime_seconds{interface="wg0"} 2.5',
    'wireonce_protection{class="delayed",interface="wg0"} 1',
    'wireonce_protection{class="immediate",interface="wg0"} 0',
    'wireonce_source_readable{source="acpi",timing="immediate",uniqueness="unique",interface="wg0"} 1',
    'wireonce_epoch{interface="wg0"} 4',
    'wireonce_forks_total{interface="wg0"} 3',
    'wireonce_drills_total{interface="wg0"} 4',
    'wireonce_keypairs_wiped_total{interface="wg0"} 7',
    'wireonce_discarded_at_release_total{interface="wg0"} 2',
    'wireonce_handshakes_total{interface="wg0"} 9',
    'wireonce_drops_total{reason="badTag",interface="wg0"} 5',
    'wireonce_drops_total{reason="malformed",interface="wg0"} 0',
    'wireonce_transport_drops_total{reason="queueFull",interface="wg0"} 0',
    'wireonce_interface_drops_total{reason="unsplittable",interface="wg0"} 0',
    'wireonce_nonce_headroom{interface="wg0"} 18446744073709543000',
    `wireonce_tripwire_last_timestamp_seconds{peer="${keyText(9)}",interface="wg0"} 1700000000.5`,
    'wireonce_peers_cloned_total{interface="wg0"} 2',
    'wireonce_held{interface="wg0"} 1',
    'wireonce_enrolment_stage{stage="enrolled",interface="wg0"} 1',
    'wireonce_enrolment_stage{stage="asking",interface="wg0"} 0',
    'wireonce_enrolled_timestamp_seconds{interface="wg0"} 1700000001.5',
    `wireonce_peer_received_bytes_total{peer="${keyText(2)}",interface="wg0"} 35184372088832`,
    `wireonce_peer_sent_bytes_total{peer="${keyText(2)}",interface="wg0"} 92`,
    `wireonce_peer_session{peer="${keyText(2)}",interface="wg0"} 1`,
    `wireonce_peer_last_handshake_timestamp_seconds{peer="${keyText(2)}",interface="wg0"} 1700000000`,
    'wireonce_gateway_known_peers{interface="wg0"} 1000000',
    'wireonce_gateway_peers{state="admitted",interface="wg0"} 3',
    'wireonce_gateway_peers{state="provisional",interface="wg0"} 4',
    'wireonce_gateway_peers{state="awaited",interface="wg0"} 5',
    'wireonce_gateway_lookups_total{interface="wg0"} 6',
    'wireonce_gateway_admitted_total{interface="wg0"} 7',
    'wireonce_gateway_unproven_total{interface="wg0"} 8',
    'wireonce_gateway_evicted_total{interface="wg0"} 9',
    'wireonce_gateway_expired_total{interface="wg0"} 10',
    'wireonce_gateway_refused_total{reason="revoked",interface="wg0"} 11',
    'wireonce_gateway_refused_total{reason="storeFailed",interface="wg0"} 12',
    'wireonce_last_fork_timestamp_seconds{interface="wg0"} 1700000000.25',
    'wireonce_last_drill_timestamp_seconds{interface="wg0"} 1700000001',
    'wireonce_recovery_seconds_bucket{le="0.005",after="fork",interface="wg0"} 0',
    'wireonce_recovery_seconds_bucket{le="0.025",after="fork",interface="wg0"} 2',
    'wireonce_recovery_seconds_bucket{le="60",after="fork",interface="wg0"} 2',
    'wireonce_recovery_seconds_bucket{le="+Inf",after="fork",interface="wg0"} 3',
    'wireonce_recovery_seconds_sum{after="fork",interface="wg0"} 70.04',
    'wireonce_recovery_seconds_count{after="fork",interface="wg0"} 3',
    'wireonce_recovery_seconds_count{after="drill",interface="wg0"} 0',
    '# TYPE wireonce_recovery_seconds histogram',
    'wireonce_recovery_peers_called{interface="wg0"} 4',
    'wireonce_recovery_peers_back{interface="wg0"} 3',
    'wireonce_stale_keypairs{interface="wg0"} 0',
    'wireonce_openssl_healed{interface="wg0"} 0',
    '# TYPE process_cpu_seconds_total counter',
    '# TYPE nodejs_eventloop_lag_seconds gauge',
    '# TYPE wireonce_forks_total counter',
    '# TYPE wireonce_epoch gauge',
  ])('has the line %s', async line => {
    expect((await formatMetrics(busy)).split('\n')).toContain(line);
  });

  test('leaves out what there is none of', async () => {
    const text = await formatMetrics(deviceStatus({ sources: [] }));
    for (const name of [
      'nonce_headroom',
      'last_fork',
      'last_drill',
      'recovery_peers',
      'tripwire',
      'peer_',
      'source_readable',
      'enrol',
    ]) {
      expect(text).not.toContain(`wireonce_${name}`);
    }
  });
});

describe('MetricsServer', () => {
  test('serves one whole status per scrape, on loopback when only a port is given', async () => {
    let forks = 0;
    const server = await MetricsServer.listen({
      listen: '0',
      status: () => deviceStatus({ forks: ++forks }),
    });
    servers.push(server);
    expect(server.address).toMatch(/^127\.0\.0\.1:\d+$/);
    const port = Number(server.address.split(':')[1]);
    const first = await get(port);
    expect([first.status, first.type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    expect(first.text).toContain('wireonce_forks_total{interface="wg0"} 1\n');
    expect((await get(port)).text).toContain('wireonce_forks_total{interface="wg0"} 2\n');
  });

  test('scrapes at once share one status; the next asks anew', async () => {
    let asked = 0;
    let answer: (status: DeviceStatus) => void = () => undefined;
    const waiting = new Promise<DeviceStatus>(resolve => (answer = resolve));
    const port = await serve({
      status: () => {
        asked++;
        return asked === 1 ? waiting : deviceStatus();
      },
    });
    const scrapes = [get(port), get(port)];
    // What came before is read by the time that these are answered.
    for (let i = 0; i < 3; i++) await get(port, '/');
    expect(asked).toBe(1);
    answer(deviceStatus());
    for (const { status } of await Promise.all(scrapes)) expect(status).toBe(200);
    expect(asked).toBe(1);
    await get(port);
    expect(asked).toBe(2);
  });

  test('a device without a status is 503, told once, and the next scrape works', async () => {
    const logged: string[] = [];
    let broken = true;
    const status = async () => {
      if (broken) throw new Error('the thread is busy');
      return deviceStatus();
    };
    const port = await serve({ status, log: message => logged.push(message) });
    const { status: code, text } = await get(port);
    expect(code).toBe(503);
    expect(text).not.toContain('busy');
    expect(logged).toEqual(['metrics: no status: the thread is busy']);
    broken = false;
    expect((await get(port)).status).toBe(200);
  });

  test('other paths and methods get nothing', async () => {
    const port = await serve();
    expect((await get(port, '/')).status).toBe(404);
    expect((await get(port, '/metrics', 'POST')).status).toBe(405);
    expect(await get(port, '/metrics', 'HEAD')).toMatchObject({ status: 200, text: '' });
    expect((await get(port, '/metrics?x=1')).status).toBe(200);
  });

  // A page whose name was made to resolve to this machine: the browser goes on saying that name.
  test.each([
    'evil.example',
    'evil.example:9586',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    'x@[::1]',
    '[::1',
  ])('Host: %s is another server: 421, and nothing of the device', async host => {
    let asked = 0;
    const port = await serve({
      status: () => {
        asked++;
        return deviceStatus();
      },
    });
    for (const path of ['/metrics', '/']) {
      const { status, text } = await get(port, path, 'GET', { Host: host });
      expect(status).toBe(421);
      expect(text).not.toContain('wireonce_');
    }
    expect(asked).toBe(0);
  });

  test.each(['127.0.0.1', '192.0.2.1:9586', '[::1]:9586', 'localhost', 'LOCALHOST.:1', 'Gw.Example:9586'])(
    'Host: %s is this one, gw.example being its name',
    async host => {
      const port = await serve({ hosts: ['gw.example'] });
      expect((await get(port, '/metrics', 'GET', { Host: host })).status).toBe(200);
    },
  );

  test('a request without Host is refused', async () => {
    const port = await serve();
    const socket = connect(port, '127.0.0.1');
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.write('GET /metrics HTTP/1.0\r\n\r\n');
    await new Promise(resolve => socket.once('close', resolve));
    expect(answer).toContain(' 421 ');
    expect(answer).not.toContain('wireonce_');
  });

  describe.each([
    ['say nothing', ''],
    ['stop in the middle', 'GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: '],
    ['read nothing', 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n'],
  ])('clients that %s', (_, words) => {
    // More than a socket takes by itself.
    const large = deviceStatus({
      sources: [
        { name: 'x'.repeat(16 << 20), timing: 'delayed', uniqueness: 'unique', readable: true, reason: '' },
      ],
    });
    const come = async (port: number) => {
      const client = connect(port, '127.0.0.1');
      clients.push(client.on('error', () => undefined));
      await once(client, 'connect');
      client.write(words);
      return client;
    };
    const clients: Socket[] = [];
    afterEach(() => {
      for (const client of clients.splice(0)) client.destroy();
    });

    test('keep nobody out, however many there are', async () => {
      let answer: (status: DeviceStatus) => void = () => undefined;
      const waiting = new Promise<DeviceStatus>(resolve => (answer = resolve));
      const port = await serve({ status: () => waiting });
      for (let n = 0; n < 40; n++) await come(port);
      expect((await get(port, '/')).status).toBe(404);
      // All that have asked by now are answered at once.
      answer(large);
      expect((await get(port)).status).toBe(200);
    });

    test('are sent away', async () => {
      const port = await serve({ status: () => large, timeoutMs: 100 });
      const client = await come(port);
      // Whoever comes after it and is sent away for the same reason: by then its own time is over, twice.
      for (let n = 0; n < 3; n++) {
        const later = connect(port, '127.0.0.1');
        later.on('error', () => undefined).resume();
        await once(later, 'close');
      }
      let read = 0;
      client.on('data', chunk => (read += chunk.length));
      if (!client.closed) await once(client, 'close');
      expect(read).toBeLessThan(16 << 20);
    });
  });

  test('an idle client does not keep it from closing', async () => {
    const port = await serve();
    const idle = connect(port, '127.0.0.1');
    await new Promise(resolve => idle.once('connect', resolve));
    const gone = new Promise(resolve => idle.once('close', resolve));
    idle.on('error', () => undefined);
    await servers[0].close();
    await servers[0].close();
    await gone;
  });

  test('a taken port is ERR_METRICS_LISTEN', async () => {
    const port = await serve();
    await expect(
      MetricsServer.listen({ listen: String(port), status: () => deviceStatus() }),
    ).rejects.toMatchObject({
      code: 'ERR_METRICS_LISTEN',
    });
  });
});

test.each([
  ['9586', '127.0.0.1', 9586],
  ['0.0.0.0:1', '0.0.0.0', 1],
  ['[::1]:9586', '::1', 9586],
  ['[fe80::1%eth0]:7', 'fe80::1%eth0', 7],
])('%s is an address', (text, host, port) => {
  expect(parseMetricsAddress(text)).toEqual({ host, port });
});

test.each([
  '',
  'x',
  'localhost:1',
  '::1:9586',
  '1.2.3.4',
  '[1.2.3.4]:5',
  '1.2.3.4:65536',
  '300.1.1.1:1',
  '-1',
])('%j is none', text => {
  expect(() => parseMetricsAddress(text)).toThrow(expect.objectContaining({ code: 'ERR_METRICS_LISTEN' }));
});
