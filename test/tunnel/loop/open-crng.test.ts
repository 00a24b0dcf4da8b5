import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openCrng } from '../../../tunnel/loop/open-crng.js';
import { MemorySource, VmGenId } from '../../../vmgenid/index.js';

const isLinux = process.platform === 'linux';
const descriptors = () => readdirSync('/proc/self/fd').length;

test.runIf(isLinux)('gives back all that it opened, when it is closed and when it fails', async () => {
  const vmgenid = new VmGenId([new MemorySource()]);
  await vmgenid.start();
  // What is loaded stays open: the libraries, at the first time.
  await (await openCrng({ vmgenid })).close();
  const before = descriptors();
  const open = await openCrng({ vmgenid });
  expect(descriptors()).toBeGreaterThan(before);
  await open.close();
  expect(descriptors()).toBe(before);

  const keystream = () => {
    throw new Error('no cipher');
  };
  await expect(openCrng({ vmgenid, keystream })).rejects.toThrow('no cipher');
  expect(descriptors()).toBe(before);
  await vmgenid.close();
});
