/**
 * From rtnetlink notifications to kernel events, filtered by scope. No I/O of its own, but it keeps the device table
 * current. Echoes of our own changes have been left out where they do not matter.
 */

import { decodeAddress } from "../netlink/address.ts";
import { decodeLink, type Link } from "../netlink/link.ts";
import { type NetlinkMessage, NLM_F_APPEND } from "../netlink/message.ts";
import { decodeFdb, decodeNeighbour } from "../netlink/neighbour.ts";
import { decodeNetconf, NETCONFA_IFINDEX_ALL } from "../netlink/netconf.ts";
import { decodeNexthop } from "../netlink/nexthop.ts";
import { decodeRoute, type Route, RT_TABLE_MAIN } from "../netlink/route.ts";
import {
  AF_BRIDGE,
  RTM_DELADDR,
  RTM_DELLINK,
  RTM_DELNEIGH,
  RTM_DELNEXTHOP,
  RTM_DELROUTE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  RTM_NEWNETCONF,
  RTM_NEWNEXTHOP,
  RTM_NEWROUTE,
} from "../netlink/rtnetlink.ts";
import { type KernelObject, keyOf } from "../state/objects.ts";
import { isVisible, type Scope } from "../state/ownership.ts";
import type { DeviceTable } from "./device-table.ts";
import {
  addressObject,
  fdbObject,
  linkObject,
  neighbourObject,
  nexthopObject,
  routeObject,
} from "./observe.ts";
import type { KernelEvent } from "./port.ts";

export interface EventContext {
  /** Kept current. */
  readonly devices: DeviceTable;
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
        if (link === null) return [];
        return message.type === RTM_NEWLINK
          ? this.#newLink(link, message)
          : this.#deletedLink(link, message.portId);
      }
      case RTM_NEWNEXTHOP:
      case RTM_DELNEXTHOP:
        return this.#nexthop(message);
      case RTM_NEWADDR:
      case RTM_DELADDR:
        return this.#address(message);
      case RTM_NEWROUTE:
      case RTM_DELROUTE: {
        const route = decodeRoute(message);
        if (route === null) return [];
        const object = routeObject(route, this.#devices);
        return [...this.#hostRoute(route), ...this.#object(object, message.type === RTM_NEWROUTE, message)];
      }
      case RTM_NEWNEIGH:
      case RTM_DELNEIGH:
        return this.#neighbour(message);
      case RTM_NEWNETCONF:
        return this.#settings(decodeNetconf(message));
      default:
        return [];
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
      if (before === undefined || before.isUp !== link.isUp) {
        // What stands on the parent can be made (again) from now on, or went down with it.
        events.push({ type: "resync", reason: `interface ${link.name} changed` });
      }
    }
    if (!scope.devices.has(link.name)) return events;
    events.push({ type: "present", object: linkObject(link, this.#devices), by });
    // Going down takes routes and nexthops along without a word about each (net/ipv4/fib_semantics.c).
    if (!link.isUp || before === undefined)
      events.push({ type: "resync", reason: `device ${link.name} changed` });
    return events;
  }

  #deletedLink(link: Link, by: number): KernelEvent[] {
    const scope = this.#context.scope();
    const current = this.#devices.indexOf(link.name);
    this.#devices.delete(link.index);
    // Old news: there is another device of this name already, made by ourselves perhaps.
    if (current !== null && current !== link.index) return [];
    if (scope.devices.has(link.name)) return [{ type: "device-gone", device: link.name, by }];
    return scope.sharedDevices.has(link.name) ? [{ type: "host", device: link.name }] : [];
  }

  #address(message: NetlinkMessage): readonly KernelEvent[] {
    const address = decodeAddress(message);
    if (address === null) return [];
    const object = addressObject(address, this.#devices);
    const scope = this.#context.scope();
    if (!scope.devices.has(object.device)) {
      // Every container brings a veth with a link-local address, which never carries a tunnel.
      const concernsHost = scope.sharedDevices.has(object.device) || !address.address.isLinkLocal;
      return concernsHost ? [{ type: "host", device: object.device }] : [];
    }
    if (message.type === RTM_NEWADDR) return this.#object(object, true, message);
    // With its last address a device loses its IPv4 routes, silently (net/ipv4/devinet.c, fib_disable_ip).
    return [
      { type: "absent", key: keyOf(object), by: message.portId },
      { type: "resync", reason: `${object.device} lost an address` },
    ];
  }

  /** The choice of the interface that carries the tunnel depends on the default routes. */
  #hostRoute({ destination, table, outputIndex }: Route): readonly KernelEvent[] {
    if (destination.length > 0 || table !== RT_TABLE_MAIN) return [];
    return [{ type: "host", device: this.#devices.nameOf(outputIndex) }];
  }

  /** The kernel removes the routes of a deleted or changed nexthop silently: only a dump shows which. */
  #nexthop(message: NetlinkMessage): readonly KernelEvent[] {
    const nexthop = decodeNexthop(message);
    const object = nexthopObject(nexthop, this.#devices);
    // Whoever takes one of our ids may have turned it into something that is nowhere near our device.
    const isOurs =
      this.#context.isOurNexthop(nexthop.id) || this.#context.scope().devices.has(object?.device ?? "");
    return isOurs ? [{ type: "resync", reason: `nexthop ${nexthop.id} was made, changed or removed` }] : [];
  }

  #neighbour(message: NetlinkMessage): readonly KernelEvent[] {
    const isNew = message.type === RTM_NEWNEIGH;
    if (message.u8(0) === AF_BRIDGE) {
      const entry = decodeFdb(message);
      return this.#object(entry && fdbObject(entry, this.#devices), isNew, message);
    }
    const neighbour = decodeNeighbour(message);
    return this.#object(neighbour && neighbourObject(neighbour, this.#devices), isNew, message);
  }

  /** The message does not say which setting it was; few are ours, so all of them are read. */
  #settings(interfaceIndex: number | null): readonly KernelEvent[] {
    const { devices, sysctls } = this.#context.scope();
    const isOurs =
      interfaceIndex === NETCONFA_IFINDEX_ALL || devices.has(this.#devices.nameOf(interfaceIndex));
    if (!isOurs) return [];
    return [...sysctls].flatMap((path): KernelEvent[] => {
      const object = this.#context.readSysctl(path);
      return object === null ? [] : [{ type: "present", object }];
    });
  }

  #object(
    object: KernelObject | null,
    isPresent: boolean,
    { portId: by, flags }: NetlinkMessage,
  ): readonly KernelEvent[] {
    if (object === null || !isVisible(object, this.#context.scope())) return [];
    if (!isPresent) return [{ type: "absent", key: keyOf(object), by }];
    // A route behind another one with the same key: only a dump shows which of them the kernel asks first.
    if (object.kind === "route" && (flags & NLM_F_APPEND) !== 0) {
      return [{ type: "resync", reason: `there is more than one route to ${object.destination}` }];
    }
    return [{ type: "present", object, by }];
  }
}
