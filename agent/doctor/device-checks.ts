/** Checks of the tunnel device, its port and its MTU. Pure: the caller reads the kernel. */

import type { Link } from "../../backends/netlink/link/link.ts";
import type { Vxlan } from "../../backends/netlink/link/vxlan.ts";
import type { HostLink } from "../host/host-snapshot.ts";
import { bad, type Finding, ok } from "./finding.ts";

/** A line of /proc/net/udp or udp6 (proc_net(5)). */
export interface UdpSocket {
  readonly port: number;
  readonly inode: number;
}

/** What matters of a device. */
export interface TunnelLink extends Pick<Link, "name" | "type" | "mtuBytes" | "isUp"> {
  readonly vxlan?: Pick<Vxlan, "vni" | "port" | "local">;
}

export interface DeviceSituation {
  /** As the network's configuration names it. */
  readonly device: string;
  readonly vni: number;
  readonly port: number;
  readonly links: readonly TunnelLink[];
  /** The program that holds the port; null for none, and for the kernel's own sockets. */
  readonly portHolder: string | null;
  /** Null when none could be chosen. */
  readonly parent: HostLink | null;
  /** True when a daemon says that it is ready. */
  readonly isDaemonReady: boolean;
}

/** Outer IP header + UDP 8 + VXLAN 8 + inner Ethernet 14, in bytes. */
const OVERHEAD_BYTES = { 4: 50, 6: 70 } as const;

export function deviceFindings(situation: DeviceSituation): readonly Finding[] {
  const { device, links } = situation;
  const link = links.find(({ name }) => name === device);
  return [
    presence(situation, link),
    ...(link === undefined ? [] : [mtuFinding(situation, link)]),
    portFinding(situation),
  ];
}

/** The sockets in the text of /proc/net/udp. */
export function parseUdpTable(text: string): readonly UdpSocket[] {
  return [...text.matchAll(/^\s*\d+: [\dA-F]+:([\dA-F]{4}) (.*)$/gm)].map(([, port = "", rest = ""]) => ({
    port: Number.parseInt(port, 16),
    inode: Number(rest.split(/\s+/)[7] ?? 0),
  }));
}

function presence({ device, vni, isDaemonReady }: DeviceSituation, link: TunnelLink | undefined): Finding {
  if (link === undefined) {
    return isDaemonReady
      ? bad(
          "fail",
          "device",
          `${device} is missing although tulled is ready`,
          "tulled's log names what removes it",
        )
      : ok("device", `${device} does not exist yet; tulled creates it`);
  }
  if (link.vxlan?.vni !== vni) {
    const kind = link.vxlan === undefined ? `of type ${link.type || "physical"}` : `of VNI ${link.vxlan.vni}`;
    return bad(
      "fail",
      "device",
      `${device} belongs to another program, ${kind}`,
      "delete or rename it, or use another VNI",
    );
  }
  if (link.isUp) return ok("device", `${device} is up`);
  const remedy = isDaemonReady ? "tulled's log names what sets it down" : "start tulled, which brings it up";
  return bad("fail", "device", `${device} is down`, remedy);
}

function mtuFinding({ parent }: DeviceSituation, link: TunnelLink): Finding {
  if (parent === null) return ok("mtu", `${link.name} has ${link.mtuBytes}`);
  const overhead = OVERHEAD_BYTES[link.vxlan?.local?.family ?? 4];
  const fitting = parent.mtuBytes - overhead;
  if (link.mtuBytes <= fitting)
    return ok("mtu", `${link.name} has ${link.mtuBytes}, ${parent.name} ${parent.mtuBytes}`);
  return bad(
    "fail",
    "mtu",
    `${link.name} has ${link.mtuBytes}, but ${parent.name} with ${parent.mtuBytes} carries only ${fitting}`,
    "restart tulled, or set Backend.MTU of the network configuration to the smallest MTU of the path",
  );
}

/** VXLAN devices of different VNIs share a kernel socket; any other socket excludes them. */
function portFinding({ device, vni, port, links, portHolder }: DeviceSituation): Finding {
  if (portHolder !== null) {
    const remedy = "stop it, or set Backend.Port of the network configuration for all hosts";
    return bad("fail", "udp port", `${portHolder} holds ${port}`, remedy);
  }
  const other = links.find(({ name, vxlan }) => name !== device && isSameTunnel(vxlan, vni, port));
  if (other === undefined) return ok("udp port", `${port} is free for the tunnel`);
  return bad(
    "fail",
    "udp port",
    `${other.name} already has VNI ${vni} on port ${port}`,
    `delete it, or give this network another VNI`,
  );
}

function isSameTunnel(vxlan: TunnelLink["vxlan"], vni: number, port: number): boolean {
  return vxlan?.vni === vni && vxlan.port === port;
}
