// Where the device tree of this machine says that a device's page lies in physical memory.
// Promises: a node is taken for what it says, through every bus above it, or refused with the reason; nothing is guessed.
// Read on: Devicetree Specification 0.4, sections 2.3.5 to 2.3.8; Linux drivers/of/address.c of_translate_address().

import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import type { MemoryRange } from './acpi-resources.js';
import { VmGenIdError, systemReason, unavailable } from './errors.js';

/** Folders are nodes, files are properties. */
export const DEVICE_TREE = '/sys/firmware/devicetree/base';

/** A page of memory, and the node that names it. */
export interface NodePage extends MemoryRange {
  /** Below the root: `/vmgenid@40000000`. */
  readonly node: string;
}

const CELL_BYTES = 4;
/** What a parent that says nothing has. */
const ADDRESS_CELLS = 2;
const SIZE_CELLS = 1;
/** More than any bus has. */
const CELLS_MAX = 4;
/** What a device that is in use says, if it says anything. */
const IN_USE = new Set(['okay', 'ok']);

/**
 * The one page of the devices in use that are compatible with this. Undefined without one; throws `ERR_SOURCE_FORMAT` where a
 * node is not as the specification has it, or several name different pages, and `ERR_SOURCE_UNAVAILABLE` where there is no tree.
 */
export function findNode(folder: string, compatible: string): NodePage | undefined {
  // In the one spelling in which the folder above a node can be told to be the root.
  const tree = resolve(folder);
  const [first, ...others] = nodes(tree)
    .filter(node => strings(node, 'compatible').includes(compatible) && isInUse(node))
    .map(node => ({ node: nameOf(tree, node), ...firstPage(tree, node) }));
  if (others.some(({ address, bytes }) => address !== first.address || bytes !== first.bytes)) {
    const names = [first, ...others].map(({ node }) => node).join(', ');
    throw malformed(`nodes of the device tree (${names}) name more than one ${compatible}`);
  }
  return first;
}

/** The folders of all nodes. */
function nodes(tree: string): string[] {
  try {
    const entries = readdirSync(tree, { recursive: true, withFileTypes: true });
    return entries.filter(entry => entry.isDirectory()).map(({ parentPath, name }) => join(parentPath, name));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw unavailable(code === 'ENOENT' ? `this machine shows no device tree (${tree})` : message, error);
  }
}

function firstPage(tree: string, node: string): MemoryRange {
  let bus = dirname(node);
  const addressCells = cells(tree, bus, '#address-cells', ADDRESS_CELLS);
  const sizeCells = cells(tree, bus, '#size-cells', SIZE_CELLS);
  const reg = property(node, 'reg');
  if (!reg || reg.length < CELL_BYTES * (addressCells + sizeCells)) {
    throw malformed(
      `${nameOf(tree, node)} has ${reg ? `a reg of ${reg.length} bytes` : 'no reg'}, and its parent says ` +
        `${addressCells} and ${sizeCells} cells`,
    );
  }
  let address = number(reg, 0, addressCells);
  const bytes = number(reg, addressCells, sizeCells);
  for (; bus !== tree; bus = dirname(bus)) address = throughBus(tree, bus, address, bytes);
  const [start, length] = [Number(address), Number(bytes)];
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length)) {
    throw malformed(`${nameOf(tree, node)} lies at 0x${address.toString(16)}, which is no address of memory`);
  }
  return { address: start, bytes: length };
}

/** An address as the parent of this bus has it. */
function throughBus(tree: string, bus: string, address: bigint, bytes: bigint): bigint {
  const ranges = property(bus, 'ranges');
  if (!ranges)
    throw malformed(`${nameOf(tree, bus)} has no ranges: what is behind it has no address of memory`);
  // Empty: the same on both sides.
  if (ranges.length === 0) return address;
  const childCells = cells(tree, bus, '#address-cells', ADDRESS_CELLS);
  const parentCells = cells(tree, dirname(bus), '#address-cells', ADDRESS_CELLS);
  const sizeCells = cells(tree, bus, '#size-cells', SIZE_CELLS);
  // As Linux has it: what has no address, or no size, lies nowhere.
  if (Math.min(childCells, parentCells, sizeCells) === 0) {
    throw malformed(
      `the ranges of ${nameOf(tree, bus)} have ${childCells}, ${parentCells} and ${sizeCells} cells: each takes one or more`,
    );
  }
  const entry = childCells + parentCells + sizeCells;
  for (let at = 0; CELL_BYTES * (at + entry) <= ranges.length; at += entry) {
    const start = number(ranges, at, childCells);
    const size = number(ranges, at + childCells + parentCells, sizeCells);
    if (address >= start && address + bytes <= start + size)
      return number(ranges, at + childCells, parentCells) + address - start;
  }
  throw malformed(`0x${address.toString(16)} is in none of the ranges of ${nameOf(tree, bus)}`);
}

function cells(tree: string, node: string, name: string, missing: number): number {
  const bytes = property(node, name);
  if (!bytes) return missing;
  const count = bytes.length === CELL_BYTES ? Number(number(bytes, 0, 1)) : Number.NaN;
  if (!(count >= 0 && count <= CELLS_MAX)) throw malformed(`${nameOf(tree, node)} has no sensible ${name}`);
  return count;
}

/** Big-endian, the most significant cell first. */
function number(bytes: Uint8Array, at: number, count: number): bigint {
  let value = 0n;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let i = at; i < at + count; i++) value = (value << 32n) | BigInt(view.getUint32(CELL_BYTES * i));
  return value;
}

function isInUse(node: string): boolean {
  const [status] = strings(node, 'status');
  return status === undefined || IN_USE.has(status);
}

/** The strings of a property, each of which ends with a zero. */
function strings(node: string, name: string): string[] {
  const bytes = property(node, name);
  return bytes ? Buffer.from(bytes).toString('latin1').split('\0').slice(0, -1) : [];
}

function property(node: string, name: string): Uint8Array | undefined {
  const path = join(node, name);
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unavailable(`${path}: ${systemReason(error)}`, error);
  }
}

function nameOf(tree: string, node: string): string {
  return `/${relative(tree, node)}`;
}

function malformed(reason: string): VmGenIdError {
  return new VmGenIdError('ERR_SOURCE_FORMAT', reason);
}
