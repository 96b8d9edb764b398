/** The backends that this version has. A new one is a new file and one line here. */

import { entriesOf, FAMILIES } from "../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../ipam/config/network-config.ts";
import { ConfigError, UnsupportedError } from "../ipam/errors.ts";
import { allocBackend } from "./alloc.ts";
import type { Backend, FileNeed, KernelNeed, OptionDescription, OwnershipRecord } from "./backend.ts";
import { extensionBackend } from "./extension.ts";
import { hostGwBackend } from "./host-gw.ts";
import { ipipBackend } from "./ipip.ts";
import type { LinkObject } from "./state/kinds/link.ts";
import { udpBackend } from "./udp.ts";
import { vxlanBackend } from "./vxlan.ts";
import { wireguardBackend } from "./wireguard.ts";

const BACKENDS: readonly Backend[] = [
  vxlanBackend,
  hostGwBackend,
  ipipBackend,
  wireguardBackend,
  udpBackend,
  allocBackend,
  extensionBackend,
];

/** Types that flannel knows and this version does not carry. */
const FLANNEL_TYPES = ["ipsec", "tencent-vpc"];

/** Devices that flannel creates for these types. */
const FLANNEL_DEVICES: ReadonlySet<string> = new Set(["flannel.ipip", "flannel-wg", "flannel-wg-v6"]);

/** The backend that the network configuration asks for. Throws UnsupportedError or ConfigError. */
export function backendFor(config: NetworkConfig): Backend {
  const { type } = config.backend;
  const backend = BACKENDS.find((candidate) => candidate.type === type);
  if (backend !== undefined) {
    requireFamilies(config, backend);
    return backend;
  }
  const known = BACKENDS.map((candidate) => candidate.type).join(", ");
  if (FLANNEL_TYPES.includes(type)) {
    throw new UnsupportedError(
      `network config: Backend.Type "${type}" is not in this version of tulle; it has ${known}`,
    );
  }
  throw new ConfigError(`network config: Backend.Type "${type}" is unknown; write one of ${known}`);
}

/** Throws ConfigError for a family that the backend does not carry. */
function requireFamilies({ families }: NetworkConfig, { type, families: carried = FAMILIES }: Backend): void {
  for (const [family] of entriesOf(families)) {
    if (carried.includes(family)) continue;
    throw new ConfigError(
      `network config: EnableIPv${family} is true, but Backend.Type "${type}" carries IPv${carried.join()} only; set it to false or choose another type`,
    );
  }
}

/** The options of every backend by its type, in the order of this list. */
export function describedOptions(): ReadonlyMap<string, readonly OptionDescription[]> {
  return new Map(BACKENDS.map(({ type, options }) => [type, options]));
}

/** What each backend needs of the kernel. */
export const BACKEND_NEEDS: readonly Pick<Backend, "type" | "kernelNeeds">[] = BACKENDS;

/** True for the name of a tunnel device of flannel's or ours, under any configuration. */
export function isOverlayDevice(name: string): boolean {
  return FLANNEL_DEVICES.has(name) || BACKENDS.some((backend) => backend.isDeviceName(name));
}

/** True for the rtnetlink type of a device that a backend creates. */
export function isTunnelType(type: string): boolean {
  return BACKENDS.some(({ deviceTypes }) => deviceTypes.includes(type));
}

/** True for a tunnel device of any backend that this host's agent provably created or adopted. */
export function isRecordedDevice(link: LinkObject, record: OwnershipRecord): boolean {
  return BACKENDS.some((backend) => backend.isRecorded(link, record));
}

/** What the kernel must have for this network; for every backend while the configuration is unknown. */
export function kernelNeedsOf(config: NetworkConfig | null): readonly (KernelNeed | FileNeed)[] {
  return config === null
    ? BACKENDS.flatMap(({ kernelNeeds }) => kernelNeeds)
    : backendFor(config).kernelNeeds;
}
