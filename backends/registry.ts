/** The backends that this version has. A new one is a new file and one line here. */

import type { NetworkConfig } from "../ipam/config/network-config.ts";
import { ConfigError, UnsupportedError } from "../ipam/errors.ts";
import type { Backend } from "./backend.ts";
import { vxlanBackend } from "./vxlan.ts";

const BACKENDS: readonly Backend[] = [vxlanBackend];

/** Types that flannel knows and this version does not carry. */
const FLANNEL_TYPES = ["host-gw", "udp", "ipip", "wireguard", "ipsec", "alloc", "extension", "tencent-vpc"];

/** The backend that the network configuration asks for. Throws UnsupportedError or ConfigError. */
export function backendFor(config: NetworkConfig): Backend {
  const { type } = config.backend;
  const backend = BACKENDS.find((candidate) => candidate.type === type);
  if (backend !== undefined) return backend;
  const known = BACKENDS.map((candidate) => candidate.type).join(", ");
  if (FLANNEL_TYPES.includes(type)) {
    throw new UnsupportedError(
      `network config: Backend.Type "${type}" is not in this version of tulle; it has ${known}`,
    );
  }
  throw new ConfigError(`network config: Backend.Type "${type}" is unknown; write one of ${known}`);
}
