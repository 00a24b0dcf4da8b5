// Two network namespaces of this machine and a cable between them: one for each end of a tunnel.
// Promises: names carry this process's id and are nobody else's; everything goes when the namespaces do.
// Read on: man 8 ip-netns; man 4 veth.

import { spawnSync } from 'node:child_process';
import { run } from './programs.js';
import type { Undo } from './undo.js';

export const SIDES = ['left', 'right'] as const;
export type Side = (typeof SIDES)[number];

/** The interface on each side. */
export const CABLE = 'veth0';
/** Addresses of documentation (RFC 5737), on the cable. */
export const OUTER: Record<Side, string> = { left: '192.0.2.1', right: '192.0.2.2' };

export class Topology {
  readonly #name: string;

  private constructor(name: string) {
    this.#name = name;
  }

  /** `label`: of this pair of namespaces, among those of this process. */
  static async create(label: string, undo: Undo): Promise<Topology> {
    const topology = new Topology(`wireonce-bench-${process.pid}-${label}`);
    for (const side of SIDES) {
      const namespace = topology.namespace(side);
      await run('ip', ['netns', 'add', namespace]);
      undo.push(() => spawnSync('ip', ['netns', 'del', namespace]));
    }
    const [left, right] = SIDES.map(side => topology.namespace(side));
    await run('ip', [
      '-n',
      left,
      'link',
      'add',
      CABLE,
      'type',
      'veth',
      'peer',
      'name',
      CABLE,
      'netns',
      right,
    ]);
    for (const side of SIDES) {
      await topology.ip(side, 'link', 'set', 'lo', 'up');
      await topology.ip(side, 'addr', 'add', `${OUTER[side]}/24`, 'dev', CABLE);
      await topology.ip(side, 'link', 'set', CABLE, 'up');
    }
    return topology;
  }

  namespace(side: Side): string {
    return `${this.#name}-${side}`;
  }

  /** Runs `ip` for the namespace of a side. */
  ip(side: Side, ...args: string[]): Promise<string> {
    return run('ip', ['-n', this.namespace(side), ...args]);
  }

  /** The command line by which a program runs on a side. It keeps the process id: `ip` becomes the program. */
  inside(side: Side, command: string, args: readonly string[]): [string, string[]] {
    return ['ip', ['netns', 'exec', this.namespace(side), command, ...args]];
  }
}
