/** What the kernel must support, and permit. Changes nothing. */

import { CommandRunner } from "../../backends/firewall/command.ts";
import { chooseEngine, type FirewallChoice, installedEngines } from "../../backends/firewall/select.ts";
import { Sysctls } from "../../backends/kernel/sysctl.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { EOPNOTSUPP, EPERM, NetlinkError } from "../../backends/netlink/errors.ts";
import { encodeNewLink } from "../../backends/netlink/link/link.ts";
import { decodeNexthop, encodeNexthopDump } from "../../backends/netlink/nexthop.ts";
import { mayAdministerNetwork } from "../host/privilege.ts";
import { bad, type Finding, failed, ok } from "./finding.ts";

/** One more than the largest: the kernel looks up the type of device first, and then rejects this. */
const IMPOSSIBLE_VNI = 2 ** 24;

/** Everything about the kernel itself. */
export function kernelFindings(connection: NetlinkConnection): readonly Finding[] {
  const sysctls = new Sysctls();
  return [
    privilegeFinding(),
    vxlanFinding(connection),
    nexthopFinding(connection),
    ...sysctlFindings(sysctls),
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

/** Requests a device that cannot exist: the error shows whether the kernel has VXLAN. */
function vxlanFinding(connection: NetlinkConnection): Finding {
  try {
    connection.request(encodeNewLink({ name: "tulle-doctor", info: { kind: "vxlan", vni: IMPOSSIBLE_VNI } }));
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    if (error.errno === EPERM)
      return bad("warn", "vxlan", "cannot be checked without CAP_NET_ADMIN", "run this as root");
    if (error.errno === EOPNOTSUPP) {
      return bad(
        "fail",
        "vxlan",
        "the kernel has no VXLAN",
        'load it ("modprobe vxlan") or install the kernel\'s extra modules',
      );
    }
  }
  return ok("vxlan", "the kernel supports VXLAN devices");
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

function sysctlFindings(sysctls: Sysctls): readonly Finding[] {
  const bridge = sysctls.read("net/bridge/bridge-nf-call-iptables");
  const forwarding = sysctls.read("net/ipv4/ip_forward");
  return [
    bridge === null
      ? bad(
          "warn",
          "br_netfilter",
          "not loaded: firewall rules do not see bridged packets",
          "modprobe br_netfilter, if Kubernetes or Docker need it",
        )
      : ok("br_netfilter", `loaded, bridge-nf-call-iptables is ${bridge}`),
    forwarding === "1"
      ? ok("forwarding", "net.ipv4.ip_forward is 1")
      : bad(
          "warn",
          "forwarding",
          "net.ipv4.ip_forward is 0: containers reach no other host",
          "start tulled with --ip-forward, or sysctl -w net.ipv4.ip_forward=1; Docker sets it itself",
        ),
  ];
}
