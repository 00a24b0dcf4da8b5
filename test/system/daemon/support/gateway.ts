// A daemon that is a gateway, and clients that it was not told of: whoever has the secret, by any WireGuard.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROGRAM, folder, Machine, type MachineOptions, type Pair, startPair } from './machine.js';

export const PREFIX = 'fd5e:7c1a:9b2d::';
/** The gateway's own address. */
export const GATEWAY = `${PREFIX}1`;
export const WEBSOCKET_PORT = 8_443;
const STORE = 'peers';

/** 44 characters of base64, from one byte. */
export const secretOf = (byte: number): string => Buffer.alloc(32, byte).toString('base64');

export interface GatewayOptions {
  /** More lines of [Enrolment]. */
  readonly settings?: readonly string[];
  readonly secrets?: readonly string[];
  /** More lines of [Interface]. */
  readonly interface?: readonly string[];
  /** A URL, instead of a file. */
  readonly store?: string;
  readonly env?: MachineOptions['env'];
}

export class Gateway {
  readonly machine: Machine;
  readonly #wire: Pair;
  /** Of its peers. */
  readonly store: string;
  readonly #home: string;

  private constructor(wire: Pair, home: string) {
    this.#wire = wire;
    this.machine = wire.b;
    this.#home = home;
    this.store = join(home, STORE);
  }

  /** It knows one peer, A of the pair, by its configuration. */
  static async start(options: GatewayOptions = {}): Promise<Gateway> {
    const { settings = ['MaxPeers = 100'], secrets = [secretOf(1)], env = {} } = options;
    const home = folder();
    const files = secrets.map((secret, i) => secretFile(home, `secret${i}`, secret));
    const conf = join(home, 'gateway.conf');
    const lines = [
      '[Interface]',
      `ListenWebSocket = ${WEBSOCKET_PORT}`,
      ...(options.interface ?? []),
      '[Enrolment]',
      ...files.map(path => `SecretFile = ${path}`),
      `Prefix = ${PREFIX}/64`,
      `Store = ${options.store ?? join(home, STORE)}`,
      ...settings,
    ];
    writeFileSync(conf, `${lines.join('\n')}\n`, { mode: 0o600 });
    const wire = await startPair({ b: { flags: ['--config', conf], env } });
    await wire.b.up(`${GATEWAY}/64`);
    return new Gateway(wire, home);
  }

  get outer() {
    return this.#wire.outer;
  }

  get port(): number {
    return this.#wire.ports.b;
  }

  /** Whom it was told of. */
  get configured(): Machine {
    return this.#wire.a;
  }

  /** `wireonce peers`: for its store, and for itself, as it runs. */
  peers(verb: string, ...args: string[]): Promise<string> {
    const { machine, store } = this;
    return machine.exec(process.execPath, PROGRAM, 'peers', verb, machine.name, ...args, '--store', store);
  }

  /** A client that knows the gateway, and has what is derived from the secret; its link is up. */
  async client(
    options: MachineOptions & { secret?: string; by?: 'udp' | 'websocket' } = {},
  ): Promise<Client> {
    const { secret = secretOf(1), by = 'udp', ...machineOptions } = options;
    const { publicKey } = this.machine;
    const home = folder();
    const conf = join(home, 'client.conf');
    const url = `ws://${this.outer.b}:${WEBSOCKET_PORT}/`;
    const peer = `[Peer]\nPublicKey = ${publicKey}\nEndpoint = ${url}\n`;
    if (by === 'websocket') writeFileSync(conf, `[Interface]\n${peer}`, { mode: 0o600 });
    const client = await Machine.start({
      ...machineOptions,
      namespace: this.#wire.a.namespace,
      ...(by === 'websocket' && { flags: ['--config', conf] }),
    });
    const from = ['--secret-file', secretFile(this.#home, client.name, secret), '--prefix', `${PREFIX}/64`];
    const keys = ['--gateway', publicKey, '--public-key', client.publicKey];
    const derive = [PROGRAM, 'enrol', 'derive', '--json', ...from, ...keys];
    const derived = JSON.parse(await client.exec(process.execPath, ...derive)) as {
      presharedKey: string;
      address: string;
    };
    const address = derived.address.split('/')[0];
    // Several clients share a namespace: each has its own way to the gateway.
    await client.up(`${address}/128`);
    const endpoint = by === 'udp' ? ['endpoint', `${this.outer.b}:${this.port}`] : [];
    const psk = ['preshared-key', client.file('psk', derived.presharedKey)];
    const to = ['peer', publicKey, 'allowed-ips', `${PREFIX}/64`, ...endpoint];
    await client.wg('set', client.name, ...to, ...psk);
    return new Client(client, address, publicKey);
  }
}

export class Client {
  readonly machine: Machine;
  readonly address: string;
  readonly #gateway: string;

  constructor(machine: Machine, address: string, gateway: string) {
    this.machine = machine;
    this.address = address;
    this.#gateway = gateway;
  }

  get publicKey(): string {
    return this.machine.publicKey;
  }

  /** Pings of the gateway that were answered. */
  async ping(options: { count?: number; waitS?: number } = {}): Promise<number> {
    const { name } = this.machine;
    await this.machine.ip('-6', 'route', 'replace', `${GATEWAY}/128`, 'dev', name, 'src', this.address);
    return this.machine.ping(GATEWAY, options);
  }

  /** Forgets its session, and calls anew with the next packet. */
  async beginAnew(): Promise<void> {
    const { machine } = this;
    const key = machine.file('key', machine.privateKey);
    const none = machine.file('none', Buffer.alloc(32).toString('base64'));
    await machine.wg('set', machine.name, 'private-key', none);
    await machine.wg('set', machine.name, 'private-key', key);
  }

  /** When it last completed a handshake with the gateway; seconds. */
  async latestHandshake(): Promise<number> {
    return Number(await this.machine.show('latest-handshakes', this.#gateway));
  }
}

function secretFile(home: string, name: string, secret: string): string {
  const path = join(home, name);
  writeFileSync(path, `${secret}\n`, { mode: 0o600 });
  return path;
}
