// The kernel's own vmgenid driver, as sysfs shows it: is it there, and has it a device?
// Promises: says what is linked at that moment, and remembers nothing.
// Read on: Linux drivers/virt/vmgenid.c; sources/bpf.ts, which reads the page through it.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Where Linux lists buses, their devices and drivers. */
export const SYS_BUS = '/sys/bus';
/** By which name it registers. */
export const VMGENID_DRIVER = 'vmgenid';
// On the ACPI bus before Linux 6.10, on the platform bus since.
const BUSES = ['platform', 'acpi'] as const;

export interface DrivenDevice {
  readonly bus: (typeof BUSES)[number];
  /** The folder of the device, by way of its driver's. */
  readonly folder: string;
}

/** Whether this kernel runs the driver, with a device or without. */
export function hasKernelDriver(sysBus: string): boolean {
  return BUSES.some(bus => existsSync(driverFolder(sysBus, bus)));
}

/** The device that the driver serves: its folder links to each. Undefined where there is none, or nobody may look. */
export function drivenDevice(sysBus: string): DrivenDevice | undefined {
  for (const bus of BUSES) {
    const driver = driverFolder(sysBus, bus);
    const device = links(driver).find(name => name !== 'module');
    if (device !== undefined) return { bus, folder: join(driver, device) };
  }
  return undefined;
}

function driverFolder(sysBus: string, bus: string): string {
  return join(sysBus, bus, 'drivers', VMGENID_DRIVER);
}

function links(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter(entry => entry.isSymbolicLink()).map(({ name }) => name);
  } catch {
    return [];
  }
}
