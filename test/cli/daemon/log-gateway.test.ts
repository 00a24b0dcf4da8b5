// What a gateway logs: of each newcomer a line, of any flood a few.

import { describe, expect, test } from 'vitest';
import { createLogger } from '../../../cli/daemon/log.js';
import { logDeviceEvent } from '../../../cli/daemon/log-events.js';
import { GatewayLog } from '../../../cli/daemon/log-gateway.js';
import { type GatewayEvent, REFUSALS } from '../../../gateway/index.js';
import { encodeKey } from '../../../tunnel/keys.js';

const key = (n: number) => new Uint8Array(32).fill(n);

function recorder() {
  const lines: string[] = [];
  const logger = createLogger({
    interface: 'wg0',
    stream: { write: text => lines.push(text) },
    env: { LOG_LEVEL: 'verbose' },
  });
  return { logger, entries: () => lines.map(line => JSON.parse(line) as Record<string, unknown>) };
}

describe('a newcomer who has proven himself', () => {
  test('has a line, and when he comes again one for whoever looks closely', () => {
    const { logger, entries } = recorder();
    const log = new GatewayLog(logger, () => 0);
    for (const isNew of [true, false]) log.hear({ type: 'admitted', publicKey: key(1), isNew });
    expect(entries()).toMatchObject([
      { level: 'info', event: 'admitted', peer: encodeKey(key(1)), isNew: true },
      { level: 'debug', event: 'admitted', isNew: false },
    ]);
  });
});

describe('a flood', () => {
  const floods: GatewayEvent[] = [
    ...REFUSALS.map(reason => ({ type: 'refused', publicKey: key(2), reason }) as const),
    { type: 'unproven', publicKey: key(3) },
    { type: 'storeFailed', error: new Error('no route to the store') },
  ];

  test.each(floods.map(event => [JSON.stringify({ ...event, publicKey: undefined }), event] as const))(
    'of %s is one line a minute, with their number',
    (_, event) => {
      const { logger, entries } = recorder();
      let now = 0;
      const log = new GatewayLog(logger, () => now);
      for (let i = 0; i < 5_000; i++) {
        log.hear('publicKey' in event ? { ...event, publicKey: key(i & 255) } : event);
      }
      expect(entries()).toHaveLength(1);
      now = 60_000;
      log.hear(event);
      const [first, second] = entries();
      expect(first['msg']).not.toMatch(/since this was last said/);
      expect(second['msg']).toMatch(/\(and 4999 times since this was last said\)$/);
    },
  );

  test('says nothing by way of the events of the device', () => {
    const { logger, entries } = recorder();
    for (let i = 0; i < 100; i++) logDeviceEvent(logger, { type: 'admissionExpired', peer: key(i) });
    expect(entries()).toEqual([]);
  });

  test('of one kind does not hide another', () => {
    const { logger, entries } = recorder();
    const log = new GatewayLog(logger, () => 0);
    for (const event of [...floods, ...floods]) log.hear(event);
    expect(entries()).toHaveLength(floods.length);
  });
});

test('peers that expire are told by their number', () => {
  const { logger, entries } = recorder();
  new GatewayLog(logger, () => 0).hear({ type: 'expired', peers: 3 });
  expect(entries()[0]['msg']).toMatch(/Forgot 3 peers/);
});
