/**
 * From rtnetlink notifications to kernel events, filtered by scope. No I/O, but it keeps the device table current.
 */

import { decodeAddress } from "../netlink/address.ts";
import { decodeLink, type Link } from "../netlink/link.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { decodeFdb, decodeNeighbour } from "../netlink/neighbour.ts";
import { decodeNexthop } from "../netlink/nexthop.ts";
import { decodeRoute } from "../netlink/route.ts";
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

export class EventDecoder {
  readonly #devices: DeviceTable;
  readonly #scope: () => Scope;
  /** True for a notification that echoes a change of ours. */
  readonly #isEcho: (portId: number) => boolean;

  constructor(devices: DeviceTable, scope: () => Scope, isEcho: (portId: number) => boolean) {
    this.#devices = devices;
    this.#scope = scope;
    this.#isEcho = isEcho;
  }

  /** What a notification means here; nothing for most. Throws CodecError. */
  decode(message: NetlinkMessage): readonly KernelEvent[] {
    switch (message.type) {
      case RTM_NEWLINK:
      case RTM_DELLINK: {
        const link = decodeLink(message);
        if (link === null) return [];
        return message.type === RTM_NEWLINK ? this.#newLink(link) : this.#deletedLink(link);
      }
      case RTM_NEWNEXTHOP:
      case RTM_DELNEXTHOP:
        return this.#nexthop(message);
      case RTM_NEWADDR:
      case RTM_DELADDR:
        return this.#address(message);
      case RTM_NEWROUTE:
      case RTM_DELROUTE: {
        if (this.#isEcho(message.portId)) return [];
        const route = decodeRoute(message);
        return this.#object(route && routeObject(route, this.#devices), message.type === RTM_NEWROUTE);
      }
      case RTM_NEWNEIGH:
      case RTM_DELNEIGH:
        return this.#isEcho(message.portId) ? [] : this.#neighbour(message);
      default:
        return [];
    }
  }

  #newLink(link: Link): KernelEvent[] {
    const scope = this.#scope();
    const before = this.#devices.set(link);
    const events: KernelEvent[] = [];
    if (before !== undefined && before.name !== link.name && scope.devices.has(before.name)) {
      events.push({ type: "device-gone", device: before.name });
    }
    if (scope.sharedDevices.has(link.name)) {
      events.push({ type: "host", device: link.name });
      if (before === undefined || before.isUp !== link.isUp) {
        // What stands on the parent can be made (again) from now on, or went down with it.
        events.push({ type: "resync", reason: `interface ${link.name} changed` });
      }
    }
    if (!scope.devices.has(link.name)) return events;
    events.push({ type: "present", object: linkObject(link, this.#devices) });
    // Going down takes routes and nexthops along without a word about each (net/ipv4/fib_semantics.c).
    if (!link.isUp || before === undefined)
      events.push({ type: "resync", reason: `device ${link.name} changed` });
    return events;
  }

  #deletedLink(link: Link): KernelEvent[] {
    const scope = this.#scope();
    this.#devices.delete(link.index);
    if (scope.devices.has(link.name)) return [{ type: "device-gone", device: link.name }];
    return scope.sharedDevices.has(link.name) ? [{ type: "host", device: link.name }] : [];
  }

  #address(message: NetlinkMessage): readonly KernelEvent[] {
    const address = decodeAddress(message);
    if (address === null) return [];
    const object = addressObject(address, this.#devices);
    if (this.#scope().sharedDevices.has(object.device)) return [{ type: "host", device: object.device }];
    if (message.type === RTM_NEWADDR || !this.#scope().devices.has(object.device)) {
      return this.#object(object, message.type === RTM_NEWADDR);
    }
    // With its last address a device loses its IPv4 routes, silently (net/ipv4/devinet.c, fib_disable_ip).
    return [
      { type: "absent", key: keyOf(object) },
      { type: "resync", reason: `${object.device} lost an address` },
    ];
  }

  /** The kernel removes the routes of a deleted or changed nexthop silently: only a dump shows which. */
  #nexthop(message: NetlinkMessage): readonly KernelEvent[] {
    if (this.#isEcho(message.portId)) return [];
    const object = nexthopObject(decodeNexthop(message), this.#devices);
    if (object === null || !this.#scope().devices.has(object.device)) return [];
    return [{ type: "resync", reason: `nexthop ${object.gateway} was changed or removed` }];
  }

  #neighbour(message: NetlinkMessage): readonly KernelEvent[] {
    const isNew = message.type === RTM_NEWNEIGH;
    if (message.u8(0) === AF_BRIDGE) {
      const entry = decodeFdb(message);
      return this.#object(entry && fdbObject(entry, this.#devices), isNew);
    }
    const neighbour = decodeNeighbour(message);
    return this.#object(neighbour && neighbourObject(neighbour, this.#devices), isNew);
  }

  #object(object: KernelObject | null, isPresent: boolean): readonly KernelEvent[] {
    if (object === null || !isVisible(object, this.#scope())) return [];
    return [isPresent ? { type: "present", object } : { type: "absent", key: keyOf(object) }];
  }
}
