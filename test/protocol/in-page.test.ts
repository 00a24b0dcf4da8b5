import { expect, it } from 'vitest';
import * as inPage from '../../protocol/in-page.js';
import * as everywhere from '../../protocol/index.js';

it('has the names that a program in Node has', () => {
  expect(Object.keys(inPage).toSorted()).toEqual(Object.keys(everywhere).toSorted());
});

it('has the suite of noble, whoever asks, and says so of others', async () => {
  expect(await inPage.fastestSuite()).toBe(inPage.nobleSuite);
  for (const name of ['fastest', 'noble']) expect(await inPage.suiteNamed(name)).toBe(inPage.nobleSuite);
  for (const name of ['openssl', 'nobody']) {
    await expect(inPage.suiteNamed(name)).rejects.toMatchObject({ code: 'ERR_SUITE' });
  }
  for (const load of [inPage.loadIpsecMbSuite, inPage.loadOpensslSuite, inPage.loadSodiumSuite]) {
    expect(await load()).toBeUndefined();
  }
});
