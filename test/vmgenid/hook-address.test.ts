import { describe, expect, it } from 'vitest';
import { isLocal, isOpenToUsers, parseHookAddress } from '../../vmgenid/sources/hook-address.js';
import { HookSource } from '../../vmgenid/sources/hook.js';
import { VmGenId } from '../../vmgenid/driver.js';
import { NO_EPOCH } from '../../vmgenid/generation.js';

describe('where a hook listens', () => {
  it.each([
    ['/run/hook.sock', { path: '/run/hook.sock' }],
    ['127.0.0.1:7000', { host: '127.0.0.1', port: 7000 }],
    ['[::1]:0', { host: '::1', port: 0 }],
    ['vsock:7000', { vsock: 2, port: 7000 }],
    ['vsock:3:7000', { vsock: 3, port: 7000 }],
    ['vsock:1:4294967294', { vsock: 1, port: 4_294_967_294 }],
  ])('%s', (text, address) => {
    expect(parseHookAddress(text)).toEqual(address);
  });

  it.each([
    '',
    'hook.sock',
    'vsock',
    'vsock:',
    'vsock:x',
    'vsock:-1',
    'vsock:4294967295',
    'vsock:4294967295:1',
    'vsock:0:1',
    'vsock:1:2:3',
    'localhost:1',
  ])('nowhere: %j', text => {
    expect(parseHookAddress(text)).toBeUndefined();
    expect(() => new HookSource(text)).toThrow(expect.objectContaining({ code: 'ERR_SOURCE_OPTION' }));
  });

  it('tells what other machines reach, and what every user of this one does', () => {
    const known = [
      '/run/hook.sock',
      'vsock:7000',
      'vsock:3:7000',
      'vsock:1:7000',
      '127.0.0.1:1',
      '192.0.2.1:1',
    ];
    const told = known.map(text => [isLocal(parseHookAddress(text) ?? { path: '' }), isOpenToUsers(text)]);
    expect(told).toEqual([
      [true, false],
      [true, false],
      [true, false],
      [true, true],
      [true, true],
      [false, true],
    ]);
  });
});

describe('a port of the vsock', () => {
  // The kernel may know no such family, or have it. Either way nothing is silent.
  it('is listened at, or the reason is reported and the driver lets nothing out', async () => {
    const events: string[] = [];
    const hook = new HookSource('vsock:4294960000');
    const vm = new VmGenId([hook], { onEvent: ({ type }) => void events.push(type) });
    await vm.start();
    try {
      const [{ readable, reason }] = vm.sources;
      if (readable) {
        expect([vm.check(), hook.address]).toEqual([1, 'vsock:4294960000']);
        // It is ours: whoever comes second is told so.
        const second = new HookSource('vsock:4294960000');
        const other = new VmGenId([second]);
        const handles = pipeHandles();
        await other.start();
        expect(other.sources[0].reason).toMatch(/EADDRINUSE/);
        expect(pipeHandles()).toBe(handles);
        await other.close();
      } else {
        expect(reason).toMatch(/vsock|system calls/);
        expect(vm.check()).toBe(NO_EPOCH);
      }
    } finally {
      await vm.close();
    }
    // The port is free again.
    const again = new HookSource('vsock:4294960000');
    const later = new VmGenId([again]);
    await later.start();
    expect(later.sources[0].reason ?? '').not.toMatch(/EADDRINUSE/);
    await later.close();
  });
});

/** Those that libuv holds, listened at or not. */
function pipeHandles(): number {
  const { libuv } = process.report.getReport() as { libuv: { type: string }[] };
  return libuv.filter(({ type }) => type === 'pipe').length;
}
