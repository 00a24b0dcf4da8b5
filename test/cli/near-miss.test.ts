import { describe, expect, test } from 'vitest';
import { isNearMiss } from '../../cli/near-miss.js';

describe('a slip of the keyboard', () => {
  test.each(['genky', 'genkeyy', 'gunkey', 'gnekey', 'enkey', 'genke'])('%s is meant to be genkey', word => {
    expect(isNearMiss(word, 'genkey')).toBe(true);
  });

  test.each(['genkey', 'wg0', 'gkeney', 'gen', 'genkeyyy', '', 'yekneg'])('%j is no slip', word => {
    expect(isNearMiss(word, 'genkey')).toBe(false);
  });
});
