/** What the kernel must support, and permit. Changes nothing. */

import { existsSync } from "node:fs";
import type { FileNeed, KernelNeed } from "../../backends/backend.ts";
import { CommandRunner } from "../../backends/firewall/command.ts";
import { chooseEngine, type FirewallChoice, installedEngines } from "../../backends/firewall/select.ts";
import { Sysctls } from "../../backends/kernel/sysctl.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { EOPNOTSUPP, EPERM, NetlinkError } from "../../backends/netlink/errors.ts";
import { decodeNexthop, encodeNexthopDump } from "../../backends/netlink/nexthop.ts";
import type { Family } from "../../ipam/addresses/ip.ts";
import { mayAdministerNetwork } from "../host/privilege.ts";
import { bad, type Finding, failed, ok } from "./finding.ts";
import type { KnownNetwork } from "./known-network.ts";

/** Everything about the kernel itself, and what the network's backend needs of it. */
export function kernelFindings(
  connection: NetlinkConnection,
  { needs, isNetworkKnown, families }: KnownNetwork,
): readonly Finding[] {
  const sysctls = new Sysctls();
  const found = needs.map((need) => ("file" in need ? fileFinding(need) : needFinding(connection, need)));
  return [
    privilegeFinding(),
    ...(isNetworkKnown ? found : found.map(asPossibleNeed)),
    nexthopFinding(connection),
    ...sysctlFindings(sysctls, families),
  ];
}

/** Whether the engine that tulled would choose is installed. */
export async function firewallFinding(choice: FirewallChoice, prefersNft: boolean): Promise<Finding> {
  if (choice === "none") return ok("firewall", "none, as configured");
  try {
    const engine = chooseEngine(choice, prefersNft, await installedEngines(new CommandRunner()));
    return ok("firewall", `rules go to ${engine}`);
  } catch (error) {
    return failed("firewall", error);
  }
}

function privilegeFinding(): Finding {
  if (mayAdministerNetwork()) return ok("privilege", "CAP_NET_ADMIN is present");
  return bad("fail", "privilege", "CAP_NET_ADMIN is missing", "run this, and tulled, as root");
}

/** A network has one backend, and needs nothing of the others. */
function asPossibleNeed(finding: Finding): Finding {
  if (finding.verdict !== "fail") return finding;
  const message = `${finding.message}; whether the network needs that is not known`;
  return { ...finding, verdict: "warn", message };
}

function fileFinding({ subject, feature, file, remedy }: FileNeed): Finding {
  if (existsSync(file)) return ok(subject, `${file} exists`);
  return bad("fail", subject, `${feature} need ${file}, which is missing`, remedy);
}

/** Sends a request that changes nothing: the error shows whether the kernel has the feature. */
function needFinding(
  connection: NetlinkConnection,
  { subject, feature, probe, remedy }: KernelNeed,
): Finding {
  try {
    connection.request(probe());
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    if (error.errno === EPERM)
      return bad("warn", subject, "cannot be checked without CAP_NET_ADMIN", "run this as root");
    if (error.errno === EOPNOTSUPP) return bad("fail", subject, `the kernel has no ${feature}`, remedy);
  }
  return ok(subject, `the kernel supports ${feature}`);
}

function nexthopFinding(connection: NetlinkConnection): Finding {
  try {
    connection.dump(encodeNexthopDump(), decodeNexthop);
    return ok("nexthops", "the kernel has nexthop objects");
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    return bad(
      "warn",
      "nexthops",
      "the kernel has no nexthop objects",
      "use Linux 5.3 or newer for thousands of hosts",
    );
  }
}

function sysctlFindings(sysctls: Sysctls, families: readonly Family[]): readonly Finding[] {
  const bridge = sysctls.read("net/bridge/bridge-nf-call-iptables");
  return [
    bridge === null
      ? bad(
          "warn",
          "br_netfilter",
          "not loaded: firewall rules do not see bridged packets",
          "modprobe br_netfilter, if Kubernetes or Docker need it",
        )
      : ok("br_netfilter", `loaded, bridge-nf-call-iptables is ${bridge}`),
    ...families.map((family) => forwardingFinding(sysctls, FORWARDING[family])),
  ];
}

/** For IPv6 the setting of one device does not make a router of the host (net/ipv6/ip6_output.c, ip6_forward). */
const FORWARDING: Readonly<Record<Family, string>> = {
  4: "net/ipv4/ip_forward",
  6: "net/ipv6/conf/all/forwarding",
};

function forwardingFinding(sysctls: Sysctls, path: string): Finding {
  const name = path.replaceAll("/", ".");
  const value = sysctls.read(path);
  if (value === "1") return ok("forwarding", `${name} is 1`);
  return bad(
    "warn",
    "forwarding",
    `${name} is ${value ?? "absent"}: containers reach no other host`,
    `start tulled with --ip-forward, or sysctl -w ${name}=1; Docker and CNI plugins set it themselves`,
  );
}
