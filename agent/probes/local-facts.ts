/** What this host's kernel knows about the way to a target. Reads only. */

import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import { decodeLink, encodeLinkDump, type Link } from "../../backends/netlink/link/link.ts";
import { NLM_F_REPLACE } from "../../backends/netlink/message.ts";
import {
  decodeNeighbour,
  encodeNeighbourDump,
  encodeNewNeighbour,
  type Neighbour,
  NUD_DELAY,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
} from "../../backends/netlink/neighbour.ts";
import type { PerFamily } from "../../ipam/addresses/ip.ts";
import { checkRouting } from "../routing/routing-check.ts";
import type { LocalFacts } from "./causes.ts";
import { reversePathDrops } from "./kernel-counters.ts";
import type { ProbeTarget } from "./probe.ts";

export interface FactsReaderOptions {
  readonly netlink: NetlinkConnection;
  /** The devices that packets to peers' subnets leave by; empty for a backend without. */
  readonly devices: () => readonly string[];
  /** The interfaces that carry the tunnel. */
  readonly interfaces: () => PerFamily<string>;
}

/** States in which the kernel sends to the address that it knows. */
const BELIEVED = NUD_REACHABLE | NUD_STALE | NUD_DELAY;

export class FactsReader {
  readonly #options: FactsReaderOptions;
  #reversePathDrops: number;

  constructor(options: FactsReaderOptions) {
    this.#options = options;
    this.#reversePathDrops = reversePathDrops();
  }

  /** Throws NetlinkError when the kernel cannot be asked. */
  read(target: ProbeTarget): LocalFacts {
    const before = this.#reversePathDrops;
    this.#reversePathDrops = reversePathDrops();
    return {
      obstacle: this.#obstacle(target),
      isNeighbourSilent: ((this.#neighbour(target)?.state ?? 0) & (NUD_FAILED | NUD_INCOMPLETE)) !== 0,
      hasReversePathDrops: this.#reversePathDrops > before,
    };
  }

  #obstacle({ peer, subnet, outer, path }: ProbeTarget): string | null {
    const interfaces = this.#options.interfaces();
    const ownDevices = this.#options.devices();
    const devices = path === "direct" ? [...ownDevices, ...Object.values(interfaces)] : ownDevices;
    const problems = checkRouting(this.#options.netlink, {
      peers: [{ key: peer, subnets: [subnet], publicAddresses: [outer], devices }],
      interfaces,
      ownAddresses: [],
      withLongerRoutes: false,
    });
    return problems[0]?.text ?? null;
  }

  /**
   * Has the kernel ask the link again for a target that is silent. On its own it believes an old answer for up to a
   * minute (arp(7), base_reachable_time).
   */
  askLink(target: ProbeTarget): void {
    const entry = this.#neighbour(target);
    if (entry === null || entry.mac === null || (entry.state & BELIEVED) === 0) return;
    const { interfaceIndex, address, mac } = entry;
    const request = encodeNewNeighbour({ interfaceIndex, address, mac, state: NUD_PROBE }, NLM_F_REPLACE);
    try {
      this.#options.netlink.request(request);
    } catch (error) {
      // It has gone meanwhile: then the kernel asks the link anyway.
      if (!(error instanceof NetlinkError) || error.errnoName !== "ENOENT") throw error;
    }
  }

  /** The kernel's entry for a target on a link of this host; null when it has none. */
  #neighbour({ outer }: ProbeTarget): Neighbour | null {
    const { netlink, interfaces } = this.#options;
    const name = interfaces()[outer.family];
    const links: readonly Link[] = netlink.dump(encodeLinkDump(), decodeLink);
    const uplink = links.find((link) => link.name === name);
    if (uplink === undefined) return null;
    const neighbours: readonly Neighbour[] = netlink.dump(encodeNeighbourDump(uplink.index), decodeNeighbour);
    const entry = neighbours.find(
      ({ interfaceIndex, address }) => interfaceIndex === uplink.index && address.equals(outer),
    );
    return entry ?? null;
  }
}
