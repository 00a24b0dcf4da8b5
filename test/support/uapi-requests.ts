// UAPI requests, good ones and mutations of them, all from a seed.

import { SimulationRandom } from './simulation-random.js';

const hexKey = (byte: number) => byte.toString(16).padStart(2, '0').repeat(32);

/** Public keys that the requests speak of. */
export const PEER_KEYS = Array.from({ length: 6 }, (_, i) => hexKey(0x11 * (i + 1)));

/** Lines that a `set` may hold, good and bad. */
const LINES = [
  'fwmark=7',
  'fwmark=4294967296',
  'listen_port=0',
  'listen_port=70000',
  'replace_peers=true',
  'replace_peers=false',
  'remove=true',
  'update_only=true',
  `preshared_key=${hexKey(0x5a)}`,
  `preshared_key=${hexKey(0)}`,
  'endpoint=192.0.2.7:4500',
  'endpoint=[2001:db8::7]:4500',
  'endpoint=example.com:1',
  'persistent_keepalive_interval=25',
  'persistent_keepalive_interval=65536',
  'replace_allowed_ips=true',
  'allowed_ip=10.0.0.0/24',
  'allowed_ip=-10.0.0.0/24',
  'allowed_ip=2001:db8::/32',
  'allowed_ip=10.0.0.0/33',
  'protocol_version=1',
  'protocol_version=2',
  'errno=0',
  '=',
  'x',
];

export class RequestSource {
  readonly #random: SimulationRandom;

  constructor(seed: number) {
    this.#random = new SimulationRandom(seed);
  }

  /** A number of 0..below-1. */
  below(below: number): number {
    return this.#random.uint32() % below;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  /** A `set` that is mostly good, with a few peers. */
  set(): string {
    const lines = ['set=1'];
    if (this.below(3) === 0) lines.push(`fwmark=${this.below(100)}`);
    if (this.below(8) === 0) lines.push('replace_peers=true');
    for (let peers = this.below(4); peers > 0; peers--) {
      lines.push(`public_key=${this.pick(PEER_KEYS)}`);
      if (this.below(8) === 0) lines.push('remove=true');
      if (this.below(8) === 0) lines.push('update_only=true');
      if (this.below(3) === 0) lines.push(`preshared_key=${hexKey(this.below(256))}`);
      if (this.below(3) === 0) lines.push(`persistent_keepalive_interval=${this.below(70)}`);
      if (this.below(4) === 0) lines.push('replace_allowed_ips=true');
      for (let ips = this.below(5); ips > 0; ips--) {
        const sign = this.below(6) === 0 ? '-' : '';
        lines.push(`allowed_ip=${sign}10.${this.below(4)}.${this.below(4)}.0/${this.below(33)}`);
      }
    }
    return `${lines.join('\n')}\n\n`;
  }

  /** A request with a few mistakes: bytes and lines changed, doubled, taken away, exchanged or cut. */
  mutated(): string {
    let text =
      this.below(10) === 0 ? this.pick(['get=1\n\n', 'status=1\n\n', 'get=1\n\nset=1\n\n']) : this.set();
    for (let changes = this.below(4); changes > 0; changes--) text = this.#mutate(text);
    return text;
  }

  #mutate(text: string): string {
    const at = this.below(text.length + 1);
    const lines = text.split('\n');
    const line = this.below(lines.length);
    switch (this.below(10)) {
      case 0:
        return text.slice(0, at) + String.fromCharCode(this.below(256)) + text.slice(at + 1);
      case 1:
        return text.slice(0, at) + text.slice(at + 1 + this.below(4));
      case 2:
        return text.slice(0, at);
      case 3:
        return lines.toSpliced(line, 0, this.pick(LINES)).join('\n');
      case 4:
        return lines.toSpliced(line, 1).join('\n');
      case 5:
        return lines.toSpliced(line, 0, lines[line]).join('\n');
      case 6:
        return lines.toSpliced(line, 1, this.pick(lines)).join('\n');
      case 7:
        return text.slice(0, at) + 'A'.repeat(this.below(6_000)) + text.slice(at);
      case 8:
        return text + this.set();
      default:
        return text.replaceAll('\n', '\r\n');
    }
  }
}
