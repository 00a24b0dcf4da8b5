// The generation-ID page that the device tree names: where there is no ACPI, as on most arm64 machines of Firecracker.
// Promises: those of generation-page.ts; the tree is read once.
// Read on: ../devicetree.ts; Linux Documentation/devicetree/bindings/rng/microsoft,vmgenid.yaml.

import { DEVICE_TREE, findNode } from '../devicetree.js';
import { VmGenIdError, unavailable } from '../errors.js';
import { VM_GEN_ID_BYTES } from '../generation.js';
import { type GenerationPageOptions, GenerationPageSource, type PagePlace } from './generation-page.js';

/** Where the device tree and the memory of the machine are. */
export interface DevicetreeSourceOptions extends GenerationPageOptions {
  /** The folder that holds the tree. Default `/sys/firmware/devicetree/base`. */
  readonly tree?: string | undefined;
}

const COMPATIBLE = 'microsoft,vmgenid';

/**
 * Immediate and unique. Needs root, the optional package koffi, and a kernel that lets the page be mapped: its own driver, from
 * Linux 6.10 on, holds it for itself where `CONFIG_IO_STRICT_DEVMEM` is set, unless it was booted with `iomem=relaxed`.
 */
export class DevicetreeSource extends GenerationPageSource {
  readonly #tree: string;

  constructor(options: DevicetreeSourceOptions = {}) {
    const { tree = DEVICE_TREE } = options;
    super(tree === DEVICE_TREE ? 'devicetree' : `devicetree:${tree}`, options);
    this.#tree = tree;
  }

  protected find(): PagePlace {
    const page = findNode(this.#tree, COMPATIBLE);
    if (!page)
      throw unavailable(
        `the device tree has no ${COMPATIBLE}: this hypervisor offers no generation ID in it`,
      );
    const { node, address, bytes } = page;
    if (bytes < VM_GEN_ID_BYTES) {
      throw new VmGenIdError(
        'ERR_SOURCE_FORMAT',
        `${node} has ${bytes} bytes, and a generation ID ${VM_GEN_ID_BYTES}`,
      );
    }
    return { teller: node, address };
  }
}
