// The daemon at work: opens what it was told to, serves until it is told to stop or its interface is gone, and closes all.
// Promises: nothing is left behind, whichever step failed; what it logs to may go away.
// Read on: ../daemon.ts (the command), options.ts, ../../tunnel/daemon/device-thread.ts.

import { closeSync } from 'node:fs';
import { wipe } from '../../native/bytes.js';
import { copySecret } from '../../native/secret-bytes.js';
import { keystreamOf } from '../../protocol/keystream.js';
import { suiteNamed } from '../../protocol/suites/fastest.js';
import { ConfiguredEndpoints } from '../../tunnel/config/configured-endpoints.js';
import { systemClock } from '../../tunnel/clock.js';
import { sourcesOf } from '../../tunnel/config/daemon-config.js';
import { hookEnrolment } from '../../tunnel/daemon/clone/hook-enrolment.js';
import { Clone } from '../../tunnel/daemon/clone/clone.js';
import { DeviceThread } from '../../tunnel/daemon/device-thread.js';
import { type ReportingDaemon, hookReporter } from '../../tunnel/daemon/hook-report.js';
import { openCrng } from '../../tunnel/loop/open-crng.js';
import { resolveEndpoints } from '../../tunnel/config/resolve.js';
import { UapiServer, socketPath } from '../../tunnel/daemon/uapi/index.js';
import { type VmGenId, openVmGenId } from '../../vmgenid/index.js';
import { CliError } from '../errors.js';
import type { CliIo } from '../io.js';
import { describeProtection } from '../../tunnel/daemon/protection.js';
import { packageVersion } from '../version.js';
import { requireAll } from '../vmgenid-sources.js';
import { openGateway } from './gateway.js';
import type { Handover, OpenedDevices } from './handover.js';
import { createLogger, type Logger } from './log.js';
import {
  logCloneEvent,
  logCrngEvent,
  logDeviceEvent,
  logLinkEvent,
  logVmGenIdEvent,
  SilenceLog,
  TransportErrorLog,
} from './log-events.js';

/**
 * Calls `onReady` when the socket stands, and resolves with the exit status when it has ended. Throws what cannot be
 * opened, with everything closed again.
 */
export async function serve(
  io: CliIo,
  requestedName: string,
  { options, opened }: Handover,
  onReady: () => void,
): Promise<number> {
  const logger = createLogger({ interface: requestedName, stream: io.stderr, env: io.env });
  for (const warning of options.warnings) logger.warn(warning);
  const closers: Closers = [];
  try {
    const stop = new AbortController();
    const thread = await start(io, requestedName, { options, opened }, logger, closers, () => stop.abort());
    // A terminal that was closed must not end a tunnel.
    io.outliveTerminal();
    io.stderr.removeAllListeners('error');
    io.stderr.on('error', () => undefined);
    onReady();
    return await untilEnd(thread, io.signal, stop.signal, logger);
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

type Closers = (() => void | Promise<void>)[];

async function untilEnd(
  thread: DeviceThread,
  told: AbortSignal,
  socketRemoved: AbortSignal,
  logger: Logger,
): Promise<number> {
  try {
    const reason = await Promise.race([
      aborted(told, 'a signal came'),
      aborted(socketRemoved, 'its socket was removed'),
      thread.ended.then(() => 'the interface was deleted'),
    ]);
    logger.info({ event: 'ending' }, `Ending: ${reason}`);
    return 0;
  } catch (error) {
    logger.error(
      { event: 'ending', err: error },
      `Ending, as the device failed: ${(error as Error).message}`,
    );
    return 1;
  }
}

async function start(
  io: CliIo,
  requestedName: string,
  { options: { settings, peers, enrolment, secrets }, opened: devices }: Handover,
  logger: Logger,
  closers: Closers,
  onSocketRemoved: () => void,
): Promise<DeviceThread> {
  const silence = new SilenceLog(logger);
  const troubles = new TransportErrorLog(logger, systemClock.now);
  const { memory, bpfProgram: program, bpfDevice: device, kmsg, kmsgOfThread } = devices;
  const bpf = program !== undefined && device !== undefined ? { program, device } : undefined;
  const later: { endpoints?: ConfiguredEndpoints; clone?: Clone; reporting?: ReportingDaemon } = {};
  const method = enrolment?.role === 'clone' ? enrolment.method.kind : undefined;
  let attached: (clone: Clone) => void = () => {};
  const clone = new Promise<Clone>(resolve => (attached = resolve));
  const enrol = method && hookEnrolment(method, clone, resolveEndpoints);
  const report = hookReporter(() => later.reporting);
  const selection = { ...sourcesOf(settings, { enrol, report }), opened: { memory, bpf, kmsg } };
  const vmgenid = await openVmGenId({
    ...selection,
    // By the device's thread.
    watchedElsewhere: true,
    onEvent: event => logVmGenIdEvent(logger, event),
  });
  closers.push(() => vmgenid.close());
  requireAll(vmgenid.sources);
  const suite = await suiteNamed(settings.device.suite ?? 'fastest');
  const opened = await openCrng({
    vmgenid,
    keystream: keystreamOf(suite),
    onEvent: event => logCrngEvent(logger, event),
  });
  closers.push(() => opened.close());
  if (opened.openssl.reason !== undefined) {
    logger.warn(`TLS connections may repeat random numbers after a fork: ${opened.openssl.reason}`);
  }

  const gateway = enrolment?.role === 'gateway' ? await openGateway(enrolment, secrets, logger) : undefined;
  if (gateway) closers.push(() => gateway.close());
  if (enrolment?.role === 'clone') {
    later.clone = new Clone({
      settings: enrolment,
      secret: secrets.map(copySecret)[0],
      vmgenid,
      suite,
      interfaceName: () => thread.name,
      randomness: opened.crng,
      resolve: resolveEndpoints,
      after,
      onEvent: event => logCloneEvent(logger, event),
    });
    closers.push(() => later.clone?.close());
  }
  wipe(...secrets);
  const tunFd = descriptor(io, 'WG_TUN_FD');
  const thread = await DeviceThread.start({
    tun: tunFd === undefined ? { name: requestedName } : { fd: tunFd },
    vmgenid,
    sources: selection,
    kernelLogFd: kmsgOfThread,
    crng: opened.crng,
    openssl: opened.openssl,
    version: packageVersion(),
    settings: settings.device,
    listenWebSocket: settings.listenWebSocket,
    gateway: gateway?.admission,
    clone: later.clone,
    onDeviceEvent: event => {
      logDeviceEvent(logger, event);
      silence.hear(event);
      if ('peer' in event) later.endpoints?.hear(event);
    },
    onLinkEvent: event => logLinkEvent(logger, event),
    onTrouble: error => troubles.log(error),
  });
  closers.push(() => thread.close());
  if (later.clone) attached(later.clone);
  later.reporting = { recovery: () => thread.recovery(), openssl: opened.openssl };
  closeUnused(devices, vmgenid);
  const endpoints = new ConfiguredEndpoints(thread, {
    peers,
    resolve: resolveEndpoints,
    now: systemClock.now,
    after,
    onTrouble: error => troubles.log(error),
  });
  later.endpoints = endpoints;
  closers.push(() => endpoints.close());

  if (settings.metrics !== undefined) {
    // Half of what a daemon loads, for those who want it.
    const { MetricsServer } = await import('../../tunnel/daemon/metrics.js');
    const metrics = await MetricsServer.listen({
      listen: settings.metrics,
      hosts: settings.metricsHost,
      status: () => thread.status(),
      log: message => logger.error(message),
    });
    closers.push(() => metrics.close());
    logger.info(`Metrics at http://${metrics.address}/metrics`);
  }

  const uapiFd = descriptor(io, 'WG_UAPI_FD');
  const path = socketPath(thread.name);
  const uapiOptions = {
    log: (message: string) => logger.error(message),
    onRemoved: onSocketRemoved,
  };
  const uapi =
    uapiFd === undefined
      ? await UapiServer.listen(path, endpoints, uapiOptions)
      : await UapiServer.adopt(uapiFd, path, endpoints, uapiOptions);
  closers.push(() => uapi.close());
  const { protection, sources } = vmgenid;
  logger.info(
    { event: 'started', protection, sources: sources.map(({ name }) => name) },
    `wireonce ${packageVersion()} serves ${thread.name}; protection against forks: ${describeProtection(protection, sources)}`,
  );
  return thread;
}

function after(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, ms);
  return () => clearTimeout(timer);
}

/** The page is mapped by now, in both threads; the log and the program are theirs, if they are sources. */
function closeUnused(opened: OpenedDevices, { sources }: VmGenId): void {
  const { memory, bpfProgram, bpfDevice, kmsg, kmsgOfThread } = opened;
  const has = (kind: string) => sources.some(({ name }) => name.startsWith(kind));
  const unused = [
    memory,
    ...(has('bpf') ? [] : [bpfProgram, bpfDevice]),
    ...(has('kmsg') ? [] : [kmsg, kmsgOfThread]),
  ];
  for (const fd of unused) if (fd !== undefined) closeSync(fd);
}

/** A descriptor that whoever started us has opened for us. */
function descriptor(io: CliIo, name: string): number | undefined {
  const value = io.env[name];
  if (value === undefined || value === '') return undefined;
  const fd = Number(value);
  if (!Number.isInteger(fd) || fd < 0) {
    throw new CliError('ERR_CLI_USAGE', `${name} is no descriptor: ${value}`);
  }
  return fd;
}

function aborted(signal: AbortSignal, why: string): Promise<string> {
  return new Promise(resolve => {
    if (signal.aborted) resolve(why);
    else signal.addEventListener('abort', () => resolve(why), { once: true });
  });
}
