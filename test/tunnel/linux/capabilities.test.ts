import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { capabilityMask, capabilityNames, readPrivileges } from '../../../tunnel/linux/capabilities.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireonce-capabilities-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** As `/proc/PID/task` shows it. */
function thread(id: number, permitted: string, noNewPrivs: number): void {
  mkdirSync(join(folder, `${id}`));
  writeFileSync(
    join(folder, `${id}`, 'status'),
    `Name:\tnode\nCapInh:\t00000000ffffffff\nCapPrm:\t${permitted}\nCapEff:\t0000000000000000\nNoNewPrivs:\t${noNewPrivs}\n`,
  );
}

test('capabilities are named by their numbers, those that are newer than we too', () => {
  expect(capabilityNames(0n)).toEqual([]);
  // Linux include/uapi/linux/capability.h
  expect(capabilityNames((1n << 12n) | (1n << 17n) | (1n << 34n) | (1n << 40n) | (1n << 63n))).toEqual([
    'CAP_NET_ADMIN',
    'CAP_SYS_RAWIO',
    'CAP_SYSLOG',
    'CAP_CHECKPOINT_RESTORE',
    'CAP_63',
  ]);
  expect(capabilityMask(['CAP_CHOWN', 'CAP_NET_BIND_SERVICE', 'CAP_SYSLOG'])).toBe(
    1n | (1n << 10n) | (1n << 34n),
  );
});

describe('the privileges of a process', () => {
  test('are what any of its threads may do', () => {
    thread(1, '0000000000001000', 1);
    thread(2, '0000000000000400', 1);
    expect(readPrivileges(folder)).toEqual({
      capabilities: ['CAP_NET_BIND_SERVICE', 'CAP_NET_ADMIN'],
      noNewPrivileges: true,
    });
    thread(3, '0000000400000000', 0);
    expect(readPrivileges(folder)).toEqual({
      capabilities: ['CAP_NET_BIND_SERVICE', 'CAP_NET_ADMIN', 'CAP_SYSLOG'],
      noNewPrivileges: false,
    });
  });

  test('a thread that ends meanwhile is left out', () => {
    thread(1, '0000000000001000', 1);
    mkdirSync(join(folder, '2'));
    expect(readPrivileges(folder)?.capabilities).toEqual(['CAP_NET_ADMIN']);
  });

  test('are not known without /proc, nor where it shows something else', () => {
    expect(readPrivileges(join(folder, 'none'))).toBeNull();
    mkdirSync(join(folder, '1'));
    writeFileSync(join(folder, '1', 'status'), 'Name:\tnode\n');
    expect(readPrivileges(folder)).toBeNull();
  });

  test('of this one are found', () => {
    expect(readPrivileges()?.capabilities).toBeInstanceOf(Array);
  });
});
