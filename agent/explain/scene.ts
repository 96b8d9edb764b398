/** What an explanation is made from. Pure. */

import type { IpsecPolicy } from "../../backends/netlink/ipsec-policy.ts";
import type { WireguardDevice } from "../../backends/netlink/wireguard.ts";
import type { Steps } from "./explanation.ts";
import type { Firewall } from "./firewall/read-ruleset.ts";
import type { KernelView } from "./kernel-view.ts";
import type { Knowledge } from "./knowledge.ts";
import type { MtuPath } from "./mtu-path.ts";

export interface Scene {
  readonly kernel: KernelView;
  /** Null for a setting that does not exist. */
  readonly readSysctl: (path: string) => string | null;
  /** Null for a device that is none of WireGuard. */
  readonly readWireguard: (device: string) => WireguardDevice | null;
  readonly firewall: Firewall;
  readonly ipsec: readonly IpsecPolicy[];
  readonly knowledge: Knowledge;
  readonly steps: Steps;
  readonly mtu: MtuPath;
}
