/** What the kernel of a host holds for one tunnel device, as the administrator's own tools tell it. */

import type { TestNetns } from "./netns.ts";

/**
 * Device, addresses, routes, neighbours and forwarding entries as text: two views are equal when nothing that
 * matters differs. Interface indexes and statistics are left out.
 */
export function dataPathOf(netns: TestNetns, device = "flannel.1"): string {
  const sections = [
    ["link", netns.exec("ip", ["-d", "link", "show", "dev", device])],
    ["address", netns.exec("ip", ["-o", "-4", "address", "show", "dev", device])],
    ["route", netns.exec("ip", ["route", "show", "dev", device])],
    // What the kernel itself has looked for in vain, as behind a wrong route, it forgets in its own time.
    [
      "neighbour",
      netns.exec("ip", ["neighbour", "show", "dev", device]).replace(/^.* (?:FAILED|INCOMPLETE)\s*$/gm, ""),
    ],
    ["fdb", netns.exec("bridge", ["fdb", "show", "dev", device])],
  ];
  return sections.map(([title, text = ""]) => `${title}\n${normalise(text)}`).join("\n");
}

/** What decides about packets in a namespace, for the message of a test that lost some. */
export function everythingOf(netns: TestNetns): string {
  const script = `ip -s -d link; ip address; ip rule; ip route show table all; ip neighbour; bridge fdb; bridge -d link
    grep . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/conf/*/rp_filter
    nft list ruleset; cat /proc/net/snmp; ss -anu`;
  return `--- ${netns.name}\n${netns.exec("sh", ["-c", `{ ${script}\n} 2>&1 || true`])}`;
}

/** Sorted lines without interface indexes. */
function normalise(text: string): string {
  const lines = text.split("\n").map((line) => line.replace(/^\d+: /, "").trim());
  return lines
    .filter(Boolean)
    .sort()
    .map((line) => `  ${line}`)
    .join("\n");
}
