// The generation-ID page by a program in the kernel that runs the tests. What follows a fork is in test/vm.

import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { BpfSource, type OpenedBpf, closeBpf, openBpf } from '../../../vmgenid/index.js';

const LIBRARY = new URL('../../../dist/vmgenid/index.js', import.meta.url).href;

function tryOpen(): { opened?: OpenedBpf; reason: string } {
  try {
    return { opened: openBpf(), reason: 'here' };
  } catch (error) {
    // A machine without the device has nothing to read. Any other refusal is a fault.
    if (!/has no device here/.test((error as Error).message)) throw error;
    return { reason: `not here: ${(error as Error).message}` };
  }
}

const { opened, reason } = tryOpen();

function read(from: OpenedBpf): Uint32Array {
  const source = new BpfSource({ opened: from });
  const into = new Uint32Array(4);
  source.read(into);
  source.close();
  return into;
}

describe.skipIf(!opened)(`a program in the kernel that reads the page (${reason})`, () => {
  const program = opened?.program ?? -1;
  afterAll(() => opened && closeBpf(opened));

  test('is taken by the verifier, and finds what the driver has: the same in each that is loaded', () => {
    const source = new BpfSource();
    const into = new Uint32Array(4);
    source.read(into);
    source.close();
    expect(into.some(word => word !== 0)).toBe(true);
    expect(read({ program, device: opened?.device ?? -1 })).toEqual(into);
  });

  test.each([
    '/sys/devices/platform',
    '/sys/bus/platform/drivers/vmgenid',
    '/sys',
    '/proc/self',
    '/etc',
    '/etc/passwd',
  ])('control: from a descriptor of %s it comes to no page, and the kernel stays whole', path => {
    const device = openSync(path, constants.O_RDONLY);
    expect(() => read({ program, device })).toThrow("not under the kernel's vmgenid driver");
    closeSync(device);
    expect(() => read({ program, device })).toThrow("not under the kernel's vmgenid driver");
    expect(() => read({ program, device: 2 ** 31 - 1 })).toThrow("not under the kernel's vmgenid driver");
  });

  test('needs no right once it is loaded, and many to be loaded', () => {
    const script = `
      import { BpfSource, openBpf } from ${JSON.stringify(LIBRARY)};
      const into = new Uint32Array(4);
      new BpfSource({ opened: { program: 3, device: 4 } }).read(into);
      let refused;
      try { openBpf(); } catch (error) { refused = error.message; }
      console.log(JSON.stringify({ id: [...into], refused }));`;
    const { stdout, stderr } = spawnSync(
      'setpriv',
      ['--bounding-set=-all', '--no-new-privs', process.execPath, '--input-type=module', '-e', script],
      { stdio: ['ignore', 'pipe', 'pipe', program, opened?.device], encoding: 'utf8' },
    );
    expect(stderr).toBe('');
    const { id, refused } = JSON.parse(stdout) as { id: number[]; refused: string };
    expect(Uint32Array.from(id)).toEqual(read({ program, device: opened?.device ?? -1 }));
    expect(refused).toContain('needs CAP_BPF and CAP_PERFMON');
  });
});
