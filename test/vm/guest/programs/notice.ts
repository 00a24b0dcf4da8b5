// The vmclock device of the guest's kernel, waited for as the device thread of a daemon waits.

import { POLLIN, requireLibc } from '../../../../tunnel/linux/libc.js';
import { Poller } from '../../../../tunnel/linux/wait/poller.js';
import { VmclockSource } from '../../../../vmgenid/index.js';
import { serve } from '../serve.js';

/** An emulated processor takes its time. */
const LONGEST_WAIT_MS = 60_000;

const source = new VmclockSource();
const poller = new Poller(requireLibc());
const generation = new Uint32Array(4);
let place = -1;

serve({
  /** Returns whether there is something to wait for. */
  open() {
    if (source.notice) place = poller.add(source.notice.fd);
    return place >= 0;
  },
  /** What it shows, and whether it says that something was written since the last call; waits for that if told to. */
  look({ wait }: { wait: boolean }) {
    poller.wait(wait ? LONGEST_WAIT_MS : 0);
    const happened = poller.happened(place);
    source.notice?.settle();
    source.read(generation);
    return { isTold: happened === POLLIN, counter: generation[0] };
  },
});
