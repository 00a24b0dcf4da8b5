// The scenes, in the order in which the story is told.

import type { ComponentType } from 'preact';
import type { SceneLink } from '../ui/masthead.js';
import { CrowdScene } from './crowd/scene.js';
import { DelayedScene } from './delayed/scene.js';
import { ForkScene } from './fork/scene.js';
import { ProofScene } from './proof/scene.js';
import { ReadsScene } from './reads/scene.js';

export interface Scene extends SceneLink {
  readonly title: string;
  readonly lead: string;
  readonly Scene: ComponentType;
}

export const SCENES: readonly Scene[] = [
  {
    name: 'fork',
    label: 'A fork',
    title: 'A machine is saved, and started twice',
    lead: 'A machine talks to its peer through WireGuard. A snapshot of it is restored twice: both copies wake up with the same keys, the same counters and the same random numbers, and both go on. Somebody listens to the wire, and has no key.',
    Scene: () => <ForkScene guarded={false} />,
  },
  {
    name: 'protected',
    label: 'With protection',
    title: 'The same script, with protection',
    lead: 'The same machine, the same snapshot, the same attacker. But each copy reads the generation ID that its hypervisor gave it, after it has sealed a datagram and before the datagram may leave.',
    Scene: () => <ForkScene guarded={true} />,
  },
  {
    name: 'late',
    label: 'A late word',
    title: 'When word of the fork comes late',
    lead: 'Not every hypervisor tells its guest at once. Until a log line, a hook or a file has told them, two clones are one machine in two places. How wide that window is, and what it costs to close it, is yours to drag.',
    Scene: DelayedScene,
  },
  {
    name: 'instants',
    label: 'Every instant',
    title: 'Forked at every instant',
    lead: 'A machine can learn of its fork when it looks at its generation, and at no other time. So one run has as many forks as it has looks, and all of them can be tried: a handshake, packets, a batch, two rekeys.',
    Scene: ReadsScene,
  },
  {
    name: 'clones',
    label: 'A thousand clones',
    title: 'One machine becomes a thousand',
    lead: 'A sandbox is warmed up once, and restored for everybody who asks. By policy “enrol” each clone erases its parent’s private key, draws one of its own, and comes to its gateway as somebody of its own.',
    Scene: CrowdScene,
  },
  {
    name: 'proof',
    label: 'Real machines',
    title: 'The same with real machines',
    lead: 'What this page plays, a script does with virtual machines under QEMU: snapshots under traffic, each restored with new generation IDs, every datagram of the clones compared.',
    Scene: ProofScene,
  },
];
