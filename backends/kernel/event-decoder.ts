/**
 * From rtnetlink notifications to kernel events, filtered by scope. No I/O of its own, but it keeps the device table
 * current. Echoes of our own changes have been left out where they do not matter.
 */

import { decodeBridgePortNotice, decodeLink, IFF_LOWER_UP, type Link } from "../netlink/link/link.ts";
import { type NetlinkMessage, NLM_F_APPEND } from "../netlink/message.ts";
import { decodeNetconf, NETCONFA_IFINDEX_ALL } from "../netlink/netconf.ts";
import { decodeNexthop } from "../netlink/nexthop.ts";
import {
  RTM_DELLINK,
  RTM_DELNEXTHOP,
  RTM_NEWLINK,
  RTM_NEWNETCONF,
  RTM_NEWNEXTHOP,
} from "../netlink/rtnetlink.ts";
import { type KernelNames, ROUTE_PROTOCOL, type Scope, type Wire } from "../state/contract/kind.ts";
import type { AddressObject } from "../state/kinds/address.ts";
import { bridgePortObject } from "../state/kinds/bridge-port.ts";
import { decodeLinkObject } from "../state/kinds/link.ts";
import { nexthopObject } from "../state/kinds/nexthop.ts";
import { isVisible, type KernelObject, KINDS, keyOf } from "../state/kinds/registry.ts";
import type { RouteObject } from "../state/kinds/route.ts";
import type { DeviceTable } from "./device-table.ts";
import type { KernelEvent } from "./port.ts";

/** The types of their notifications tell most apart; neighbours and forwarding entries share theirs. */
export const WIRES = Object.values(KINDS).flatMap(({ wire }): Wire<KernelObject>[] =>
  wire === null ? [] : [wire as unknown as Wire<KernelObject>],
);

export interface EventContext {
  /** Kept current. */
  readonly devices: DeviceTable;
  readonly names: KernelNames;
  readonly scope: () => Scope;
  /** True for the id of a nexthop that was ours when last seen. */
  readonly isOurNexthop: (id: number) => boolean;
  readonly readSysctl: (path: string) => KernelObject | null;
}

export class EventDecoder {
  readonly #context: EventContext;
  readonly #devices: DeviceTable;

  constructor(context: EventContext) {
    this.#context = context;
    this.#devices = context.devices;
  }

  /** What a notification means here; nothing for most. Throws CodecError. */
  decode(message: NetlinkMessage): readonly KernelEvent[] {
    switch (message.type) {
      case RTM_NEWLINK:
      case RTM_DELLINK: {
        const link = decodeLink(message);
        if (link === null) return this.#bridgePortNotice(message);
        return message.type === RTM_NEWLINK
          ? this.#newLink(link, message)
          : this.#deletedLink(link, message.portId);
      }
      case RTM_NEWNEXTHOP:
      case RTM_DELNEXTHOP:
        return this.#nexthop(message);
      case RTM_NEWNETCONF:
        return this.#settings(decodeNetconf(message));
      default:
        return this.#object(message);
    }
  }

  #newLink(link: Link, message: NetlinkMessage): KernelEvent[] {
    if (this.#devices.isOldNews(link)) return [];
    const scope = this.#context.scope();
    const before = this.#devices.set(link);
    const events: KernelEvent[] = [];
    const by = message.portId;
    if (before !== undefined && before.name !== link.name) {
      if (scope.devices.has(before.name)) events.push({ type: "device-gone", device: before.name, by });
      events.push({ type: "host", device: before.name });
    }
    if (scope.sharedDevices.has(link.name)) {
      events.push({ type: "host", device: link.name });
      if (before === undefined || isUsable(before) !== isUsable(link)) {
        // What stands on the parent can be made (again) from now on, or went down with it: nexthop objects, and their routes,
        // with the carrier already (net/ipv4/nexthop.c, nh_netdev_event).
        events.push({ type: "resync", reason: `interface ${link.name} changed` });
      }
    }
    events.push(...this.#membership(before, link, by));
    if (!scope.devices.has(link.name)) return events;
    events.push({ type: "present", object: decodeLinkObject(link, this.#context.names), by });
    // Going down, or without carrier, takes routes and nexthops along without a notification for each
    // (net/ipv4/fib_semantics.c).
    if (before === undefined || !isUsable(before) || !isUsable(link))
      events.push({ type: "resync", reason: `device ${link.name} changed` });
    return events;
  }

  /** What became of a device's membership in a bridge. */
  #membership(before: Link | undefined, now: Link | null, by: number): KernelEvent[] {
    const { names, scope } = this.#context;
    const present = now === null ? null : bridgePortObject(now, names);
    if (present !== null)
      return isVisible(present, scope()) ? [{ type: "present", object: present, by }] : [];
    const former = before === undefined ? null : bridgePortObject(before, names);
    return former === null ? [] : [{ type: "absent", key: keyOf(former), by }];
  }

  /** Settings of a port that `bridge link set` changed: no other notification tells of them. */
  #bridgePortNotice(message: NetlinkMessage): KernelEvent[] {
    const notice = decodeBridgePortNotice(message);
    const before = notice === null ? undefined : this.#devices.at(notice.index);
    if (notice === null || before === undefined) return [];
    const link = { ...before, bridgePort: notice.bridgePort };
    this.#devices.set(link);
    return this.#membership(before, link, message.portId);
  }

  #deletedLink(link: Link, by: number): readonly KernelEvent[] {
    const scope = this.#context.scope();
    const current = this.#devices.indexOf(link.name);
    const before = this.#devices.at(link.index);
    this.#devices.delete(link.index);
    // A stale notification: another device of this name exists already, perhaps ours.
    if (current !== null && current !== link.index) return [];
    return [...this.#membership(before, null, by), ...this.#gone(link, scope, by)];
  }

  #gone(link: Link, scope: Scope, by: number): KernelEvent[] {
    if (scope.devices.has(link.name)) return [{ type: "device-gone", device: link.name, by }];
    return scope.sharedDevices.has(link.name) ? [{ type: "host", device: link.name }] : [];
  }

  /** The kernel removes the routes of a deleted or changed nexthop silently: only a dump shows which. */
  #nexthop(message: NetlinkMessage): readonly KernelEvent[] {
    const nexthop = decodeNexthop(message);
    const object = nexthopObject(nexthop, this.#context.names);
    // A program that takes one of our ids may have made it a nexthop of another device.
    const isOurs =
      this.#context.isOurNexthop(nexthop.id) || this.#context.scope().devices.has(object?.device ?? "");
    return isOurs ? [{ type: "resync", reason: `nexthop ${nexthop.id} was made, changed or removed` }] : [];
  }

  /** The message does not say which setting it was; few are ours, so all of the device are read. */
  #settings(interfaceIndex: number | null): readonly KernelEvent[] {
    const { devices, sysctls } = this.#context.scope();
    const isOurs =
      interfaceIndex === NETCONFA_IFINDEX_ALL || devices.has(this.#devices.nameOf(interfaceIndex));
    if (!isOurs) return [];
    const folder = interfaceIndex === NETCONFA_IFINDEX_ALL ? "" : `/${this.#devices.nameOf(interfaceIndex)}/`;
    return [...sysctls].flatMap((path): KernelEvent[] => {
      if (!path.includes(folder)) return [];
      const object = this.#context.readSysctl(path);
      return object === null ? [] : [{ type: "present", object }];
    });
  }

  #object(message: NetlinkMessage): readonly KernelEvent[] {
    for (const { types, decode } of WIRES) {
      if (!types.includes(message.type)) continue;
      const object: KernelObject | null = decode(message, this.#context.names);
      if (object !== null) return this.#eventsOf(object, message.type === types[0], message);
    }
    return [];
  }

  #eventsOf(object: KernelObject, isPresent: boolean, message: NetlinkMessage): readonly KernelEvent[] {
    const scope = this.#context.scope();
    const isSeen = isVisible(object, scope);
    const events = this.#hostEvents(object, scope);
    // With its last address a device loses its IPv4 routes, silently (net/ipv4/devinet.c, fib_disable_ip): our own device,
    // and the parent, by which peers on its link are reached.
    if (!isPresent && object.kind === "address" && (isSeen || scope.sharedDevices.has(object.device)))
      events.push({ type: "resync", reason: `${object.device} lost an address` });
    if (!isSeen) return events;
    const by = message.portId;
    if (!isPresent) events.push({ type: "absent", key: keyOf(object), by });
    else if (object.kind === "route" && (message.flags & NLM_F_APPEND) !== 0) {
      // A route behind another one with the same key: only a dump shows which of them the kernel asks first.
      events.push({ type: "resync", reason: `there is more than one route to ${object.destination}` });
    } else events.push({ type: "present", object, by });
    return events;
  }

  /**
   * The choice of the interface that carries the tunnel depends on the host's addresses and default routes; which peers
   * this host can use depends on its other routes into the network. Whose device it is, each subscriber knows.
   */
  #hostEvents(object: KernelObject, scope: Scope): KernelEvent[] {
    const concernsHost =
      (object.kind === "address" && isHostAddress(object, scope)) ||
      (object.kind === "route" && isHostRoute(object, scope));
    return concernsHost ? [{ type: "host", device: object.device }] : [];
  }
}

/** Whether nexthop objects can be on the device. */
function isUsable({ isUp, flags }: Link): boolean {
  return isUp && (flags & IFF_LOWER_UP) !== 0;
}

function isHostRoute({ destination, protocol }: RouteObject, scope: Scope): boolean {
  if (destination.length === 0) return true;
  return protocol !== ROUTE_PROTOCOL && scope.networks.some((network) => network.overlaps(destination));
}

/** Every container brings a veth with a link-local address of IPv6, which never carries a tunnel. */
function isHostAddress({ device, address: { address } }: AddressObject, scope: Scope): boolean {
  const isOfAnyLink = address.family === 6 && address.isLinkLocal;
  return scope.sharedDevices.has(device) || !isOfAnyLink;
}
