/** Published UDP ports of the built netavark plugin, with a client that never stops sending. */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { forgetStaleFlows } from "../../../backends/attachment/rules/stale-flows.ts";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import { decodeConnection, encodeConnectionDump, IPPROTO_UDP } from "../../../backends/netlink/conntrack.ts";
import { NetnsHandle, withNetns } from "../../../backends/netlink/netns.ts";
import { NETLINK_NETFILTER } from "../../../backends/netlink/socket.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { type CniContainer, CniHost, SUBNET_ENV } from "../../support/cni-host.ts";
import { callNetavark } from "../../support/netavark.ts";
import { describeAsRoot, type TestNetns } from "../../support/netns.ts";

const PORT = { container_port: 53, host_ip: "", host_port: 5300, protocol: "udp", range: 1 };
const GATEWAYS = [
  ["IPv4", "10.5.72.1"],
  ["IPv6", "fd00:5:0:72::1"],
] as const;

/** Answers on two ports with the name that it is given. */
const SERVER = `
  for (const [port, text] of [[53, process.argv[1]], [54, process.argv[1] + " by 54"]]) {
    const socket = require("node:dgram").createSocket("udp6");
    socket.on("message", (_, { address, port }) => socket.send(text, port, address)).bind(port);
  }
`;
/** Sends from one port, as a resolver or a phone does, and prints a line per datagram and per answer. */
const CLIENT = `
  const socket = require("node:dgram").createSocket("udp6");
  const to = process.argv[1].includes(":") ? process.argv[1] : "::ffff:" + process.argv[1];
  socket.on("message", (answer) => console.log(String(answer))).bind(4000);
  setInterval(() => { console.log("sent"); socket.send("?", 5300, to); }, 50);
`;

describeAsRoot("a UDP port that tulle-netavark publishes", () => {
  let host: CniHost;
  const children: ChildProcess[] = [];
  beforeEach(() => {
    host = new CniHost("udp");
    host.writeSubnetEnv([...SUBNET_ENV.v4, ...SUBNET_ENV.v6, ...SUBNET_ENV.rest]);
    // Without a rule that asks for the state of connections the kernel tracks none.
    host.netns.exec("nft", ["add table inet others"]);
    host.netns.exec("nft", ["add chain inet others input { type filter hook input priority 0; }"]);
    host.netns.exec("nft", ["add rule inet others input ct state new accept"]);
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
    host.dispose();
  });

  const call = (verb: string, container: CniContainer, ports: readonly object[] = [], options = {}) =>
    expect(callNetavark(host, verb, { container, ports: ports as never, options })).toMatchObject({
      exitCode: 0,
    });
  /** Runs a script in a namespace and returns what it prints, as it grows. */
  const run = ({ path }: TestNetns, script: string, argument: string): string[] => {
    const child = spawn("nsenter", [`--net=${path}`, process.execPath, "-e", script, argument]);
    children.push(child);
    const lines: string[] = [];
    child.stdout.on("data", (chunk) => lines.push(...String(chunk).trim().split("\n")));
    return lines;
  };
  const serve = (name: string, containerPort = 53): CniContainer => {
    const container = host.addContainer();
    run(container.netns, SERVER, name);
    const ports = [{ ...PORT, container_port: containerPort }];
    call("setup", container, ports, { static_ips: ["10.5.72.9", "fd00:5:0:72::9"] });
    return container;
  };

  describe.each(GATEWAYS)("by %s", (_, gateway) => {
    it("leads to its container although the client sent before, and to the next one of that port", async () => {
      const client = host.addContainer();
      call("setup", client);
      const lines = run(client.netns, CLIENT, gateway);
      await expect.poll(() => lines.length, { timeout: 10_000 }).toBeGreaterThan(3);
      const first = serve("first");
      await expect.poll(() => lines.includes("first"), { timeout: 5_000 }).toBe(true);
      call("teardown", first, [PORT]);
      const other = host.addContainer();
      run(other.netns, SERVER, "second");
      call("setup", other, [PORT]);
      await expect.poll(() => lines.includes("second"), { timeout: 5_000 }).toBe(true);
    });

    it("leads to another port of a container with the same address", async () => {
      const client = host.addContainer();
      call("setup", client);
      const lines = run(client.netns, CLIENT, gateway);
      const first = serve("first");
      await expect.poll(() => lines.includes("first"), { timeout: 10_000 }).toBe(true);
      call("teardown", first, [PORT]);
      serve("second", 54);
      await expect.poll(() => lines.includes("second by 54"), { timeout: 5_000 }).toBe(true);
    });
  });

  describe("ends no other flow", () => {
    const SEND = `
      const socket = require("node:dgram").createSocket("udp4");
      for (const target of process.argv[1].split(" ")) socket.send("?", target.split(":")[1], target.split(":")[0]);
      socket.unref();
    `;
    const OTHERS = ["10.5.72.1:5301", "192.0.2.1:5300", "198.51.100.1:5300"];
    let netns: NetnsHandle;
    beforeEach(() => {
      netns = NetnsHandle.open(host.netns.path);
      host.netns.ip(
        "address add 192.0.2.1/32 dev lo",
        "link set lo up",
        "link add else type veth peer name far",
        "link set else up",
        "link set far up",
        "address add 198.51.100.254/24 dev else",
      );
      host.netns.exec("nft", ["add chain inet others forward { type filter hook forward priority 0; }"]);
    });
    afterEach(() => netns.close());

    const flows = (): string[] => {
      const tracked = NetlinkConnection.open({ protocol: NETLINK_NETFILTER, netns });
      try {
        const found = tracked.dump(encodeConnectionDump(4), (message) => decodeConnection(message, 4));
        const udp = found.filter(({ protocol }) => protocol === IPPROTO_UDP);
        return udp.map(({ destination, destinationPort }) => `${destination}:${destinationPort}`).sort();
      } finally {
        tracked.close();
      }
    };

    it.each([
      ["to another port or address of the host, or through the host", 1, "10.5.72.1", OTHERS],
      ["than those of its range", 2, "10.5.72.1", OTHERS.slice(1)],
      ["than those to any address of the host", 1, null, [OTHERS[0], OTHERS[2]]],
    ])("%s", async (_, count, hostAddress, kept) => {
      const client = host.addContainer();
      call("setup", client);
      run(client.netns, SEND, ["10.5.72.1:5300", ...OTHERS].join(" "));
      await expect.poll(() => flows().length, { timeout: 10_000 }).toBe(4);
      const port = { protocol: "udp", hostPort: 5300, containerPort: 53, count } as const;
      const address = hostAddress === null ? null : Address.parse(hostAddress);
      withNetns(netns, () =>
        forgetStaleFlows(Address.parse("10.5.72.9"), [{ ...port, hostAddress: address }]),
      );
      expect(flows()).toEqual(kept);
    });
  });
});
