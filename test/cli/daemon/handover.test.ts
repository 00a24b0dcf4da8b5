import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { HANDOVER_FD, takeHandover, writeHandover } from '../../../cli/daemon/handover.js';
import type { ProcessRights } from '../../../tunnel/linux/process-rights.js';

const options = {
  foreground: true,
  settings: {
    device: { forkPolicy: 'hold' as const },
    hook: '/run/hook',
    hookToken: 'a secret',
    kmsg: false as const,
  },
  peers: [{ publicKey: new Uint8Array(32).fill(7), endpoint: { url: 'wss://name:word@h/' } }],
  secrets: [new Uint8Array(32).fill(9)],
  warnings: ['strange'],
};

test('what the first start has read and opened the second gets, and nobody after it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'wireonce-handover-'));
  try {
    const path = join(folder, 'file');
    const namelessFile = () => openSync(path, 'w+');
    const handover = { options, opened: { memory: 4, kmsg: 5 } };
    const fd = writeHandover({ namelessFile } as unknown as ProcessRights, handover);
    expect(readFileSync(path, 'latin1')).toContain('a secret');
    expect(takeHandover({ [HANDOVER_FD]: String(fd) })).toEqual(handover);
    expect(readFileSync(path)).toHaveLength(0);
    expect(() => closeSync(fd)).toThrow('EBADF');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a first start has none; a descriptor of something else is refused', () => {
  for (const env of [{}, { [HANDOVER_FD]: '' }]) expect(takeHandover(env)).toBeUndefined();
  for (const fd of ['three', '99999', '-1']) {
    expect(() => takeHandover({ [HANDOVER_FD]: fd }), fd).toThrow(
      expect.objectContaining({ code: 'ERR_CLI_INPUT' }),
    );
  }
});
