// Controls: modules of the product are replaced in the guest, before anything loads them. The product has no such switch.

import type { Machine } from '../harness/machine.js';

/** Modules by their path in the product without `.js`, and what stands in for them, of ../guest/controls. */
export type Replaced = Readonly<Record<string, string>>;

const BUILT = '/app/dist';

/** The replaced module stays beside it as `NAME.original.js`, for its substitute to build on. */
export async function replaceModules({ agent }: Machine, replaced: Replaced): Promise<void> {
  for (const [path, control] of Object.entries(replaced)) {
    const module = `${BUILT}/${path}`;
    await agent.shell(
      `mv ${module}.js ${module}.original.js && cp ${BUILT}/test/vm/guest/controls/${control}.js ${module}.js`,
    );
  }
}
