// Which network namespace something lies in. An interface can be moved after it was made (the usual way to put a
// container behind a tunnel), and the names and indices of one namespace mean nothing in another.
// Read on: man 7 namespaces; Linux drivers/net/tun.c (TUNGETDEVNETNS, Linux 5.2).

import { type Libc, O_CLOEXEC, O_RDONLY } from '../libc.js';

const TUNGETDEVNETNS = 0x54e3;
const OUR_NAMESPACE = '/proc/thread-self/ns/net';

/** The namespace of this thread, as a number to compare with; `undefined` without /proc. */
export function homeNamespace(libc: Libc): number | undefined {
  return inodeAndClose(libc, libc.open(OUR_NAMESPACE, O_RDONLY | O_CLOEXEC));
}

/** The namespace of a TUN descriptor's interface. `undefined`: gone, or a kernel that cannot tell. */
export function namespaceOfTun(libc: Libc, tunFd: number): number | undefined {
  return inodeAndClose(libc, openNamespaceOfTun(libc, tunFd));
}

/** A descriptor of that namespace, to be closed by the caller, or `-errno`. Needs CAP_NET_ADMIN there. */
export function openNamespaceOfTun(libc: Libc, tunFd: number): number {
  return libc.ioctl(tunFd, TUNGETDEVNETNS, 0);
}

function inodeAndClose(libc: Libc, fd: number): number | undefined {
  if (fd < 0) return undefined;
  const inode = libc.inode(fd);
  libc.close(fd);
  return inode < 0 ? undefined : inode;
}
