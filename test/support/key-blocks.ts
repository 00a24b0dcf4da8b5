// Key memory as a test sees it.

import { vi } from 'vitest';
import { KeySlab } from '../../sessions/key-slab.js';

/** Every block of key memory that is handed out from now on, until mocks are restored; one that is handed out again, once. */
export function watchKeyBlocks(): Uint8Array[] {
  const blocks: Uint8Array[] = [];
  const { allocate } = KeySlab.prototype;
  vi.spyOn(KeySlab.prototype, 'allocate').mockImplementation(function (this: KeySlab) {
    const block = allocate.call(this);
    if (!blocks.includes(block)) blocks.push(block);
    return block;
  });
  return blocks;
}
