// What a daemon is told: flags over environment over /etc/wireonce/NAME.conf, as one object.
// Promises: each setting is read by one reader, wherever it stands; a mistake names the flag, the variable, or file,
// line and field; a token is never a flag, where every user of the machine could read it.
// Read on: tunnel/config/daemon-config.ts (the settings), docs/configuration.md.

import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { isOpenToUsers } from '../../vmgenid/sources/hook-address.js';
import { type Command, Option } from 'commander';
import { wipe } from '../../native/bytes.js';
import { SUITE_NAMES } from '../../protocol/suites/names.js';
import { BadValue } from '../../tunnel/config/config-values.js';
import {
  type DaemonPeer,
  type DaemonSettings,
  FORK_POLICIES,
  parseDaemonConfig,
  SETTINGS,
  type SettingsDraft,
} from '../../tunnel/config/daemon-config.js';
import {
  type EnrolmentSettings,
  mistake,
  type Places,
  settleEnrolment,
} from '../../tunnel/config/enrolment-config.js';
import { readEnrolmentSecret } from '../../tunnel/config/enrolment-secret.js';
import { CliError } from '../errors.js';
import type { CliIo } from '../io.js';
import { holdsPassword, readableSecret } from '../readable-secret.js';
import { inWords, unreadable } from '../trouble.js';
import { READY_FD } from './environment.js';
import { LOG_LEVELS } from './log-levels.js';

/** As commander gives them: texts by the names of the flags. */
export type DaemonFlags = Readonly<Record<string, unknown>> & {
  readonly foreground?: boolean;
  readonly config?: string;
};

export interface DaemonOptions {
  readonly foreground: boolean;
  readonly settings: DaemonSettings;
  readonly peers: readonly DaemonPeer[];
  readonly enrolment?: EnrolmentSettings | undefined;
  /** Of the enrolment, 32 bytes each, in the order of their files. Whoever takes them erases them. */
  readonly secrets: readonly Uint8Array[];
  /** What is strange but no mistake; to be logged. */
  readonly warnings: readonly string[];
}

interface Flag {
  /** The name of the setting, as the file has it. */
  readonly setting: string;
  readonly flag: string;
  readonly help: string;
  /** What the flag stands for when it has no value of its own. */
  readonly means?: string;
  /** All values that there are, for the completion of a shell. They are read where the setting is. */
  readonly values?: readonly string[];
}

const FLAGS: readonly Flag[] = [
  {
    setting: 'ForkPolicy',
    flag: '--fork-policy <policy>',
    help: 'what to do when this machine was forked: wipe (default), expire-sending, hold or enrol',
    values: FORK_POLICIES,
  },
  { setting: 'Strict', flag: '--strict', means: 'true', help: 'refuse to start below immediate protection' },
  {
    setting: 'HoldBackMs',
    flag: '--hold-back-ms <ms>',
    help: 'hold each sealed datagram so long and check again, for sources that tell late',
  },
  {
    setting: 'Tripwire',
    flag: '--no-tripwire',
    means: 'false',
    help: 'do not look for peers that were cloned',
  },
  {
    setting: 'Offloads',
    flag: '--no-offloads',
    means: 'false',
    help: 'have the kernel split and join nothing',
  },
  {
    setting: 'Suite',
    flag: '--suite <name>',
    help: `the primitives: ${SUITE_NAMES.join(', ')}`,
    values: SUITE_NAMES,
  },
  {
    setting: 'Hook',
    flag: '--hook <address>',
    help: "a hook for the hypervisor's agent: a socket path, 127.0.0.1:port, [::1]:port or vsock:port",
  },
  {
    setting: 'GenerationFile',
    flag: '--generation-file <path>',
    help: 'a file with the generation: 16 bytes, or a GUID as text',
  },
  {
    setting: 'GenerationFileTiming',
    flag: '--generation-file-timing <timing>',
    help: 'delayed (default), or immediate where the hypervisor writes it before a clone runs',
    values: ['delayed', 'immediate'],
  },
  {
    setting: 'GenerationFileFormat',
    flag: '--generation-file-format <format>',
    help: 'id (default), counter32 or environ',
    values: ['id', 'counter32', 'environ'],
  },
  {
    setting: 'Acpi',
    flag: '--acpi',
    means: 'on',
    help: 'the ACPI generation-ID page must be read (default: where there is one)',
  },
  { setting: 'Acpi', flag: '--no-acpi', means: 'off', help: 'no ACPI page' },
  {
    setting: 'Devicetree',
    flag: '--devicetree',
    means: 'on',
    help: "the device tree's generation-ID page must be read (default: where there is one)",
  },
  { setting: 'Devicetree', flag: '--no-devicetree', means: 'off', help: 'no page of the device tree' },
  {
    setting: 'Bpf',
    flag: '--bpf',
    means: 'on',
    help: 'the generation-ID page must be read by a program in the kernel (default: where it cannot be mapped)',
  },
  { setting: 'Bpf', flag: '--no-bpf', means: 'off', help: 'no program in the kernel' },
  { setting: 'Vmclock', flag: '--vmclock <path>', help: 'this vmclock device' },
  { setting: 'Vmclock', flag: '--no-vmclock', means: 'off', help: 'no vmclock' },
  { setting: 'Kmsg', flag: '--kmsg <path>', help: 'this kernel log' },
  { setting: 'Kmsg', flag: '--no-kmsg', means: 'off', help: 'no kernel log' },
  {
    setting: 'Gvisor',
    flag: '--gvisor',
    means: 'on',
    help: 'gVisor must show checkpoints (default: where it does)',
  },
  { setting: 'Gvisor', flag: '--no-gvisor', means: 'off', help: 'no checkpoints of gVisor' },
  {
    setting: 'Metrics',
    flag: '--metrics <address>',
    help: 'serve Prometheus metrics at a port of 127.0.0.1, or at address:port',
  },
  {
    setting: 'MetricsHost',
    flag: '--metrics-host <names>',
    help: 'names, with commas between, by which scrapers call this machine (default: by its addresses alone)',
  },
  {
    setting: 'ListenWebSocket',
    flag: '--listen-websocket <address>',
    help: 'take peers over WebSockets at a port, or at address:port',
  },
  {
    setting: 'Enrolment SecretFile',
    flag: '--enrolment-secret-file <path>',
    help: 'the secret that clones and their gateway have; a gateway may have two, with a comma between',
  },
  {
    setting: 'Enrolment Prefix',
    flag: '--enrolment-prefix <prefix>',
    help: 'the /64 that all addresses of clones are in',
  },
  {
    setting: 'Enrolment Gateway',
    flag: '--enrolment-gateway <keys>',
    help: 'the peers that admit this clone (default: each without a preshared key of its own)',
  },
  {
    setting: 'Enrolment IdentityFile',
    flag: '--enrolment-identity-file <path>',
    help: 'where a clone keeps its identity (default: /var/lib/wireonce/INTERFACE.identity)',
  },
  {
    setting: 'Enrolment Enrol',
    flag: '--enrolment-enrol <how>',
    help: 'who tells a clone its address and peers, instead of a secret: exec:/path or hook',
  },
  {
    setting: 'Enrolment MaxPeers',
    flag: '--enrolment-max-peers <n>',
    help: 'admit so many clones at most',
  },
  {
    setting: 'Enrolment ExpireAfter',
    flag: '--enrolment-expire-after <time>',
    help: 'forget a clone that was not seen for so long, such as 12h or 30d (default: 30d), or never',
  },
  {
    setting: 'Enrolment Store',
    flag: '--enrolment-store <path>',
    help: 'where a gateway remembers its peers (default: /var/lib/wireonce/INTERFACE.peers): a path or an http(s):// URL',
  },
];

const CONFIG_VARIABLE = 'WIREONCE_CONFIG';
const CONFIG_MAX_BYTES = 16 * 1024 * 1024;

/** The flags of a daemon, for its command. */
export function addDaemonOptions(command: Command): Command {
  command
    .option('-f, --foreground', 'stay in the foreground')
    .option('--config <file>', 'settings (default: /etc/wireonce/INTERFACE.conf, where there is one)');
  for (const { flag, help } of FLAGS) command.addOption(new Option(flag, help));
  return command;
}

/** All values of a flag, such as `--suite`, where these can be listed. */
export function flagValues(long: string): readonly string[] {
  return FLAGS.find(({ flag }) => flag.startsWith(`${long} `))?.values ?? [];
}

/** Every variable of the environment that says what a setting does, its name in the file, and the flags that say the same, if any do. */
export function settingVariables(): readonly { variable: string; setting: string; flags: string[] }[] {
  return [...SETTINGS.values()].map(({ name }) => ({
    variable: variableOf(name),
    setting: name,
    flags: FLAGS.filter(({ setting }) => setting === name).map(({ flag }) => flag.split(' ')[0]),
  }));
}

/**
 * Everything that the daemon of `name` was told. Throws `ERR_CLI_USAGE` for a flag or a variable, `ERR_CLI_INPUT` for a
 * file that cannot be read, `ERR_CONFIG` for one that is wrong.
 */
export function readDaemonOptions(
  io: Pick<CliIo, 'env'>,
  name: string,
  flags: DaemonFlags,
  folder = '/etc/wireonce',
): DaemonOptions {
  const warnings: string[] = [];
  const asked = flags.config ?? nonEmpty(io.env[CONFIG_VARIABLE]);
  const path = asked === undefined ? resolve(folder, `${name}.conf`) : resolve(asked);
  const text = readConfig(path, asked !== undefined);
  const { settings, peers, places: inFile } = parseDaemonConfig(text, path);
  const secret = secretIn(settings, peers);
  const exposed = secret && readableSecret(path, secret);
  if (exposed) warnings.push(exposed);
  const draft: SettingsDraft = { ...settings, device: { ...settings.device } };
  const places = new Map(inFile);
  for (const { name: setting } of SETTINGS.values()) {
    const variable = variableOf(setting);
    const value = nonEmpty(io.env[variable]);
    if (value === undefined) continue;
    readInto(draft, setting, value, variable);
    places.set(setting, { shown: variable });
  }
  for (const { setting, value, shown } of given(flags)) {
    readInto(draft, setting, value, shown);
    places.set(setting, { shown });
  }
  const enrolment = settleEnrolment(draft.device.forkPolicy, draft.enrolment, places, name);
  warnings.push(...strangersIn(io.env), ...logLevelWarnings(io.env), ...hookWarnings(draft));
  const secrets = readSecrets(enrolment, places);
  return { foreground: flags.foreground === true, settings: draft, peers, enrolment, secrets, warnings };
}

function readSecrets(enrolment: EnrolmentSettings | undefined, places: Places): Uint8Array[] {
  const secrets: Uint8Array[] = [];
  for (const path of secretFilesOf(enrolment)) {
    try {
      secrets.push(readEnrolmentSecret(path));
    } catch (error) {
      wipe(...secrets);
      const problem = error instanceof BadValue ? error : unreadable(path, error);
      throw mistake(places, 'Enrolment SecretFile', inWords(problem).message);
    }
  }
  return secrets;
}

function secretFilesOf(enrolment: EnrolmentSettings | undefined): readonly string[] {
  if (enrolment?.role === 'gateway') return enrolment.secretFiles;
  return enrolment?.method.kind === 'derived' ? [enrolment.method.secretFile] : [];
}

/** A variable that is none of ours may be one of ours, misspelt: nobody would notice that `strict` is not on. */
function strangersIn(env: CliIo['env']): string[] {
  const ours = new Set<string>([CONFIG_VARIABLE, READY_FD, 'WIREONCE_DEBUG']);
  for (const { name } of SETTINGS.values()) ours.add(variableOf(name));
  return Object.keys(env)
    .filter(name => name.startsWith('WIREONCE_') && !ours.has(name))
    .map(name => `${name} is no setting, and is ignored`);
}

function logLevelWarnings({ LOG_LEVEL: level = '' }: CliIo['env']): string[] {
  if (level === '' || Object.hasOwn(LOG_LEVELS, level)) return [];
  return [
    `LOG_LEVEL=${level} is no level, and is ignored: take one of ${Object.keys(LOG_LEVELS).join(', ')}`,
  ];
}

function hookWarnings({ hook, hookToken }: SettingsDraft): string[] {
  if (hook === undefined) return hookToken === undefined ? [] : ['there is a HookToken, and no Hook'];
  if (hookToken !== undefined || !isOpenToUsers(hook)) return [];
  return [
    `Hook ${hook} has no HookToken: every user of this machine may tell of forks, and end all sessions`,
  ];
}

/** The arguments that say the same to a daemon in the background, whose folder is another. */
export function forwardedArguments(flags: DaemonFlags): string[] {
  const args = flags.config === undefined ? [] : ['--config', resolve(flags.config)];
  for (const { shown, value, means } of given(flags)) {
    args.push(...(means === undefined ? [shown, value] : [shown]));
  }
  return args;
}

interface Given {
  readonly setting: string;
  readonly value: string;
  /** `--fork-policy` */
  readonly shown: string;
  readonly means: string | undefined;
}

/** The flags that stand on the command line. */
function given(flags: DaemonFlags): Given[] {
  return FLAGS.flatMap(({ setting, flag, means }) => {
    const value = flags[new Option(flag).attributeName()];
    const shown = flag.split(' ')[0];
    // `--no-x` is there when `x` is false, and commander says true of those that are not.
    const present = shown.startsWith('--no-')
      ? value === false
      : means !== undefined
        ? value === true
        : typeof value === 'string';
    return present ? [{ setting, value: means ?? String(value), shown, means }] : [];
  });
}

/** What is read takes the place of what stood in the file, of lists too. */
function readInto(draft: SettingsDraft, setting: string, value: string, shown: string): void {
  const read: SettingsDraft = { device: {} };
  try {
    SETTINGS.get(setting.toLowerCase())?.read(value, read);
    const device = { ...draft.device, ...read.device };
    const enrolment = { ...draft.enrolment, ...read.enrolment };
    Object.assign(draft, read, { device }, Object.keys(enrolment).length > 0 && { enrolment });
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    throw new CliError('ERR_CLI_USAGE', `${shown}: ${error.message}`);
  }
}

/** `WIREONCE_HOLD_BACK_MS` for `HoldBackMs`. */
function variableOf(setting: string): string {
  const words = setting.replace('WebSocket', 'Websocket').match(/[A-Z][a-z]+/g) ?? [];
  return ['WIREONCE', ...words].join('_').toUpperCase();
}

function readConfig(path: string, mustExist: boolean): string {
  try {
    const { size } = statSync(path);
    if (size > CONFIG_MAX_BYTES)
      throw new CliError('ERR_CLI_INPUT', `${path}: longer than ${CONFIG_MAX_BYTES} bytes`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof CliError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !mustExist) return '';
    throw unreadable(path, error);
  }
}

function secretIn({ hookToken }: DaemonSettings, peers: readonly DaemonPeer[]): string | undefined {
  if (hookToken !== undefined) return 'a HookToken';
  return peers.some(({ endpoint }) => holdsPassword(endpoint)) ? 'an Endpoint with a password' : undefined;
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
