// The kernel log as a source: whose line counts, what is lost, what the real device does.

import { closeSync, existsSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { VmGenId, type VmGenIdEvent } from '../../vmgenid/driver.js';
import { NO_EPOCH } from '../../vmgenid/generation.js';
import { KMSG_PATH, KmsgSource, openKmsg } from '../../vmgenid/sources/kmsg.js';
import { MemorySource } from '../../vmgenid/sources/memory.js';

const LINE = 'random: crng reseeded due to virtual machine fork';
/** What the kernel itself hands out: facility 0, level 5. */
const FORK = `5,901,1718354070,-;${LINE}\n`;
const errno = (code: string) => Object.assign(new Error(`${code}: from the test`), { code });

const open: VmGenId[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map(vm => vm.close()));
});

/** A log whose records the test provides; an error in the list is thrown once. */
async function log(old: (string | Error)[] = [], pollMs = 3_600_000) {
  const records = [...old];
  const readRecord = () => {
    const next = records.shift();
    if (next instanceof Error) throw next;
    return next ?? null;
  };
  const events: VmGenIdEvent[] = [];
  const vm = new VmGenId([new KmsgSource({ readRecord, pollMs })], { onEvent: event => events.push(event) });
  open.push(vm);
  await vm.start();
  return { vm, records, events };
}

describe('kmsg source', () => {
  it('is delayed, gives no id, and announces the kernel line as a fork with a reseeded kernel', async () => {
    const { vm, records } = await log();
    expect([vm.protection, vm.check(), vm.poll()]).toEqual(['delayed', 1, 1]);
    records.push(`6,900,1,-;something else\n`, FORK);
    expect(vm.poll()).toBe(2);
    expect(vm.evidence).toMatchObject({ kernelReseeded: true, vmGenId: undefined });
  });

  it('lines from before the start tell of older forks, and are ignored', async () => {
    const { vm, records } = await log([`6,1,1,-;boot\n`, FORK, errno('EPIPE'), FORK]);
    expect(vm.poll()).toBe(1);
    records.push(FORK);
    expect(vm.poll()).toBe(2);
  });

  describe('what it says of forks that nobody was there to see', () => {
    const record = (sequence: number, text = 'something else') => `5,${sequence},1,-;${text}\n`;
    const fork = (sequence: number) => record(sequence, LINE);
    const history = async (old: (string | Error)[], later: (string | Error)[] = []) => {
      const records = [...old];
      const readRecord = () => {
        const next = records.shift();
        if (next instanceof Error) throw next;
        return next ?? null;
      };
      const source = new KmsgSource({ readRecord, pollMs: 3_600_000 });
      const vm = new VmGenId([source]);
      open.push(vm);
      expect(source.history).toBeUndefined();
      await vm.start();
      records.push(...later);
      vm.poll();
      return source.history && String(source.history);
    };

    it.each([
      ['of a log since the boot without such a line', [record(0), record(1)], [], 'none'],
      [
        'the last of the lines that there are',
        [record(7), fork(8), record(9), fork(12), record(13)],
        [],
        '12',
      ],
      ['one that comes later', [record(0), fork(3)], [record(4), fork(5)], '5'],
      ['nothing, of a log whose beginning is lost', [record(7), record(8)], [], undefined],
      [
        'nothing, where records are lost behind the last',
        [record(0), fork(3), errno('EPIPE'), record(9)],
        [],
        undefined,
      ],
      ['nothing, where they are lost at the beginning', [errno('EPIPE'), record(0)], [], undefined],
      ['a line that comes behind a loss', [errno('EPIPE'), fork(9), record(10)], [], '9'],
      ['nothing, where they are lost later', [record(0)], [errno('EINVAL')], undefined],
      ['nothing, of an empty log', [], [], undefined],
    ])('%s', async (_, old, later, told) => {
      expect(await history(old, later)).toBe(told);
    });
  });

  it('watches by itself', async () => {
    const { vm, records } = await log([], 5);
    records.push(FORK);
    await vi.waitFor(() => expect(vm.epoch).toBe(2), { timeout: 10_000 });
  });

  it.each([
    ['with the name of the calling thread', `5,901,17,-,caller=T312;${LINE}\n`],
    ['with a dictionary', `5,901,17,-;${LINE}\n SUBSYSTEM=virt\n`],
    ['at another level', `2,901,17,-;${LINE}\n`],
  ])('the kernel line counts %s', async (_name, record) => {
    const { vm, records } = await log();
    records.push(record);
    expect(vm.poll()).toBe(2);
  });

  it.each([
    ['a program (facility 1)', `13,901,17,-;${LINE}\n`],
    ['a program at the highest level', `8,901,17,-;${LINE}\n`],
    ['a daemon (facility 3)', `29,901,17,-;${LINE}\n`],
    ['somebody who quotes it', `5,901,17,-;audit: "${LINE}"\n`],
    ['somebody who adds to it', `5,901,17,-;${LINE}s\n`],
    ['a dictionary', `5,901,17,-;usb: new device\n DEVICE=x;${LINE}\n`],
    ['no record at all', LINE],
    ['a record without a priority', `,901,17,-;${LINE}\n`],
  ])('the same words from %s do not count', async (_name, record) => {
    const { vm, records } = await log();
    records.push(record);
    expect(vm.poll()).toBe(1);
  });

  it.each(['EPIPE', 'EINVAL'])(
    'a record that was lost (%s) may have been the line: a fork without evidence',
    async code => {
      const { vm, records } = await log();
      records.push(errno(code), `6,990,1,-;later\n`);
      expect(vm.poll()).toBe(2);
      expect(vm.evidence.kernelReseeded).toBe(false);
      expect(vm.poll()).toBe(2);
    },
  );

  it.each(['EPIPE', 'EINVAL'])(
    'a record that was lost (%s) is no news beside a page that shows every fork',
    async code => {
      const records = [errno(code)];
      const readRecord = () => {
        const lost = records.shift();
        if (lost) throw lost;
        return null;
      };
      const events: VmGenIdEvent[] = [];
      const page = new MemorySource();
      const vm = new VmGenId([page, new KmsgSource({ readRecord, pollMs: 3_600_000 })], {
        onEvent: event => events.push(event),
      });
      open.push(vm);
      // At its start the log goes to its end, whatever was lost before.
      await vm.start();
      records.push(errno(code), errno(code));
      expect([vm.poll(), events]).toEqual([1, []]);
      records.push(errno(code));
      page.fork(new Uint8Array(16).fill(2));
      expect(vm.poll()).toBe(2);
      expect(events.map(({ type }) => type)).toEqual(['fork']);
    },
  );

  it('a log that cannot be read lets nothing out until it can, and what it then says counts', async () => {
    const { vm, records, events } = await log();
    records.push(errno('EIO'));
    expect(vm.poll()).toBe(NO_EPOCH);
    expect(vm.check()).toBe(NO_EPOCH);
    expect(vm.sources[0].reason).toMatch(/\/dev\/kmsg: EIO/);
    records.push(FORK);
    expect(vm.poll()).toBe(2);
    expect(events.map(({ type }) => type)).toEqual(['sourceFailed', 'fork', 'sourceRecovered']);
  });

  it('several lines waiting behind a changed page are one fork', async () => {
    const records: string[] = [];
    const page = new MemorySource();
    const vm = new VmGenId([
      page,
      new KmsgSource({ readRecord: () => records.shift() ?? null, pollMs: 3_600_000 }),
    ]);
    open.push(vm);
    await vm.start();
    records.push(FORK, FORK);
    page.fork(new Uint8Array(16).fill(2));
    expect(vm.poll()).toBe(2);
    expect(vm.evidence.kernelReseeded).toBe(false);
  });

  it('a log that may not be read says what is needed, one that is not there that it is not', async () => {
    expect(() => openKmsg('/dev/null/kmsg')).toThrow(
      expect.objectContaining({
        code: 'ERR_SOURCE_UNAVAILABLE',
        message: expect.stringContaining('ENOTDIR'),
      }),
    );
    const vm = new VmGenId([new KmsgSource({ path: '/nowhere/kmsg' })]);
    open.push(vm);
    await vm.start();
    expect(vm.check()).toBe(NO_EPOCH);
    expect(vm.sources[0]).toMatchObject({ name: 'kmsg:/nowhere/kmsg', readable: false });
    expect(vm.sources[0].reason).toContain('ENOENT');
  });
});

describe('kmsg source: the real device', () => {
  it('starts at the end of the log and ignores what a program writes, or says why it cannot read', async () => {
    const vm = new VmGenId([new KmsgSource({ pollMs: 3_600_000 })]);
    open.push(vm);
    await vm.start();
    const [status] = vm.sources;
    if (!status.readable) {
      expect(status.reason).toMatch(/^\/dev\/kmsg: (EPERM|EACCES|ENOENT|ENXIO)/);
      return;
    }
    expect(vm.poll()).toBe(1);
    if (!canWrite()) return;
    const mark = `wireonce test ${process.pid}.${Math.trunc(performance.now())}`;
    // The kernel puts facility 1 in place of the 0 that is asked for here.
    for (const text of [`<5>${LINE}`, `<0>${LINE}`, `<5>${mark}`]) writeFileSync(KMSG_PATH, `${text}\n`);
    expect(vm.poll()).toBe(1);

    // Control: the same words are accepted where they bear the kernel's own facility.
    const seen = await log();
    seen.records.push(FORK);
    expect(seen.vm.poll()).toBe(2);
  });
});

function canWrite(): boolean {
  if (!existsSync(KMSG_PATH)) return false;
  try {
    const fd = openSync(KMSG_PATH, 'w');
    try {
      writeSync(fd, 'wireonce test begins\n');
    } finally {
      closeSync(fd);
    }
    return true;
  } catch {
    return false;
  }
}
