// wireonce/vmgenid: which generation is this machine, and who must know when it changes?

export { Broker, type BrokerEvent, type BrokerOptions } from './broker/broker.js';
export type { PageHistory } from './broker/counter-page.js';
export type { BrokerLine } from './broker/lines.js';
export {
  type OpenVmGenIdOptions,
  type SourceCandidate,
  type SourceSelection,
  detectSources,
  openImmediateSources,
  openVmGenId,
} from './detect.js';
export {
  type ForkGuard,
  type Protection,
  SAME_FORK_MS,
  type SourceStatus,
  VmGenId,
  type VmGenIdEvent,
  type VmGenIdOptions,
  isUnforkedSince,
} from './driver.js';
export { type ForkEvidence, UNSURE_RESEED_MS } from './evidence.js';
export type { SharedState } from './machine-state.js';
export { VmGenIdError, type VmGenIdErrorCode } from './errors.js';
export { FIRST_EPOCH, NO_EPOCH, VM_GEN_ID_BYTES, formatGuid, parseGuid } from './generation.js';
export type { PhysicalMemoryOptions } from './physical-memory.js';
export {
  type ForkSubscriber,
  NotifierChain,
  PHASES,
  type Phase,
  type SubscriberFailure,
  type SubscriberOptions,
  type VmFork,
} from './notifier.js';
export type {
  Announcement,
  ChangeNotice,
  GenerationSource,
  SourceListener,
  Standing,
  Timing,
  Uniqueness,
} from './source.js';
export { AcpiSource, type AcpiSourceOptions } from './sources/acpi.js';
export { DevicetreeSource, type DevicetreeSourceOptions } from './sources/devicetree.js';
export {
  BpfSource,
  type BpfKernel,
  type BpfSourceOptions,
  type OpenedBpf,
  closeBpf,
  openBpf,
} from './sources/bpf.js';
export { FileSource, type FileSourceOptions } from './sources/file.js';
export { GvisorSource, type GvisorSourceOptions } from './sources/gvisor.js';
export type { GenerationPageOptions } from './sources/generation-page.js';
export { type HookEnrolment, HookSource, type HookSourceOptions } from './sources/hook.js';
export type { HookReport, HookReporter } from './sources/hook-readiness.js';
export { KmsgSource, type KmsgSourceOptions } from './sources/kmsg.js';
export { MemorySource, type MemorySourceOptions } from './sources/memory.js';
export { VmclockSource, type VmclockSourceOptions } from './sources/vmclock.js';
