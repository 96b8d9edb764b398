/** The devices of named networks on this host: they wait for the host's interface, and follow it from then on. */

import type { JointPlans } from "../../backends/firewall/joint-plans.ts";
import type { SegmentFacts } from "../../backends/segments/segment.ts";
import type { NamedNetworksFeed } from "../../ipam/named-networks/contracts.ts";
import type { HostId } from "../../ipam/named-networks/named-network.ts";
import type { FirewallSettings } from "../config/config.ts";
import type { Identity } from "../host/identity.ts";
import { SegmentHost } from "../named-networks/segment-host.ts";
import type { Attachment } from "../network/attachment.ts";
import type { Runtime } from "../network/runtime.ts";

interface HostSegmentsOptions {
  readonly runtime: Runtime;
  readonly feed: NamedNetworksFeed;
  readonly firewall: Pick<FirewallSettings, "openPort">;
  readonly identity: Identity;
  readonly host: HostId;
}

/** The port of all VXLAN devices of named networks: flannel's, and open where hosts already are peers. */
const VXLAN_PORT = 8472;

export class HostSegments {
  readonly #options: HostSegmentsOptions;
  /** Resolves when the host's interface is known. */
  readonly first: Promise<SegmentHost>;
  #setFirst: (segments: SegmentHost) => void = () => undefined;
  #current: SegmentHost | null = null;

  constructor(options: HostSegmentsOptions) {
    this.#options = options;
    this.first = new Promise((resolve) => {
      this.#setFirst = resolve;
    });
  }

  /** Null until the host's interface is known. */
  get current(): SegmentHost | null {
    return this.#current;
  }

  /** The interface is known or has changed. `plans`: the host's firewall. */
  attached(attachment: Attachment, plans: JointPlans): void {
    const facts = this.#factsOf(attachment);
    if (this.#current === null) {
      const { runtime, feed, firewall } = this.#options;
      this.#current = new SegmentHost({ runtime, feed, facts, settings: firewall, plans });
      this.#setFirst(this.#current);
    } else this.#current.setFacts(facts);
  }

  #factsOf({ host: { uplinks, hasIpv6 } }: Attachment): SegmentFacts {
    const { identity, host } = this.#options;
    const macFor = (device: string) => identity.deviceMac(device);
    return { host, uplinks, hasIpv6, port: VXLAN_PORT, macFor };
  }
}
