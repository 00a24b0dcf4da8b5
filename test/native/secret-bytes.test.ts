// Memory for secrets has one place: whoever asks for its buffer, or moves it, leaves no copy behind.

import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { copySecret, secretBytes } from '../../native/secret-bytes.js';
import { countInMemory } from '../support/process-memory.js';

const BYTES = 32;

/** Bytes that lie nowhere else, in memory that is not found when they are counted. */
function pattern(seed: number): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(BYTES));
  for (let i = 0; i < BYTES; i++) bytes[i] = (seed * (i + 3) * 0x9e37) >>> (i % 7);
  return bytes;
}

it('what is moved to another thread leaves nothing behind, and is gone when that one has erased it', () => {
  const secret = pattern(0x1d07);
  const { port1, port2 } = new MessageChannel();
  const home = copySecret(secret);
  port1.postMessage(home, [home.buffer]);
  const there = receiveMessageOnPort(port2)?.message as Uint8Array;
  port1.close();
  expect(home.length).toBe(0);
  expect(there).toEqual(secret);
  there.fill(0);
  expect(countInMemory(secret)).toBe(0);
});

it('what was erased is gone, whoever asked for its buffer', () => {
  const secret = pattern(0x2f11);
  const home = copySecret(secret);
  expect(new Uint8Array(home.buffer)).toEqual(secret);
  home.fill(0);
  expect(countInMemory(secret)).toBe(0);
});

it('control: an array that the engine has put into its heap leaves a copy there', () => {
  const secret = pattern(0x3b2d);
  const home = new Uint8Array(BYTES);
  home.set(secret);
  expect(home.buffer.byteLength).toBe(BYTES);
  home.fill(0);
  expect(countInMemory(secret)).toBeGreaterThan(0);
});

it('a copy is another, of the same bytes; new memory is zeros', () => {
  const secret = pattern(0x4d35);
  const copy = copySecret(secret);
  expect(copy).toEqual(secret);
  expect(copy.buffer).not.toBe(secret.buffer);
  expect(secretBytes(5)).toEqual(new Uint8Array(5));
});
