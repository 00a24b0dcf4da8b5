// What a kernel says of its types, and what is made of it when it is damaged.

import { describe, expect, it } from 'vitest';
import { memberOffsets, readBtf } from '../../vmgenid/btf.js';
import { btf } from '../support/btf.js';

const DEVICE = { kobj: 0, driver: 104, driver_data: 120 };
const FILE = { f_lock: 0, f_inode: 32 };

describe('memberOffsets', () => {
  it.each([false, true])('finds members by their names, among other types (bit fields: %s)', bitFields => {
    const types = readBtf(btf({ device: DEVICE, file: FILE, driver: { device: 8 } }, { bitFields }));
    expect(memberOffsets(types, { file: ['f_inode'], device: ['driver', 'driver_data'] })).toEqual({
      file: { f_inode: 32 },
      device: { driver: 104, driver_data: 120 },
    });
  });

  it('leaves out a structure that is not there, or lacks a member', () => {
    const types = readBtf(btf({ file: FILE, device: DEVICE }));
    expect(
      memberOffsets(types, { file: ['f_inode', 'f_path'], inode: ['i_private'], device: ['kobj'] }),
    ).toEqual({
      device: { kobj: 0 },
    });
  });

  it('follows a module on from the kernel, whose names it shares', () => {
    const kernel = readBtf(btf({ device: DEVICE }));
    const module = btf({ vmgenid_state: { next_id: 0, this_id: 8 } }, { baseNames: kernel.strings.length });
    expect(memberOffsets(readBtf(module, kernel), { vmgenid_state: ['next_id', 'this_id'] })).toEqual({
      vmgenid_state: { next_id: 0, this_id: 8 },
    });
  });

  it('refuses a description with its reason, wherever it is cut off or changed', () => {
    const whole = btf({ device: DEVICE, file: FILE });
    const wanted = { device: ['driver'], file: ['f_inode'], last: ['one'] } as const;
    const read = (bytes: Uint8Array) => memberOffsets(readBtf(bytes), wanted);
    expect(read(whole)).toMatchObject({ device: { driver: 104 } });
    for (let length = 0; length < whole.length; length++)
      expect(() => read(whole.subarray(0, length)), `${length} bytes`).toThrow(
        /types: (wrong magic|cut off)/,
      );
    expect(() => read(btf({ device: DEVICE }, { magic: 0x9feb }))).toThrow('wrong magic');
    // Whatever a byte is changed to, it ends, and with nothing but the refusal or an answer.
    for (let at = 0; at < whole.length; at++) {
      for (const value of [0, 0x1f, 0x7f, 0xff]) {
        const bytes = Buffer.from(whole);
        bytes[at] = value;
        try {
          read(bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_SOURCE_FORMAT' });
        }
      }
    }
    const unknown = Buffer.from(whole);
    unknown[24 + 7] = 20;
    expect(() => read(unknown)).toThrow('a type of unknown kind 20');
  });
});
