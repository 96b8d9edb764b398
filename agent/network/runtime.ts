/** The edges of the process that every network of a daemon shares. Types only. */

import type { KeptDescriptors } from "../../backends/kept-descriptors.ts";
import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { Clock } from "../../ipam/clock.ts";
import type { Faults } from "../../ipam/faults.ts";
import type { Logger } from "../../ipam/log.ts";
import type { Metrics } from "../report/metrics.ts";

export interface Runtime {
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Errors of callbacks in any part of the process. */
  readonly faults: Faults;
  /** One for all networks of the host. */
  readonly port: RtnetlinkPort;
  /** Reads the host's facts, which belong to no network. */
  readonly netlink: NetlinkConnection;
  readonly descriptors: KeptDescriptors;
}
