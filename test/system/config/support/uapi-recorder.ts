// A device that keeps what `wg` tells it and does nothing: the other end of `wg setconf` and `wg show`.
// Promises: of the UAPI it knows what `wg` of Debian says, and breaks off at anything else. It shares no code with ours.
// Read on: wireguard.com/xplatform.

import { rmSync } from 'node:fs';
import { type Server, type Socket, createServer } from 'node:net';
import {
  NO_KEY,
  type Outcome,
  type PeerOutcome,
  network,
  rangesOf,
  socketAddress,
} from '../../../support/wg-quick/outcome.js';

interface Peer {
  presharedKey: string;
  endpoint: string;
  persistentKeepalive: number;
}

export class UapiRecorder {
  readonly #path: string;
  readonly #server: Server;
  readonly #own = new Map<string, string>();
  readonly #peers = new Map<string, Peer>();
  /** Whose each range is; the last one who claims it has it. */
  readonly #owners = new Map<string, string>();

  private constructor(path: string) {
    this.#path = path;
    this.#server = createServer(socket => this.#serve(socket));
  }

  static async listen(path: string): Promise<UapiRecorder> {
    const recorder = new UapiRecorder(path);
    await new Promise<void>(resolve => recorder.#server.listen(path, resolve));
    return recorder;
  }

  close(): void {
    this.#server.close();
    rmSync(this.#path, { force: true });
  }

  forget(): void {
    for (const map of [this.#own, this.#peers, this.#owners]) map.clear();
  }

  outcome(): Outcome {
    const peers = [...this.#peers].map(([key, peer]): [string, PeerOutcome] => [
      key,
      {
        ...peer,
        endpoint: peer.endpoint && socketAddress(peer.endpoint),
        allowedIps: rangesOf(this.#owners, key),
      },
    ]);
    return {
      privateKey: this.#own.get('private_key') ?? NO_KEY,
      listenPort: Number(this.#own.get('listen_port') ?? 0),
      fwMark: Number(this.#own.get('fwmark') ?? 0),
      peers: Object.fromEntries(peers),
    };
  }

  #serve(socket: Socket): void {
    let text = '';
    socket.setEncoding('utf8');
    // `wg` goes when it has its answer.
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: string) => {
      text += chunk;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const [operation, ...lines] = text.slice(0, end).split('\n');
        text = text.slice(end + 2);
        if (operation === 'get=1') socket.write(this.#get());
        else if (operation === 'set=1' && this.#set(lines)) socket.write('errno=0\n\n');
        else socket.destroy();
      }
    });
  }

  #set(lines: readonly string[]): boolean {
    let key = '';
    for (const line of lines) {
      const [name, value] = line.split(/=(.*)/s);
      if (name === 'public_key') {
        key = value;
        if (!this.#peers.has(key))
          this.#peers.set(key, { presharedKey: NO_KEY, endpoint: '', persistentKeepalive: 0 });
      } else if (key === '') {
        if (name === 'replace_peers') this.#peers.clear();
        else this.#own.set(name, value);
      } else if (!this.#setPeer(key, name, value)) {
        return false;
      }
    }
    return true;
  }

  #setPeer(key: string, name: string, value: string): boolean {
    const peer = this.#peers.get(key) as Peer;
    if (name === 'preshared_key') peer.presharedKey = value;
    else if (name === 'endpoint') peer.endpoint = value;
    else if (name === 'persistent_keepalive_interval') peer.persistentKeepalive = Number(value);
    else if (name === 'allowed_ip') this.#owners.set(network(value), key);
    else if (name === 'replace_allowed_ips')
      for (const [range, owner] of this.#owners) if (owner === key) this.#owners.delete(range);
    return /^(preshared_key|endpoint|persistent_keepalive_interval|allowed_ip|replace_allowed_ips)$/.test(
      name,
    );
  }

  #get(): string {
    const lines = [...this.#own].map(([name, value]) => `${name}=${value}`);
    for (const [key, peer] of this.#peers) {
      lines.push(`public_key=${key}`, `preshared_key=${peer.presharedKey}`);
      if (peer.endpoint !== '') lines.push(`endpoint=${peer.endpoint}`);
      lines.push(`persistent_keepalive_interval=${peer.persistentKeepalive}`);
      for (const range of rangesOf(this.#owners, key)) lines.push(`allowed_ip=${ipText(range)}`);
    }
    return `${[...lines, 'errno=0'].join('\n')}\n\n`;
  }
}

/** The reverse of `network`, for `wg` to read. */
function ipText(range: string): string {
  const [bytes, length] = range.split('/');
  const numbers = bytes.split('.').map(Number);
  if (numbers.length === 4) return range;
  const groups = numbers.flatMap((byte, i) => (i % 2 ? [] : [((byte << 8) | numbers[i + 1]).toString(16)]));
  return `${groups.join(':')}/${length}`;
}
