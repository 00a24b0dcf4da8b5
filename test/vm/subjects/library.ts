// wireonce in a program of the guest, by its library: sealing, check and release as they are under the daemon, and
// packets that are made between the sealing of one and the next.

import { encodeKey } from '../../../tunnel/keys.js';
import type { SourceSelection } from '../../../vmgenid/index.js';
import { type Replaced, replaceModules } from './replaced.js';
import type { Subject } from './subject.js';

const PROGRAM = 'tunnel';

export interface LibraryOptions {
  readonly replaced?: Replaced;
  readonly hardware?: Subject['hardware'];
  /** Which sources to look at; default: all that the machine has. */
  readonly sources?: SourceSelection;
}

export function library(name: string, options: LibraryOptions = {}): Subject {
  const { replaced = {}, hardware, sources = {} } = options;
  return {
    name,
    recipe: `library ${JSON.stringify({ replaced, sources })}`,
    ...(hardware && { hardware }),
    async start(machine, { guest, host }) {
      const { agent } = machine;
      await replaceModules(machine, replaced);
      await agent.start(PROGRAM);
      await agent.call(PROGRAM, 'open', {
        sources,
        text: `
          [Interface]
          PrivateKey = ${encodeKey(guest.privateKey)}
          ListenPort = 51820
          [Peer]
          PublicKey = ${encodeKey(host.publicKey)}
          AllowedIPs = 10.77.0.1/32
          Endpoint = 10.0.2.2:51820
        `,
      });
    },
    async load({ agent }, options) {
      await agent.call(PROGRAM, 'load', options);
    },
    async restart({ agent }) {
      await agent.call(PROGRAM, 'restart');
    },
  };
}
