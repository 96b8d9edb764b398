/** What a joined network is made of. Types only. */

import type { JointPlans } from "../../backends/firewall/joint-plans.ts";
import type { Prefix } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import type { HostProfile } from "../../ipam/hosts/host-profile.ts";
import type { LeaseClaimer, Membership } from "../../ipam/leases/claimer.ts";
import type { NetworkStore } from "../../ipam/stores/contracts.ts";
import type { FirewallSettings } from "../config/config.ts";
import type { AgentMetrics } from "../report/agent-metrics.ts";
import type { Attachment, AttachmentParts } from "./attachment.ts";
import type { ConfigHistory } from "./config-history.ts";
import type { Enrolment } from "./enrolment.ts";
import type { ClaimedFirewall } from "./host-firewall.ts";
import type { NetworkSettings } from "./network-settings.ts";
import type { Runtime } from "./runtime.ts";

export interface JoinedNetworkOptions {
  readonly runtime: Runtime;
  readonly settings: NetworkSettings;
  readonly store: Pick<NetworkStore, "description" | "roundTripMs" | "feed" | "records">;
  readonly claimer: LeaseClaimer;
  readonly metrics: AgentMetrics;
  readonly attachmentParts: AttachmentParts;
  readonly enrolment: Enrolment;
  readonly history: ConfigHistory;
  readonly attachment: Attachment;
  /** Which family has no address yet; null when all have one. */
  readonly interfaceProblem: string | null;
  readonly membership: Membership;
  /** Of the network in force and the one before: where peers' subnets may lie, and our own leftovers. */
  readonly ranges: readonly Prefix[];
  /** Ranges of the daemon's other networks. */
  readonly isolated: () => readonly Prefix[];
  /** The settings in force; a reload may have changed them since the start. */
  readonly firewall: FirewallSettings;
  readonly hostFirewall: ClaimedFirewall;
  /** Drops the store's connections, which this host's former address made. */
  readonly redial: () => void;
  /** Called once, when packets can flow. */
  readonly onReady: () => void;
  /** Called at the start, and when this host's interface, addresses or local prefixes have changed. */
  readonly onAttachment: (attachment: Attachment, plans: JointPlans) => void;
  /** What this host says of itself to people. */
  readonly profile: HostProfile;
  /**
   * Called when this host needs another lease in the same network: it is to leave and join again, with `former` where it
   * cannot have that lease.
   */
  readonly onRejoin: (former: NetworkConfig) => void;
}
