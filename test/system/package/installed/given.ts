// What the tests of an installed program share: what was made once, and how a machine is written to and looked at.

import type { DebianMachine } from '../debian.js';
import type { Packed } from '../packed.js';

/** All of it is there when a test runs. */
export interface Given {
  readonly packed: Packed;
  /** What a machine sees as /mnt: wireonce.deb, `bin` and `lib` as npm installs the package, and `image` as in an image. */
  readonly shared: string;
  /** The package, under the name that it was made with. */
  readonly deb: string;
}

/** A file of a machine. */
export const put = (machine: DebianMachine, path: string, text: string) =>
  machine.run(`mkdir -p "$(dirname ${path})"; cat > ${path} <<'END'\n${text}\nEND`);
export const callHook = (socketPath: string) =>
  `node -e 'http.request({ socketPath: "${socketPath}", path: "/fork", method: "POST" }, answer => answer.resume()).end("{}")'`;
/** All that was written until now: journald takes lines when it comes to it. */
export const journal = (machine: DebianMachine) =>
  machine.run('journalctl --sync; journalctl --no-pager --output=cat -u "wireonce*"');
