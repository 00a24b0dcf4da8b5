// All that can be measured, by name. main.ts runs each in a process of its own.

import type { Suite } from '../../protocol/suite.js';
import type { Effort } from '../measure.js';
import type { Row } from '../row.js';
import { commandsSection } from './commands.js';
import { crngSection } from './crng.js';
import { firstForkSection } from './first-fork.js';
import { floodSection } from './flood.js';
import { handshakeSection } from './handshakes.js';
import { peersSection } from './peers.js';
import { recoverySection } from './recovery.js';
import { releaseSection } from './release.js';
import { sessionsSection } from './sessions.js';
import { stagesSection } from './stages.js';
import { transportSection } from './transport.js';
import { tripwireSection } from './tripwire.js';

export interface SectionInput {
  readonly suite: Suite;
  /** Whether `suite` is the fastest that loads here: goals are set for that one. */
  readonly isFastest: boolean;
  readonly effort: Effort;
  /** How often a device full of sessions is built and forked. */
  readonly forks: number;
}

export interface Section {
  /** `each`: measured with every suite that loads; `fastest`: with the fastest alone. */
  readonly suites: 'each' | 'fastest';
  run(input: SectionInput): Promise<Row[]>;
}

export const SECTIONS: Readonly<Record<string, Section>> = {
  commands: { suites: 'fastest', run: async ({ effort }) => commandsSection(effort) },
  transport: {
    suites: 'each',
    run: ({ suite, effort, isFastest }) => transportSection(suite, effort, isFastest),
  },
  stages: { suites: 'fastest', run: ({ suite, effort }) => stagesSection(suite, effort) },
  release: { suites: 'fastest', run: ({ suite, effort }) => releaseSection(suite, effort) },
  handshakes: { suites: 'each', run: ({ suite, effort }) => handshakeSection(suite, effort) },
  recovery: {
    suites: 'fastest',
    run: async ({ suite, effort }) => [
      ...(await recoverySection(suite, effort)),
      ...firstForkSection(suite.name, effort),
    ],
  },
  tripwire: { suites: 'fastest', run: ({ suite, effort }) => tripwireSection(suite, effort) },
  flood: { suites: 'each', run: ({ suite, effort }) => floodSection(suite, effort) },
  crng: { suites: 'fastest', run: ({ suite, effort }) => crngSection(suite, effort) },
  peers: { suites: 'fastest', run: ({ suite, effort }) => peersSection(suite, 50_000, effort) },
  'sessions-10k': { suites: 'fastest', run: ({ suite, forks }) => sessionsSection(suite, 10_000, forks) },
  'sessions-100k': { suites: 'fastest', run: ({ suite, forks }) => sessionsSection(suite, 100_000, forks) },
};
