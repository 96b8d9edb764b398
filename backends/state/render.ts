/** One line of text per kernel object, in iproute2's words: for logs, `--dry-run` and the snapshots of tests. Pure. */

import type { KernelObject, LinkObject, RouteObject } from "./objects.ts";

/** How `ip`, `bridge` or `sysctl` would name the object. */
export function describe(object: KernelObject): string {
  switch (object.kind) {
    case "link":
      return describeLink(object);
    case "address":
      return `address ${object.address.address}/${object.address.length} dev ${object.device}`;
    case "route":
      return describeRoute(object);
    case "nexthop":
      return `nexthop via ${object.gateway} dev ${object.device}${object.isOnlink ? " onlink" : ""} proto ${object.protocol}`;
    case "neighbour":
      return `neigh ${object.address} lladdr ${object.mac ?? "?"} dev ${object.device}${permanence(object)}`;
    case "fdb":
      return `fdb ${object.mac} dev ${object.device} dst ${object.remote}${permanence(object)}${object.isDetour ? " (by another port, VNI or interface)" : ""}`;
    case "sysctl":
      return `sysctl ${object.path}=${object.value}`;
  }
}

/** The whole state as sorted lines. */
export function renderState(objects: Iterable<KernelObject>): string {
  return [...objects].map(describe).sort().join("\n");
}

function permanence(object: { readonly isPermanent: boolean }): string {
  return object.isPermanent ? " permanent" : " not-permanent";
}

function describeLink(link: LinkObject): string {
  const parts = [
    `link ${link.name}`,
    `type ${link.type || "physical"}`,
    `mtu ${link.mtuBytes}`,
    link.isUp ? "up" : "down",
  ];
  if (link.mac !== null) parts.push(`address ${link.mac}`);
  if (link.vxlan) {
    const { vni, local, parent, port, learning, gbp } = link.vxlan;
    parts.push(
      `vxlan id ${vni} local ${local ?? "any"} dev ${parent} dstport ${port}`,
      learning ? "learning" : "nolearning",
    );
    if (gbp) parts.push("gbp");
  }
  if (link.extras !== undefined) parts.push(`with ${link.extras.join(", ")}`);
  return parts.join(" ");
}

function describeRoute(route: RouteObject): string {
  const parts = [`route ${route.isBlackhole ? "blackhole " : ""}${route.destination}`];
  if (route.gateway !== null) parts.push(`via ${route.gateway}`);
  if (route.device !== "") parts.push(`dev ${route.device}`);
  parts.push(`proto ${route.protocol}`);
  if (route.metric !== 0) parts.push(`metric ${route.metric}`);
  if (route.source !== null) parts.push(`src ${route.source}`);
  if (route.isOnlink) parts.push("onlink");
  if (route.hasExtras) parts.push("(with metrics, paths or an encapsulation)");
  if (route.viaNexthop) parts.push("(nexthop object)");
  return parts.join(" ");
}
