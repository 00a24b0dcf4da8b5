// Controls: modules of the product are replaced in the guest, before anything loads them. The product has no such switch.

import { basename } from 'node:path';

import type { Machine } from '../harness/machine.js';

/** Modules by their path in the product without `.js`, and what stands in for them, of ../guest/controls. */
export type Replaced = Readonly<Record<string, string>>;

const BUILT = '/app/dist';

/**
 * The replaced module stays beside it as `NAME.original.js`, for its substitute to build on. Whatever the substitute does
 * not export itself is the original's, so that a name that is added to the product reaches those who import it.
 */
export async function replaceModules({ agent }: Machine, replaced: Replaced): Promise<void> {
  for (const [path, control] of Object.entries(replaced)) {
    const module = `${BUILT}/${path}`;
    const rest = `export * from './${basename(path)}.original.js';`;
    await agent.shell(
      `mv ${module}.js ${module}.original.js && ` +
        `{ cat ${BUILT}/test/vm/guest/controls/${control}.js; printf '\\n%s\\n' "${rest}"; } >${module}.js`,
    );
  }
}
