// `wireonce ping`: handshakes with the WireGuard of a configuration and asks an address behind it for an echo. No TUN,
// no root. Promises: exit status 0 when something answered; if not, the error says how far it came and what to look at.
// Read on: ping-diagnosis.ts (the errors), echo-series.ts (what counts as an answer), ping-text.ts (what is printed).

import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { CrngError } from '../crng/index.js';
import { equalBytes } from '../native/bytes.js';
import { formatHostPort } from '../native/host-port.js';
import { DROP_REASONS } from '../sessions/drops.js';
import type { DeviceEvent } from '../sessions/events.js';
import { systemClock } from '../tunnel/clock.js';
import { type ConfigEndpoint, type TunnelConfig, parseConfig } from '../tunnel/config/config.js';
import { UdpEndpoint } from '../tunnel/endpoint.js';
import { TunnelError } from '../tunnel/errors.js';
import { formatIp, parseIp } from '../tunnel/ip.js';
import { encodeKey } from '../tunnel/keys.js';
import { type CreatedTunnel, createTunnel } from '../tunnel/loop/create-tunnel.js';
import { withoutCredentials } from '../tunnel/websocket/url.js';
import { NO_EPOCH } from '../vmgenid/generation.js';
import type { VmGenId } from '../vmgenid/index.js';
import { Bell } from './bell.js';
import { type EchoEvent, EchoSeries } from './echo-series.js';
import { CliError } from './errors.js';
import { ECHO_OVERHEAD } from './icmp.js';
import { type CliIo, type Finish, printJson, printLine, readStdin } from './io.js';
import { type LocalTunnelOptions, findLocalTunnel } from './local-tunnel.js';
import { seconds, wholeNumber } from './option-values.js';
import { diagnoseEcho, diagnoseHandshake, isResolverError } from './ping-diagnosis.js';
import { dropsLine, eventLine, milliseconds, statisticsLines } from './ping-text.js';
import { type PortProbe, probePort } from './port-probe.js';
import { describeProtection } from '../tunnel/daemon/protection.js';
import { readableInput, readableSecret } from './readable-secret.js';
import { type Route, chooseRoute } from './route.js';
import { printWarning, unreadable } from './trouble.js';

export interface PingOptions {
  /** A wg-quick file, or `-` for standard input. */
  readonly config: string;
  /** 4 or 16 bytes. */
  readonly target: Uint8Array;
  /** Requests to send; unset: until the signal. */
  readonly count?: number;
  /** Seconds between requests. */
  readonly interval: number;
  /** Seconds to wait for the handshake, and for the answer to the last request. */
  readonly timeout: number;
  /** Bytes of payload. */
  readonly size: number;
  /** Our UDP port; unset: any. */
  readonly port?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
  /** Go on though a tunnel of this machine has the key. */
  readonly force?: boolean;
  /** Where to look for such a tunnel. */
  readonly localTunnels?: LocalTunnelOptions;
  /** Stands in for the sources of this machine; stays the caller's to close. */
  readonly vmgenid?: VmGenId;
}

const CONFIG_MAX = 16 * 1024 * 1024;
const DEFAULT_MTU = 1_420;
/** After an answer has come, the last ones are waited for no longer than this or twice the longest round trip. */
const LINGER_MIN_MS = 1_000;
/** So long a silence is nothing to look into. */
const PROBE_AFTER_MS = 1_000;

export function registerPing(program: Command, io: CliIo, finish: Finish): void {
  program
    .command('ping')
    .description('send ICMP echo requests through a WireGuard tunnel, without TUN and without root')
    .argument('<config>', "a wg-quick file, or '-' for standard input")
    .argument('<address>', 'the IPv4 or IPv6 address to ask, inside the tunnel', readAddress)
    .option('-c, --count <n>', 'stop after n requests (default: at Ctrl-C)', wholeNumber(1, 1e9))
    .option('-i, --interval <seconds>', 'between requests', seconds(0.01, 86_400), 1)
    .option('-W, --timeout <seconds>', 'for the handshake and for the last answer', seconds(0.01, 86_400), 10)
    .option('-s, --size <bytes>', 'of data in a request', wholeNumber(0, 65_000), 56)
    .option(
      '-p, --port <port>',
      'our UDP port (default: any; ListenPort is not taken)',
      wholeNumber(0, 65_535),
    )
    .option('-q, --quiet', 'print only the first lines and the statistics')
    .option('--force', 'go on though a tunnel of this machine has the same key')
    .option('--json', 'print one JSON object at the end')
    .addHelpText('after', HELP)
    .action(async (config, target, options) => finish(await ping(io, { config, target, ...options })));
}

const HELP = `
Only the peer whose AllowedIPs hold the address is used, and from another UDP port than that of a running interface.
Yet the peer sees one key at two places and answers the one that called last: do not ping with the key of a tunnel
that is in use on another machine. One that runs on this machine is noticed, by its key or, without root, by its
address, and not disturbed without --force.

Exit status: 0 an echo was answered, 1 none was (standard error says how far it came), 2 called wrongly.

Examples:
  wireonce ping -c 3 wg0.conf 10.0.0.1
  ssh gateway cat /etc/wireguard/wg0.conf | wireonce ping -c 1 --json - fd00::1`;

/** Runs one ping. Resolves with 0 when something answered. Throws `CliError`, `TunnelError` and what the parts throw. */
export async function ping(io: CliIo, options: PingOptions): Promise<number> {
  const run = new PingRun(io, options);
  try {
    await run.run();
  } catch (error) {
    if (options.json) printJson(io.stdout, { ...run.report(), failure: describeFailure(error) });
    throw error;
  }
  if (options.json) printJson(io.stdout, { ...run.report(), failure: null });
  return 0;
}

class PingRun {
  readonly #io: CliIo;
  readonly #options: PingOptions;
  readonly #file: string;
  readonly #target: string;
  readonly #bell = new Bell();
  readonly #transportErrors: TunnelError[] = [];
  /** Kept for `--json` alone. */
  readonly #events: EchoEvent[] = [];
  #route: Route | undefined;
  #endpoint = '';
  #protection: { class: string; sources: readonly string[] } | undefined;
  #series: EchoSeries | undefined;
  #initiations = 0;
  #cookieReplies = 0;
  #handshakes = 0;
  #handshakeMs: number | undefined;
  #handshakeBytes = 0;
  #forks = 0;
  #unsent = 0;
  #drops: Readonly<Record<string, number>> = Object.fromEntries(DROP_REASONS.map(reason => [reason, 0]));

  constructor(io: CliIo, options: PingOptions) {
    this.#io = io;
    this.#options = options;
    this.#file = options.config === '-' ? 'stdin' : options.config;
    this.#target = formatIp(options.target);
  }

  async run(): Promise<void> {
    const config = await readConfig(this.#io, this.#options.config, this.#file);
    const route = chooseRoute(config, this.#options.target, this.#file);
    this.#route = route;
    this.#checkSize(config);
    const { endpoint } = route.peer;
    if (!endpoint) {
      const peer = encodeKey(route.peer.publicKey);
      throw new CliError(
        'ERR_CLI_ROUTE',
        `${this.#file}: the peer of ${this.#target}, ${peer}, has no Endpoint`,
      );
    }
    this.#endpoint = formatEndpoint(endpoint);
    await this.#checkKey(config);
    const open = await this.#createTunnel(config, route);
    try {
      this.#printOpening(open, route);
      await this.#shakeHands(open, route);
      await this.#askForEchoes(open, route);
    } finally {
      this.#drops = open.tunnel.device.stats().drops;
      await open.close();
    }
  }

  /** What is known by now, for `--json`. */
  report() {
    const { size } = this.#options;
    const series = this.#series;
    const peer = this.#route?.peer;
    return {
      config: this.#file,
      target: this.#target,
      source: this.#route ? formatIp(this.#route.source) : null,
      size,
      peer: peer ? { publicKey: encodeKey(peer.publicKey), endpoint: this.#endpoint } : null,
      protection: this.#protection ?? null,
      handshake: {
        completed: this.#handshakeMs !== undefined,
        timeMs: round(this.#handshakeMs),
        initiations: this.#initiations,
        cookieReplies: this.#cookieReplies,
      },
      transmitted: series?.transmitted ?? 0,
      received: series?.received ?? 0,
      duplicates: series?.duplicates ?? 0,
      lossPercent: series?.lossPercent ?? 0,
      rttMs: series?.roundTrips
        ? Object.fromEntries(Object.entries(series.roundTrips).map(([name, ms]) => [name, round(ms)]))
        : null,
      replies: this.#events.filter(isReply).map(toJson),
      errors: this.#events.filter(event => !isReply(event)).map(toJson),
      forks: this.#forks,
      drops: this.#drops,
    };
  }

  // The peer would take us for the tunnel that has moved, and be silent to it until its next handshake.
  async #checkKey(config: TunnelConfig): Promise<void> {
    if (this.#options.force) return;
    const found = await findLocalTunnel(config.interface, this.#options.localTunnels);
    if (!found) return;
    const { interface: name, by } = found;
    const what =
      by === 'key'
        ? `${name} runs on this machine with this key`
        : `${name} of this machine has this address, and most likely this key`;
    const problem = `${what}: its peer would answer us instead, and the tunnel be silent for some 15 s`;
    throw new CliError('ERR_CLI_KEY_IN_USE', `${this.#file}: ${problem}`, {
      hints: [
        `ask through it: ping ${this.#target}`,
        `how it is: wireonce status ${name}`,
        'go on all the same: --force',
      ],
    });
  }

  // An answer is as long as its request. One that does not fit would come in fragments, which nobody here joins.
  #checkSize(config: TunnelConfig): void {
    const { size, target } = this.#options;
    const mtu = config.interface.mtu ?? DEFAULT_MTU;
    const bytes = size + ECHO_OVERHEAD[target.length === 4 ? 4 : 6];
    if (bytes <= mtu) return;
    const problem = `a packet of ${bytes} bytes does not fit the tunnel's MTU of ${mtu}`;
    throw new CliError('ERR_CLI_USAGE', `-s ${size}: ${problem}`);
  }

  // Only the peer that is asked: the others need not resolve, and are not called. No keepalive either, as the first
  // initiation shall be the one that is timed.
  async #createTunnel(config: TunnelConfig, { peer }: Route): Promise<CreatedTunnel> {
    const { persistentKeepalive: _, ...calm } = peer;
    const { port, vmgenid } = this.#options;
    const { signal } = this.#io;
    const opening = createTunnel({
      config: { interface: { ...config.interface, listenPort: port ?? 0 }, peers: [calm] },
      onPacket: packet => this.#received(packet),
      onTransportError: error => {
        this.#transportErrors.push(error);
        this.#bell.ring();
      },
      onEvent: event => this.#happened(event),
      vmgenid,
    });
    // A name that does not resolve takes its time, and the user may not want to wait for it.
    const bell = new Bell();
    let opened = false;
    const settled = () => {
      opened = true;
      bell.ring();
    };
    opening.then(settled, settled);
    if (await bell.wait(() => opened, 2 ** 31 - 1, signal)) return opening;
    opening.then(
      open => open.close(),
      () => {},
    );
    throw new CliError('ERR_CLI_INTERRUPTED', `interrupted while ${this.#endpoint} was looked up`);
  }

  #printOpening({ tunnel, vmgenid }: CreatedTunnel, { peer, source }: Route): void {
    const { size, target } = this.#options;
    const { protection, sources } = vmgenid;
    const names = sources.filter(({ readable }) => readable).map(({ name }) => name);
    const text = describeProtection(protection, sources);
    this.#protection = { class: protection, sources: names };
    const resolved = tunnel.device.peer(peer.publicKey)?.endpoint?.toString();
    if (resolved && resolved !== this.#endpoint) this.#endpoint = `${this.#endpoint} (${resolved})`;
    const bytes = size + ECHO_OVERHEAD[target.length === 4 ? 4 : 6];
    const what = `PING ${this.#target} from ${formatIp(source)}: ${size}(${bytes}) bytes of data`;
    this.#say(`${what} through ${this.#file}`);
    this.#say(`peer ${encodeKey(peer.publicKey)} at ${this.#endpoint}, protection: ${text}`);
  }

  async #shakeHands(open: CreatedTunnel, { peer }: Route): Promise<void> {
    const { tunnel } = open;
    const { signal } = this.#io;
    const { device } = tunnel;
    const ownPublicKey = device.publicKey as Uint8Array;
    if (equalBytes(ownPublicKey, peer.publicKey)) {
      const problem = "the peer's PublicKey is that of our own PrivateKey";
      throw new CliError('ERR_CLI_ROUTE', `${this.#file}: ${problem}`);
    }
    const endpoint = device.peer(peer.publicKey)?.endpoint;
    const waitMs = 1_000 * this.#options.timeout;
    const started = systemClock.now();
    const done = () => this.#handshakes > 0;
    const decided = () => done() || this.#transportErrors.some(isResolverError);
    tunnel.initiateHandshake(peer.publicKey);
    const isHopeless = this.#initiations === 0 && this.#heldBack(open) === undefined;
    let probe: PortProbe | undefined;
    try {
      const quietMs = Math.min(PROBE_AFTER_MS, waitMs / 2);
      if (isHopeless || (await this.#bell.wait(decided, quietMs, signal)) || signal.aborted) {
        // Nothing is left to wait for.
      } else {
        if (endpoint instanceof UdpEndpoint) {
          const note = `From ${endpoint} Port unreachable: nothing listens there; still trying`;
          probe = probePort(endpoint, () => !done() && this.#sayMore(note));
        }
        await this.#bell.wait(decided, waitMs - (systemClock.now() - started), signal);
      }
      const waitedMs = systemClock.now() - started;
      if (done()) {
        this.#handshakeMs = waitedMs;
        this.#handshakeBytes = device.peer(peer.publicKey)?.rxBytes ?? 0;
        this.#say(`handshake done in ${milliseconds(waitedMs)} ms`);
        return;
      }
      throw diagnoseHandshake({
        endpoint: this.#endpoint,
        isWebSocket: !(endpoint instanceof UdpEndpoint),
        initiations: this.#initiations,
        waitedMs,
        interrupted: signal.aborted,
        cookieReplies: this.#cookieReplies,
        refused: probe?.refused ?? false,
        drops: device.stats().drops,
        transportErrors: this.#transportErrors,
        heldBack: this.#heldBack(open),
        peerPublicKey: encodeKey(peer.publicKey),
        ownPublicKey: encodeKey(ownPublicKey),
        hasPresharedKey: device.peer(peer.publicKey)?.hasPresharedKey ?? false,
        clock: systemClock.wallClock(),
      });
    } finally {
      probe?.close();
    }
  }

  async #askForEchoes(open: CreatedTunnel, { peer, source }: Route): Promise<void> {
    const { count = Number.POSITIVE_INFINITY, interval, timeout, size, target } = this.#options;
    const { signal } = this.#io;
    const { device } = open.tunnel;
    const series = new EchoSeries({ source, destination: target, size, randomness: open.crng });
    this.#series = series;
    const started = systemClock.now();
    for (let n = 1; ; n++) {
      this.#sendEcho(open, series);
      if (n >= count || signal.aborted) break;
      const due = started + n * 1_000 * interval;
      await this.#bell.wait(() => false, Math.max(0, due - systemClock.now()), signal);
      if (signal.aborted) break;
    }
    const waitMs = 1_000 * timeout;
    const longest = series.roundTrips?.max;
    const lingerMs = longest === undefined ? waitMs : Math.min(waitMs, Math.max(LINGER_MIN_MS, 2 * longest));
    await this.#bell.wait(() => series.pending === 0, lingerMs, signal);

    const { drops } = device.stats();
    for (const line of statisticsLines(this.#target, series, systemClock.now() - started)) this.#say(line);
    const dropped = dropsLine(drops);
    if (dropped) this.#say(dropped);
    if (series.received > 0) return;
    throw diagnoseEcho({
      target: this.#target,
      source: formatIp(source),
      transmitted: series.transmitted,
      errors: series.errors,
      mismatches: series.mismatches,
      drops,
      heardFromPeer: (device.peer(peer.publicKey)?.rxBytes ?? 0) > this.#handshakeBytes,
      unsent: this.#unsent,
      heldBack: this.#heldBack(open),
    });
  }

  #sendEcho(open: CreatedTunnel, series: EchoSeries): void {
    try {
      const { sequence, packet } = series.next(systemClock.now());
      const result = open.tunnel.sendPacket(packet);
      if (typeof result === 'string') return;
      this.#unsent++;
      this.#sayMore(`icmp_seq=${sequence} not sent: ${result.drop}`);
    } catch (error) {
      // After a fork there may be no fresh randomness for a while. The next request tries again.
      if (!(error instanceof CrngError)) throw error;
      this.#unsent++;
      this.#sayMore(`not sent: ${error.message}`);
    }
  }

  #received(packet: Uint8Array): void {
    const event = this.#series?.receive(packet, systemClock.now());
    if (!event) return;
    if (this.#options.json) this.#events.push(event);
    this.#sayMore(eventLine(event));
    this.#bell.ring();
  }

  #happened(event: DeviceEvent): void {
    switch (event.type) {
      case 'handshakeInitiated':
        this.#initiations++;
        break;
      case 'cookieReceived':
        this.#cookieReplies++;
        this.#sayMore('the peer is under load: it sent a cookie, which the next initiation will carry');
        break;
      case 'handshakeComplete':
        this.#handshakes++;
        this.#bell.ring();
        break;
      case 'handshakeGivenUp':
        this.#sayMore('the peer no longer answers handshakes');
        break;
      case 'waitingForFreshness':
        this.#sayMore('this machine was forked: the handshake waits for randomness that no sibling has');
        break;
      case 'vmFork':
        this.#forks++;
        this.#sayMore(
          `this machine was forked (epoch ${event.epoch}): sessions wiped, calling the peer anew`,
        );
        break;
      case 'roamed':
        this.#sayMore(`the peer has moved to ${event.endpoint}`);
        break;
      default:
        break;
    }
  }

  /** Why nothing may leave this machine now. */
  #heldBack({ vmgenid, crng }: CreatedTunnel): string | undefined {
    if (vmgenid.check() === NO_EPOCH) {
      const reasons = vmgenid.sources.flatMap(({ name, reason }) => (reason ? [`${name}: ${reason}`] : []));
      return `no source can say whether this machine was forked (${reasons.join('; ')})`;
    }
    if (crng.isFresh()) return undefined;
    return 'this machine was forked, and nothing yet parts its random numbers from those of its siblings';
  }

  /** Lines that are printed always, but for `--json`. */
  #say(line: string): void {
    if (!this.#options.json) printLine(this.#io.stdout, line);
  }

  /** Lines that `-q` leaves out. */
  #sayMore(line: string): void {
    if (!this.#options.quiet) this.#say(line);
  }
}

async function readConfig(io: CliIo, path: string, name: string): Promise<TunnelConfig> {
  const text = path === '-' ? (await readStdin(io, CONFIG_MAX)).toString('utf8') : readText(path);
  const config = parseConfig(text, name);
  const secret = 'a PrivateKey';
  const exposed = path === '-' ? readableInput(io.stdin, secret) : readableSecret(path, secret);
  if (exposed) printWarning(io, exposed);
  return config;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw unreadable(path, error);
  }
}

function readAddress(text: string): Uint8Array {
  const parsed = parseIp(text);
  if (parsed && parsed.zone === '') return parsed.ip;
  throw new InvalidArgumentError('An IPv4 or IPv6 address is wanted; names are not looked up in the tunnel.');
}

/** Without what a URL may hold of secrets. */
function formatEndpoint(endpoint: ConfigEndpoint): string {
  return 'host' in endpoint ? formatHostPort(endpoint.host, endpoint.port) : withoutCredentials(endpoint.url);
}

function isReply({ type }: EchoEvent): boolean {
  return type === 'reply';
}

function toJson(event: EchoEvent) {
  const { type: _, ...fields } = event;
  return {
    ...fields,
    from: formatIp(event.from),
    ...(event.type === 'reply' && { timeMs: round(event.timeMs) }),
  };
}

function describeFailure(error: unknown) {
  const { code, message } = error as { code?: string; message?: string };
  const place =
    error instanceof TunnelError && error.line !== undefined
      ? { file: error.file ?? null, line: error.line, field: error.field ?? null }
      : {};
  const hints = error instanceof CliError ? error.hints : [];
  return { code: code ?? null, message: message ?? String(error), ...place, hints };
}

/** Microseconds are as exact as a timer here gets. */
function round(ms: number | undefined): number | null {
  return ms === undefined ? null : Math.round(ms * 1_000) / 1_000;
}
