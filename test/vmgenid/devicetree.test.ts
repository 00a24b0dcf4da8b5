// The device tree, and the source that reads the page it names: trees in folders, a file in the place of physical memory.

import { closeSync, openSync, rmSync } from 'node:fs';
import { relative } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { findNode } from '../../vmgenid/devicetree.js';
import { VmGenId } from '../../vmgenid/driver.js';
import { VmGenIdError } from '../../vmgenid/errors.js';
import { NO_EPOCH } from '../../vmgenid/generation.js';
import { DevicetreeSource } from '../../vmgenid/sources/devicetree.js';
import { DeviceTreeMachine, type Nodes } from '../support/device-trees.js';

const id = (byte: number) => new Uint8Array(16).fill(byte);
const words = (byte: number) => Array<number>(4).fill(byte * 0x0101_0101);

const machines: DeviceTreeMachine[] = [];
const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const it of open.splice(0)) await it.close();
  for (const machine of machines.splice(0)) machine.remove();
});

function machine(nodes: Nodes, memoryBytes?: number): DeviceTreeMachine {
  const made = new DeviceTreeMachine(nodes, memoryBytes);
  machines.push(made);
  return made;
}

const vmgenid = (more: Nodes[string] = {}) => ({
  compatible: 'microsoft,vmgenid',
  reg: [0, 0x2000, 0, 16],
  ...more,
});

const find = (nodes: Nodes) => findNode(machine(nodes).tree, 'microsoft,vmgenid');

/** What the code and the reason are of the error that this tree gives. */
function refusal(nodes: Nodes): [code: string, message: string] {
  try {
    find(nodes);
  } catch (error) {
    if (error instanceof VmGenIdError) return [error.code, error.message];
    throw error;
  }
  throw new Error('the tree was taken');
}

describe('a node of the device tree', () => {
  it('has the address and the length that its reg says', () => {
    expect(find({ '/vmgenid': vmgenid() })).toEqual({ node: '/vmgenid', address: 0x2000, bytes: 16 });
  });

  it.each([
    ['one cell', [1], [1], [0x2000, 16]],
    ['two cells', [2], [2], [0, 0x2000, 0, 16]],
    ['two cells, high', [2], [1], [0x12, 0x2000, 16], 0x12_0000_2000],
    ['three cells', [3], [2], [0, 0, 0x2000, 0, 16]],
    ['three cells of which the first counts', [3], [2], [0, 7, 0x2000, 0, 16], 0x7_0000_2000],
    ['more than one entry, of which the first is meant', [1], [1], [0x2000, 16, 0x3000, 16]],
  ])('in %s', (_name, addressCells, sizeCells, reg, address = 0x2000) => {
    const root = { '#address-cells': addressCells, '#size-cells': sizeCells };
    expect(find({ '/': root, '/vmgenid': vmgenid({ reg }) })).toMatchObject({ address, bytes: 16 });
  });

  it('is the same in every spelling of the folder', () => {
    const { tree } = machine({ '/vmgenid': vmgenid() });
    for (const spelling of [`${tree}/`, `${tree}//`, `${tree}/vmgenid/..`, relative('.', tree)])
      expect(findNode(spelling, 'microsoft,vmgenid')).toEqual({
        node: '/vmgenid',
        address: 0x2000,
        bytes: 16,
      });
  });

  it('takes two and one cell where the parent says nothing', () => {
    const bus = { ranges: [] };
    expect(find({ '/bus': bus, '/bus/vmgenid': vmgenid({ reg: [0, 0x2000, 16] }) })).toMatchObject({
      bytes: 16,
    });
  });

  it('is found by any of its names, wherever it is', () => {
    const compatible = Buffer.from('other,device\0microsoft,vmgenid\0');
    const bus = { '#address-cells': [2], '#size-cells': [2], ranges: [] };
    expect(find({ '/bus': bus, '/bus/x': vmgenid({ compatible }) })).toMatchObject({ node: '/bus/x' });
    // Not by a part of one.
    expect(find({ '/x': vmgenid({ compatible: 'microsoft,vmgenid2' }) })).toBeUndefined();
  });

  it('lies where the buses above it say', () => {
    const outer = {
      '#address-cells': [1],
      '#size-cells': [1],
      ranges: [0, 0x1, 0x1000, 0x800, 0x1000, 0, 0x4000, 0x800],
    };
    const inner = { '#address-cells': [3], '#size-cells': [2], ranges: [0, 0, 0, 0x1000, 0, 0x800] };
    const nodes = { '/outer': outer, '/outer/inner': inner };
    expect(find({ ...nodes, '/outer/inner/x': vmgenid({ reg: [0, 0, 0x10, 0, 16] }) })).toMatchObject({
      address: 0x4010,
    });
    expect(find({ ...nodes, '/outer/x': vmgenid({ reg: [0x20, 16] }) })).toMatchObject({
      address: 0x1_0000_1020,
    });
  });

  it.each(['okay', 'ok'])('counts when its status is %s', status => {
    expect(find({ '/x': vmgenid({ status }) })).toBeDefined();
  });

  it.each(['disabled', 'fail', 'reserved', ''])('does not when it is "%s"', status => {
    expect(find({ '/x': vmgenid({ status }), '/y': { compatible: 'microsoft,vmgenid2' } })).toBeUndefined();
  });

  it.each(['compatible', 'status', 'reg'])(
    'is refused with path and reason where its %s cannot be read',
    name => {
      const others = Object.entries(vmgenid()).filter(([each]) => each !== name);
      expect(refusal({ '/x': Object.fromEntries(others), [`/x/${name}`]: {} })).toEqual([
        'ERR_SOURCE_UNAVAILABLE',
        expect.stringMatching(new RegExp(`/base/x/${name}: EISDIR`)),
      ]);
    },
  );

  it('may be there twice with one page, not with two', () => {
    expect(find({ '/a': vmgenid(), '/b': vmgenid() })).toMatchObject({ address: 0x2000 });
    expect(refusal({ '/a': vmgenid(), '/b': vmgenid({ reg: [0, 0x3000, 0, 16] }) })).toEqual([
      'ERR_SOURCE_FORMAT',
      'nodes of the device tree (/a, /b) name more than one microsoft,vmgenid',
    ]);
    expect(
      find({ '/a': vmgenid(), '/b': vmgenid({ reg: [0, 0x3000, 0, 16], status: 'disabled' }) }),
    ).toBeDefined();
  });

  const bus = { '#address-cells': [2], '#size-cells': [2] };
  it.each<[string, Nodes, RegExp]>([
    [
      'no reg',
      { '/x': { compatible: 'microsoft,vmgenid' } },
      /^\/x has no reg, and its parent says 2 and 2 cells/,
    ],
    ['a reg that is cut off', { '/x': vmgenid({ reg: [0, 0x2000, 0] }) }, /a reg of 12 bytes/],
    ['an empty reg', { '/x': vmgenid({ reg: [] }) }, /a reg of 0 bytes/],
    [
      'fewer cells than its parent says',
      { '/': { '#address-cells': [3], '#size-cells': [2] }, '/x': vmgenid() },
      /3 and 2 cells/,
    ],
    [
      'an address that is too large',
      { '/x': vmgenid({ reg: [0x20_0000, 0, 0, 16] }) },
      /0x20000000000000, which is no address/,
    ],
    [
      'an address of 96 bits',
      { '/': { '#address-cells': [3], '#size-cells': [2] }, '/x': vmgenid({ reg: [1, 0, 0x2000, 0, 16] }) },
      /no address/,
    ],
    ['a length that is too large', { '/x': vmgenid({ reg: [0, 0x2000, 0xffff_ffff, 0] }) }, /no address/],
    [
      'a parent with cells without sense',
      { '/': { '#address-cells': [5] }, '/x': vmgenid() },
      /^\/ has no sensible #address-cells/,
    ],
    [
      'a parent whose cells are cut off',
      { '/': { '#size-cells': Uint8Array.of(0, 0, 1) }, '/x': vmgenid() },
      /no sensible #size-cells/,
    ],
    ['a bus without ranges', { '/bus': bus, '/bus/x': vmgenid() }, /^\/bus has no ranges/],
    [
      'a bus whose ranges are elsewhere',
      { '/bus': { ...bus, ranges: [0, 0x8000, 0, 0, 0, 0x100] }, '/bus/x': vmgenid() },
      /0x2000 is in none of the ranges of \/bus/,
    ],
    [
      'a bus that ends in it',
      { '/bus': { ...bus, ranges: [0, 0, 0, 0, 0, 0x2008] }, '/bus/x': vmgenid() },
      /in none of the ranges/,
    ],
    [
      'a bus whose ranges are cut off',
      { '/bus': { ...bus, ranges: [0, 0, 0, 0, 0] }, '/bus/x': vmgenid() },
      /in none of the ranges/,
    ],
    [
      'buses without cells, in which an entry of ranges would take no room',
      {
        '/': { '#address-cells': [0], '#size-cells': [0] },
        '/outer': { '#address-cells': [0], '#size-cells': [0], ranges: [0] },
        '/outer/inner': { '#address-cells': [1], '#size-cells': [1], ranges: [0, 0x10000] },
        '/outer/inner/x': vmgenid({ reg: [0x2000, 16] }),
      },
      /^the ranges of \/outer\/inner have 1, 0 and 1 cells/,
    ],
    [
      'a bus whose sizes have no cells',
      {
        '/bus': { '#address-cells': [2], '#size-cells': [0], ranges: [0, 0x2000, 0, 0x3000] },
        '/bus/x': vmgenid({ reg: [0, 0x2000] }),
      },
      /^the ranges of \/bus have 2, 2 and 0 cells/,
    ],
  ])('with %s is refused, with the reason', (_name, nodes, reason) => {
    expect(refusal(nodes)).toEqual(['ERR_SOURCE_FORMAT', expect.stringMatching(reason)]);
  });

  it('of no tree is not there', () => {
    const message = 'this machine shows no device tree (/nowhere/base)';
    expect(() => findNode('/nowhere/base', 'x')).toThrow(
      expect.objectContaining({ code: 'ERR_SOURCE_UNAVAILABLE', message }),
    );
  });
});

describe('the source of the device tree', () => {
  function source({ tree, memory }: DeviceTreeMachine, pollMs = 3_600_000): DevicetreeSource {
    const it = new DevicetreeSource({ tree, memory, pollMs });
    open.push(it);
    return it;
  }

  function read(from: DevicetreeSource): number[] {
    const into = new Uint32Array(4);
    from.read(into);
    return [...into];
  }

  it('is immediate and unique, and shows what is written to the page at the next read', () => {
    const arm = machine({ '/vmgenid': vmgenid() });
    arm.write(0x2000, id(1));
    const it = source(arm);
    expect(it).toMatchObject({ name: `devicetree:${arm.tree}`, timing: 'immediate', uniqueness: 'unique' });
    expect(new DevicetreeSource().name).toBe('devicetree');
    expect(read(it)).toEqual(words(1));
    rmSync(arm.tree, { recursive: true });
    arm.write(0x2000, id(0xfe));
    expect(read(it)).toEqual(words(0xfe));
  });

  it('a new ID is a fork, and its bytes are the evidence', () => {
    const arm = machine({ '/vmgenid': vmgenid() });
    arm.write(0x2000, id(1));
    const vm = new VmGenId([source(arm)]);
    open.push(vm);
    expect(vm.check()).toBe(1);
    arm.write(0x2000, id(2));
    expect(vm.check()).toBe(2);
    expect(vm.evidence.vmGenId).toEqual(id(2));
  });

  it('reads by a descriptor that was opened while there was the right to', () => {
    const arm = machine({ '/vmgenid': vmgenid() });
    arm.write(0x2000, id(1));
    const memoryFd = openSync(arm.memory, 'r');
    try {
      const it = new DevicetreeSource({ tree: arm.tree, memory: '/nowhere/mem', memoryFd });
      open.push(it);
      expect(read(it)).toEqual(words(1));
      it.close();
      expect(() => read(it)).toThrow('/nowhere/mem is not there');
    } finally {
      closeSync(memoryFd);
    }
  });

  it.each<[string, Nodes, string, RegExp]>([
    ['no node', {}, 'ERR_SOURCE_UNAVAILABLE', /has no microsoft,vmgenid: this hypervisor offers/],
    [
      'a node that is not in use',
      { '/x': vmgenid({ status: 'disabled' }) },
      'ERR_SOURCE_UNAVAILABLE',
      /offers/,
    ],
    [
      'a page that is too short',
      { '/x': vmgenid({ reg: [0, 0x2000, 0, 8] }) },
      'ERR_SOURCE_FORMAT',
      /^\/x has 8 bytes/,
    ],
    [
      'an address in the first page',
      { '/x': vmgenid({ reg: [0, 0x28, 0, 16] }) },
      'ERR_SOURCE_FORMAT',
      /\/x .*no place for one/,
    ],
    [
      'an address that is no multiple of 8',
      { '/x': vmgenid({ reg: [0, 0x2004, 0, 16] }) },
      'ERR_SOURCE_FORMAT',
      /no place/,
    ],
    ['a page of zeros', { '/x': vmgenid({ reg: [0, 0x3000, 0, 4_096] }) }, 'ERR_SOURCE_FORMAT', /16 zeros/],
    [
      'a memory that ends before it',
      { '/x': vmgenid({ reg: [1, 0x3000, 0, 16] }) },
      'ERR_SOURCE_UNAVAILABLE',
      /^EOVERFLOW: mmap/,
    ],
  ])('lets nothing out with %s, and says why', (_name, nodes, code, reason) => {
    const it = source(machine(nodes));
    expect(() => read(it)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(reason) }));
    const vm = new VmGenId([it]);
    open.push(vm);
    expect(vm.check()).toBe(NO_EPOCH);
  });
});
