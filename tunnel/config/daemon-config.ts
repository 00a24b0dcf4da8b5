// What a daemon has to be told that the UAPI has no words for: `/etc/wireonce/NAME.conf`, in the manner of `wg`.
// Promises: a mistake names file, line and field; no message shows a token. What `wg` sets stays with `wg`.
// Read on: config-file.ts (the reader); cli/daemon/options.ts (the same settings as flags and in the environment).

import { SUITE_NAMES } from '../../protocol/suites/names.js';
import type { DeviceSettings } from '../../sessions/settings.js';
import type { FileSourceOptions, SourceSelection } from '../../vmgenid/index.js';
import type { HookSourceOptions } from '../../vmgenid/sources/hook.js';
import { isLocal, parseHookAddress } from '../../vmgenid/sources/hook-address.js';
import { type Dialect, type Field, type Place, fields, finishPeers, readSections } from './config-file.js';
import {
  BadValue,
  type ConfigEndpoint,
  type ConfigListen,
  isHostName,
  quote,
  readBoolean,
  readEndpoint,
  readKey,
  readListen,
  readNumber,
  readPath,
  words,
} from './config-values.js';
import { ENROLMENT_FIELDS, type EnrolmentDraft, type Places } from './enrolment-config.js';
import { parseMetricsAddress } from '../daemon/metrics-address.js';

/** What the thread of a device is told, whole: nothing secret. */
export interface ThreadSettings extends DeviceSettings {
  /** Let the kernel split and join packets and datagrams, as far as it can. Default true. */
  readonly offloads?: boolean | undefined;
  /** Default `fastest`. One that does not load here is `ERR_SUITE` of the thread. */
  readonly suite?: (typeof SUITE_NAMES)[number] | undefined;
}

/** What is absent has its default. */
export interface DaemonSettings {
  readonly device: ThreadSettings;
  /** An absolute path, a loopback address and port, or `vsock:port`; see `HookSource`. */
  readonly hook?: string;
  /** A secret. */
  readonly hookToken?: string;
  /** An absolute path; see `FileSource`. */
  readonly generationFile?: string;
  readonly generationFileTiming?: FileSourceOptions['timing'];
  readonly generationFileFormat?: FileSourceOptions['format'];
  /** True: the ACPI generation-ID page must be read. False leaves it out. */
  readonly acpi?: boolean;
  /** The same for the page that the device tree names. */
  readonly devicetree?: boolean;
  /** The same for that page by a program in the kernel. */
  readonly bpf?: boolean;
  /** A path, or false to leave the source out. */
  readonly vmclock?: string | false;
  readonly kmsg?: string | false;
  /** True: gVisor must show checkpoints. False leaves that out. */
  readonly gvisor?: boolean;
  /** See `parseMetricsAddress`. */
  readonly metrics?: string;
  /** In lower case; see `MetricsOptions`. */
  readonly metricsHost?: readonly string[];
  readonly listenWebSocket?: ConfigListen;
  /** As it was said; `settleEnrolment` makes sense of it. */
  readonly enrolment?: EnrolmentDraft;
}

/** Where a peer is, from the moment on in which `wg` adds it. */
export interface DaemonPeer {
  readonly publicKey: Uint8Array;
  readonly endpoint: ConfigEndpoint;
}

export interface DaemonConfig {
  readonly settings: DaemonSettings;
  readonly peers: readonly DaemonPeer[];
  readonly places: Places;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
export type SettingsDraft = Mutable<Omit<DaemonSettings, 'device'>> & { device: Mutable<ThreadSettings> };
interface PeerDraft {
  /** Of the section, for messages. */
  readonly line: number;
  publicKey?: Uint8Array;
  endpoint?: ConfigEndpoint;
}

export const FORK_POLICIES = ['wipe', 'expire-sending', 'hold', 'enrol'] as const;
/** Longer than the slowest source is late. */
const MAX_HOLD_BACK_MS = 10_000;

const INTERFACE_FIELDS = fields<SettingsDraft>(
  {
    name: 'ForkPolicy',
    read: (value, to) => (to.device.forkPolicy = readWord(value, FORK_POLICIES)),
  },
  { name: 'Strict', read: (value, to) => (to.device.strict = readBoolean(value)) },
  {
    name: 'HoldBackMs',
    read: (value, { device }) =>
      (device.holdBackMs = readNumber(value, 0, MAX_HOLD_BACK_MS, 'a number of milliseconds')),
  },
  { name: 'Tripwire', read: (value, to) => (to.device.tripwire = readBoolean(value)) },
  { name: 'Offloads', read: (value, to) => (to.device.offloads = readBoolean(value)) },
  { name: 'Suite', read: (value, to) => (to.device.suite = readWord(value, SUITE_NAMES)) },
  { name: 'Hook', verbatim: true, read: (value, to) => (to.hook = readHook(value)) },
  { name: 'HookToken', verbatim: true, read: (value, to) => (to.hookToken = value) },
  { name: 'GenerationFile', verbatim: true, read: (value, to) => (to.generationFile = readPath(value)) },
  {
    name: 'GenerationFileTiming',
    read: (value, to) => (to.generationFileTiming = readWord(value, ['delayed', 'immediate'])),
  },
  {
    name: 'GenerationFileFormat',
    read: (value, to) => (to.generationFileFormat = readWord(value, ['id', 'counter32', 'environ'])),
  },
  { name: 'Acpi', read: (value, to) => (to.acpi = readWord(value, ['on', 'off']) === 'on') },
  { name: 'Devicetree', read: (value, to) => (to.devicetree = readWord(value, ['on', 'off']) === 'on') },
  { name: 'Bpf', read: (value, to) => (to.bpf = readWord(value, ['on', 'off']) === 'on') },
  {
    name: 'Vmclock',
    verbatim: true,
    read: (value, to) => (to.vmclock = value === 'off' ? false : readPath(value)),
  },
  {
    name: 'Kmsg',
    verbatim: true,
    read: (value, to) => (to.kmsg = value === 'off' ? false : readPath(value)),
  },
  { name: 'Gvisor', read: (value, to) => (to.gvisor = readWord(value, ['on', 'off']) === 'on') },
  { name: 'Metrics', read: (value, to) => (to.metrics = readMetrics(value)) },
  { name: 'MetricsHost', verbatim: true, read: (value, to) => (to.metricsHost = words(value).map(readName)) },
  { name: 'ListenWebSocket', read: (value, to) => (to.listenWebSocket = readListen(value)) },
);

const ENROLMENT = fields<SettingsDraft>(...ENROLMENT_FIELDS);

/**
 * All settings by their names in lower case, those of [Enrolment] with that word before their own. Each reads one text,
 * wherever it stood.
 */
export const SETTINGS = new Map([
  ...INTERFACE_FIELDS,
  ...fields(
    ...ENROLMENT_FIELDS.map((field): Field<SettingsDraft> => ({ ...field, name: `Enrolment ${field.name}` })),
  ),
]);

const PEER_FIELDS: readonly Field<PeerDraft>[] = [
  { name: 'PublicKey', read: (value, to) => (to.publicKey = readKey(value)) },
  { name: 'Endpoint', read: (value, to) => (to.endpoint = readEndpoint(value)) },
];

const OF_WG = ['PrivateKey', 'ListenPort', 'FwMark', 'PresharedKey', 'AllowedIPs', 'PersistentKeepalive'];
const OF_WG_QUICK = [
  'Address',
  'DNS',
  'MTU',
  'Table',
  'PreUp',
  'PostUp',
  'PreDown',
  'PostDown',
  'SaveConfig',
];

const DIALECT: Dialect<SettingsDraft, PeerDraft> = {
  interface: INTERFACE_FIELDS,
  peer: fields(...PEER_FIELDS),
  newInterface: () => ({ device: {} }),
  newPeer: line => ({ line }),
  others: { '[Enrolment]': ENROLMENT },
  elsewhere: new Map([
    ...OF_WG.map(
      name => [name.toLowerCase(), 'is set by wg: it belongs in the file of wg or wg-quick'] as const,
    ),
    ...OF_WG_QUICK.map(name => [name.toLowerCase(), 'belongs in the file of wg-quick'] as const),
  ]),
};

/** What to look for forks by. `behindHook`: whom the hook asks. */
export function sourcesOf(
  settings: DaemonSettings,
  behindHook: Pick<HookSourceOptions, 'enrol' | 'report'> = {},
): SourceSelection {
  const { acpi, devicetree, bpf, vmclock, kmsg, gvisor, hook, hookToken: token } = settings;
  const { generationFile: path, generationFileTiming: timing, generationFileFormat: format } = settings;
  return {
    acpi,
    devicetree,
    bpf,
    vmclock,
    kmsg,
    gvisor,
    hook: hook === undefined ? undefined : { listen: hook, token, ...behindHook },
    file: path === undefined ? undefined : { path, timing, format },
  };
}

/** Throws `ERR_CONFIG` with `file`, `line` and `field` for the first mistake. An empty file is good. */
export function parseDaemonConfig(text: string, file?: string): DaemonConfig {
  const places = new Map<string, Place>();
  const { own, peers, fail } = readSections(text, file, DIALECT, (title, field, place) => {
    places.set(field === undefined ? title : title === '[Enrolment]' ? `Enrolment ${field}` : field, place);
  });
  const entries = finishPeers(peers, fail).map(({ publicKey, endpoint, line }) =>
    endpoint ? { publicKey, endpoint } : fail(line, 'Endpoint', 'is missing from this [Peer]'),
  );
  return { settings: own?.draft ?? { device: {} }, peers: entries, places };
}

function readWord<const W extends string>(value: string, words: readonly W[]): W {
  const word = words.find(each => each === value.toLowerCase());
  if (word === undefined) throw new BadValue(`${quote(value)} is none of ${words.join(', ')}`);
  return word;
}

function readHook(value: string): string {
  const address = parseHookAddress(value);
  if (address && isLocal(address)) return value;
  throw new BadValue(
    `${quote(value)} is neither an absolute path nor 127.0.0.1:port nor [::1]:port nor vsock:port`,
  );
}

function readName(value: string): string {
  if (isHostName(value)) return value.toLowerCase().replace(/\.$/, '');
  throw new BadValue(`${quote(value)} is not a host name`);
}

function readMetrics(value: string): string {
  try {
    parseMetricsAddress(value);
    return value;
  } catch {
    throw new BadValue(`${quote(value)} is not a port, address:port or [address]:port`);
  }
}
