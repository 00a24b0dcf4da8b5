// How the kernel tells that the hypervisor has written the vmclock page: its device is readable, from Linux 7.0 on.
// Promises: a hint and no more; what changed while it was being settled makes it readable again.
// Read on: Linux drivers/ptp/ptp_vmclock.c vmclock_miscdev_poll(), vmclock_miscdev_read().

import { closeSync, constants, openSync, readSync } from 'node:fs';
import type { ChangeNotice } from '../source.js';

/** A read from the page's beginning, however short, is what the driver takes for having seen all of it. */
const READ_BYTES = 4;

export class VmclockNotice implements ChangeNotice {
  readonly fd: number;
  readonly #bytes = new Uint8Array(READ_BYTES);

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** Undefined where the device cannot be read. */
  static open(path: string): VmclockNotice | undefined {
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch {
      return undefined;
    }
    const notice = new VmclockNotice(fd);
    // Nothing has been seen by this descriptor: it is readable from the start.
    if (notice.settle()) return notice;
    notice.close();
    return undefined;
  }

  settle(): boolean {
    try {
      return readSync(this.fd, this.#bytes, 0, READ_BYTES, 0) === READ_BYTES;
    } catch {
      return false;
    }
  }

  close(): void {
    closeSync(this.fd);
  }
}
