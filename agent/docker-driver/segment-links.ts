/** Interface pairs of Docker's containers on the bridges of named networks. */

import { shortDigest } from "../../backends/attachment/digest.ts";
import { deleteLoosePair, makeLoosePair } from "../../backends/attachment/loose-pair.ts";
import { IPV6_MIN_MTU_BYTES } from "../../backends/mtu.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { segmentPortName } from "../../backends/segments/names.ts";
import { type Clock, pause } from "../../ipam/clock.ts";
import { ConflictError } from "../../ipam/errors.ts";
import type { NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import { partOf } from "../../ipam/part-signal.ts";
import type { SegmentHost } from "../named-networks/segment-host.ts";
import type { Changes } from "./changes.ts";
import type { ContainerLinks } from "./context.ts";
import type { EndpointRecord } from "./records.ts";

/** dockerd waits for the answer meanwhile. */
const PATIENCE_MS = 1_500;
const RULES_MS = 400;
const PREPARE_MS = 1_000;

export interface SegmentLinksOptions {
  readonly netlink: NetlinkConnection;
  readonly clock: Clock;
  /** Null until this host's interface is known. */
  readonly segments: () => SegmentHost | null;
  /** Fires when `segments` returns another value. */
  readonly changes: Changes;
}

export class SegmentLinks implements ContainerLinks {
  readonly #options: SegmentLinksOptions;

  constructor(options: SegmentLinksOptions) {
    this.#options = options;
  }

  async prepare(network: NamedNetwork, signal: AbortSignal): Promise<void> {
    const { clock, segments } = this.#options;
    const host = segments();
    if (host === null) return;
    const part = partOf(signal);
    // The engine asks for the pair next, and gets the reason of a failure then.
    const settled = host.ready(network.id, part.signal).catch(() => undefined);
    await Promise.race([settled, pause(clock, PREPARE_MS, part.signal)]);
    part.end();
  }

  async add(network: NamedNetwork, record: EndpointRecord, signal: AbortSignal): Promise<string> {
    const { netlink, clock, segments, changes } = this.#options;
    const host = await changes.until(segments, PATIENCE_MS, signal);
    if (host === null)
      throw new ConflictError("tulled has not joined its network yet: see tulle status, and try again", {
        retryable: true,
      });
    const { bridge, mtuBytes } = await host.ready(network.id, signal);
    if (record.addresses[6] !== undefined && mtuBytes < IPV6_MIN_MTU_BYTES)
      throw new ConflictError(
        `network ${network.name}: IPv6 needs an MTU of ${IPV6_MIN_MTU_BYTES}, and containers of this host have ${mtuBytes}: raise that of the host's interface, or use a network without IPv6`,
      );
    const port = segmentPortName(network.id, record.endpoint);
    const containerEnd = containerEndName(record);
    await makeLoosePair(netlink, { bridge, port, containerEnd, mac: record.mac, mtuBytes });
    // Without its rules a first packet could be dropped, or a forged one pass; iptables under a lock can take long.
    await Promise.race([host.ruled(), pause(clock, RULES_MS, signal)]);
    return containerEnd;
  }

  async remove({ network, endpoint }: EndpointRecord): Promise<void> {
    await deleteLoosePair(this.#options.netlink, segmentPortName(network, endpoint));
  }
}

/** Until the engine moves it into the container and renames it. */
function containerEndName({ network, endpoint }: EndpointRecord): string {
  return `tc-${shortDigest(`${network}\n${endpoint}`).slice(0, 12)}`;
}
