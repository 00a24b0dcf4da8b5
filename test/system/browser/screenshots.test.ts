// The screenshots of the documents: the script that takes them still reaches every state that they show.
// Pixels are not compared, since they differ with fonts and machines; what the page says at that moment is.

import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SCENES, SIZE, WINDOW, capture } from '../../../release/pictures/screenshots.js';
import { Site } from './support/site.js';
import { sizeOf } from '../../house/webp.js';

let site: Site;
beforeAll(async () => {
  site = await Site.open('demo', '--web', '--no-open');
});
afterAll(() => site?.close());
afterEach(() => {
  expect(site.faults.splice(0)).toEqual([]);
});

describe.each(SCENES)('$at', scene => {
  it('comes to its end, and gives its pictures in light and dark', async () => {
    const page = await site.visit(scene.at, WINDOW);
    const files = await capture(page, scene);
    expect(files.size).toBe(2 * Object.keys(scene.pictures).length);
    for (const [file, bytes] of files) {
      expect(sizeOf(bytes), file).toEqual(SIZE);
      expect(
        sizeOf(readFileSync(new URL(`../../../docs/screenshots/${file}`, import.meta.url))),
        file,
      ).toEqual(SIZE);
    }
    expect(new Set([...files.values()].map(bytes => bytes.toString('base64'))).size).toBe(files.size);
    await page.close();
  });
});

it('control: no picture is taken of a page that says something else', async () => {
  const scene = SCENES.find(({ press, counts: [, from] }) => press === undefined && from > 0);
  if (!scene) throw new Error('no such scene');
  const page = await site.visit(scene.at, WINDOW);
  await expect(capture(page, { ...scene, counts: [scene.counts[0], 0, 0] })).rejects.toThrow(scene.at);
  await page.close();
});
