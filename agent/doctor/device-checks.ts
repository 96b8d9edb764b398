/** Checks of the tunnel device, its port and its MTU. Pure: the caller reads the kernel. */

import type { DeviceExpectation } from "../../backends/backend.ts";
import type { LinkObject } from "../../backends/state/kinds/link.ts";
import type { HostLink } from "../host/host-snapshot.ts";
import { bad, type Finding, ok } from "./finding.ts";

/** A line of /proc/net/udp or udp6 (proc_net(5)). */
export interface UdpSocket {
  readonly port: number;
  readonly inode: number;
}

export interface DeviceSituation {
  /** What the network's backend wants of the device. */
  readonly expected: DeviceExpectation;
  readonly links: readonly LinkObject[];
  /** The program that holds the port; null for none, and for the kernel's own sockets. */
  readonly portHolder: string | null;
  /** Null when none could be chosen. */
  readonly parent: HostLink | null;
  /** True when a daemon says that it is ready. */
  readonly isDaemonReady: boolean;
}

export function deviceFindings(situation: DeviceSituation): readonly Finding[] {
  const { expected, links } = situation;
  const link = links.find(({ name }) => name === expected.device);
  return [
    presence(situation, link),
    ...(link === undefined ? [] : [mtuFinding(situation, link)]),
    ...(expected.port === null ? [] : [portFinding(situation, expected.port)]),
  ];
}

/** The sockets in the text of /proc/net/udp. */
export function parseUdpTable(text: string): readonly UdpSocket[] {
  return [...text.matchAll(/^\s*\d+: [\dA-F]+:([\dA-F]{4}) (.*)$/gm)].map(([, port = "", rest = ""]) => ({
    port: Number.parseInt(port, 16),
    inode: Number(rest.split(/\s+/)[7] ?? 0),
  }));
}

function presence({ expected, isDaemonReady }: DeviceSituation, link: LinkObject | undefined): Finding {
  const { device } = expected;
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
  const mismatch = expected.mismatch(link);
  if (mismatch !== null) {
    const remedy = "delete or rename it, or configure the network for another device";
    return bad("fail", "device", `${device} belongs to another program, ${mismatch}`, remedy);
  }
  if (link.isUp) return ok("device", `${device} is up`);
  const remedy = isDaemonReady ? "tulled's log names what sets it down" : "start tulled, which brings it up";
  return bad("fail", "device", `${device} is down`, remedy);
}

function mtuFinding({ expected, parent }: DeviceSituation, link: LinkObject): Finding {
  if (parent === null) return ok("mtu", `${link.name} has ${link.mtuBytes}`);
  const fitting = parent.mtuBytes - expected.overheadBytes;
  if (link.mtuBytes <= fitting)
    return ok("mtu", `${link.name} has ${link.mtuBytes}, ${parent.name} ${parent.mtuBytes}`);
  return bad(
    "fail",
    "mtu",
    `${link.name} has ${link.mtuBytes}, but ${parent.name} with ${parent.mtuBytes} carries only ${fitting}`,
    "restart tulled, or set Backend.MTU of the network configuration to the smallest MTU of the path",
  );
}

function portFinding({ expected, links, portHolder, isDaemonReady }: DeviceSituation, port: number): Finding {
  if (portHolder !== null && isDaemonReady && expected.receiver === "daemon")
    return ok("udp port", `${portHolder} receives on ${port}`);
  if (portHolder !== null) {
    const option = expected.portOption ?? "Port";
    const remedy = `stop it, or set Backend.${option} of the network configuration for all hosts`;
    return bad("fail", "udp port", `${portHolder} holds ${port}`, remedy);
  }
  for (const link of links) {
    const occupied = link.name === expected.device ? null : expected.occupied(link);
    if (occupied === null) continue;
    const remedy = "delete it, or configure this network with other values";
    return bad("fail", "udp port", `${link.name} already has ${occupied}`, remedy);
  }
  return ok("udp port", `${port} is free for the tunnel`);
}
