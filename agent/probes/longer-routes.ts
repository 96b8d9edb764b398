/**
 * Looks for foreign routes that take a part of a peer's subnet elsewhere: probes go to one address of the subnet and do not
 * notice them. Reads only.
 */

import type { Decode, NetlinkConnection } from "../../backends/netlink/connection.ts";
import { decodeLink, encodeLinkDump, type Link } from "../../backends/netlink/link/link.ts";
import { decodeRoute, encodeRouteDump, type Route } from "../../backends/netlink/route.ts";
import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import { entriesShared, FAMILIES, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import { type Clock, pause } from "../../ipam/clock.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import type { Logger } from "../../ipam/log.ts";
import { longerRoutes } from "../routing/route-judgement.ts";
import { causeOf } from "./causes.ts";
import type { PathCause } from "./path-cause.ts";
import type { ProbedBackend } from "./targets.ts";

const LEAST_INTERVAL_MS = 5_000;
/** One look takes about this part of the time. */
const SLEEP_FACTOR = 2_000;
const LONGEST_INTERVAL_MS = 30_000;

export interface LongerRoutesOptions {
  readonly clock: Clock;
  readonly faults: Faults;
  readonly logger: Logger;
  readonly netlink: NetlinkConnection;
  /** Such a route has come or gone. */
  readonly onChange: () => void;
  readonly network: () => {
    readonly backend: Pick<ProbedBackend, "devices" | "pathTo">;
    readonly peers: ReadonlyMap<LeaseKey, Lease>;
    readonly interfaces: readonly string[];
    /** This host's own. */
    readonly subnets: PerFamily<Prefix>;
  };
}

/** Of what may be thousands of routes, ours are not decoded. */
const decodeForeign: Decode<Route> = (message) =>
  message.u8(PROTOCOL_OFFSET) === ROUTE_PROTOCOL ? null : decodeRoute(message);

/** linux/rtnetlink.h: rtm_protocol in `struct rtmsg`. */
const PROTOCOL_OFFSET = 5;

export class LongerRoutes {
  readonly #options: LongerRoutesOptions;
  #found: ReadonlyMap<LeaseKey, PathCause> = new Map();

  constructor(options: LongerRoutesOptions) {
    this.#options = options;
  }

  /** Null where no such route was found at the last look. */
  causeOf(peer: LeaseKey): PathCause | null {
    return this.#found.get(peer) ?? null;
  }

  /** Looks at a small part of a processor's time, however many routes there are, until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, faults } = this.#options;
    let intervalMs = LEAST_INTERVAL_MS;
    const look = guarded(faults, "looking for foreign routes", () => {
      const startMs = clock.monotonicMs();
      this.#look(startMs);
      const restMs = (clock.monotonicMs() - startMs) * SLEEP_FACTOR;
      intervalMs = Math.max(LEAST_INTERVAL_MS, Math.min(restMs, LONGEST_INTERVAL_MS));
    });
    while (!signal.aborted) {
      look();
      await pause(clock, intervalMs, signal);
    }
    this.#found = new Map();
  }

  #look(nowMs: number): void {
    const { netlink } = this.#options;
    const links: readonly Link[] = netlink.dump(encodeLinkDump(), decodeLink);
    const names = new Map(links.map(({ index, name }) => [index, name]));
    const routes = FAMILIES.flatMap((family) => netlink.dump(encodeRouteDump(family), decodeForeign)).map(
      (route) => ({ route, device: names.get(route.outputIndex ?? -1) ?? "" }),
    );
    const before = this.#found;
    const found = new Map<LeaseKey, PathCause>();
    for (const { owner, subnet, text } of longerRoutes(this.#subnets(), routes)) {
      const cause = causeOf(
        "path-diverted",
        `is reached in part: a part of ${subnet} takes the longer foreign route ${text}`,
      );
      const { key, isOfOneFamily } = owner;
      const former = found.get(key);
      const isWhole = isOfOneFamily || (former !== undefined && former.family !== subnet.family);
      const sinceMs = before.get(key)?.sinceMs ?? nowMs;
      found.set(key, { ...cause, sinceMs, family: isWhole ? null : subnet.family, isPartial: true });
    }
    this.#found = found;
    this.#report(before);
    if (!isSame(before, found)) this.#options.onChange();
  }

  #subnets() {
    const { backend, peers, interfaces, subnets: own } = this.#options.network();
    return [...peers.values()].flatMap((lease) => {
      const path = backend.pathTo(lease);
      // Other programs make these routes, as they like.
      if (path === "external") return [];
      const expected = path === "tunnel" ? backend.devices : [...backend.devices, ...interfaces];
      const subnets = entriesShared(lease.subnets, own);
      const owner = { key: lease.key, isOfOneFamily: subnets.length === 1 };
      const routers = path === "direct" ? Object.values(lease.attrs.publicAddress) : null;
      return subnets.map(([, subnet]) => ({ subnet, owner, expected, routers }));
    });
  }

  #report(before: ReadonlyMap<LeaseKey, PathCause>): void {
    const { logger } = this.#options;
    for (const [peer, { code, text, remedy }] of this.#found) {
      if (!before.has(peer))
        logger.warn("the path to a peer is broken", { peer, cause: code, seen: text, remedy });
    }
    for (const peer of before.keys()) {
      if (!this.#found.has(peer)) logger.info("the path to a peer works", { peer });
    }
  }
}

function isSame(before: ReadonlyMap<LeaseKey, PathCause>, now: ReadonlyMap<LeaseKey, PathCause>): boolean {
  return before.size === now.size && [...now].every(([peer, { text }]) => before.get(peer)?.text === text);
}
