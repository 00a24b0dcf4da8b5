// The scenes, in the order in which the story is told.

import type { ComponentType } from 'preact';
import type { SceneLink } from '../ui/masthead.js';
import { ForkScene } from './fork/scene.js';

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
];
