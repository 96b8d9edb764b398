/** What another program makes of a kernel object of ours. */

import type { KernelObject } from "../../backends/state/kinds/registry.ts";
import { Address } from "../../ipam/addresses/ip.ts";
import { parseMac } from "../../ipam/addresses/mac.ts";

/** rtnetlink's RTPROT_BGP. */
export const FOREIGN_PROTOCOL = 186;

/** The object with another value, under its key; an address, which is all key, stays. */
export function changedObject(object: KernelObject): KernelObject {
  const mac = parseMac("02:ff:00:00:00:01");
  const address = Address.parse("192.168.99.99");
  switch (object.kind) {
    case "link":
      return { ...object, mtuBytes: 1280, isUp: false, mac: object.mac === null ? null : mac };
    case "route":
      if (object.isBlackhole) return { ...object, protocol: FOREIGN_PROTOCOL };
      return { ...object, gateway: address, viaNexthop: false };
    case "neighbour":
      return { ...object, mac };
    case "fdb":
      return { ...object, remote: address };
    case "bridge-fdb":
      return { ...object, device: "under0" };
    case "bridge-port":
      return { ...object, settings: { ...object.settings, hairpin: !object.settings.hairpin } };
    case "sysctl":
      return { ...object, value: "7" };
    case "nexthop":
      return { ...object, isOnlink: !object.isOnlink };
    case "wg-device":
      return { ...object, listenPort: 7 };
    case "wg-peer":
      return { ...object, keepaliveSeconds: 7, allowedPrefixes: [] };
    case "address":
      return object;
  }
}
