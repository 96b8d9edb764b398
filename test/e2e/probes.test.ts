/** Probes find what is wrong between two hosts, name it, and see that it works again. */

import { afterEach, beforeAll, expect, it } from "vitest";
import type { StatusReport } from "../../agent/report/status.ts";
import { describeWithEtcd, type Host, useEtcdLab } from "../support/hosts.ts";
import { type Commands, PATH_FAULTS } from "../support/path-faults.ts";

const CONFIG = {
  Network: "10.2.0.0/16",
  EnableIPv6: true,
  IPv6Network: "fd00:2::/48",
  Backend: { Type: "vxlan" },
};

/** A share of packets that are lost is known after a dozen of them only. */
const NAMED = { timeout: 90_000, interval: 200 };
const PATIENCE = { timeout: 2 * NAMED.timeout + 10_000 };

describeWithEtcd("probes of the paths to peers", () => {
  const net = useEtcdLab("probes", { hosts: 3, config: CONFIG, families: [4, 6] });
  let subnet = "";
  let undo: () => void = () => undefined;

  const sh = (all: Commands): void => {
    const places = { host1: net.host(1), host2: net.host(2), host3: net.host(3), lan: null };
    for (const [place, commands = []] of Object.entries(all)) {
      const host: Host | null = places[place as keyof Commands];
      for (const command of commands) {
        const text = command
          .replace("SUBNET", subnet)
          .replace("LONGER", subnet.replace(".0/24", ".128/25"))
          .replace("HOST1", net.host(1).netns.name);
        if (host === null) net.lab.lan.exec("sh", ["-c", text]);
        else host.run("sh", "-c", text);
      }
    }
  };
  const healthOfPeer = (status: StatusReport) =>
    status.peers.find(({ key }) => key.startsWith(subnet.replace("/24", "")))?.health;

  beforeAll(async () => {
    await net.startAll();
    const [key = ""] = (await net.host(2).daemon.status())?.lease.key.split("-") ?? [];
    subnet = `${key}/24`;
    const all = ({ peers }: { peers: readonly { health?: { state: string } }[] }) =>
      peers.length === 2 && peers.every(({ health }) => health?.state === "good");
    for (const host of net.lab.hosts) await host.daemon.until(all, "has an answer of each peer");
  });
  afterEach(() => {
    undo();
    undo = () => undefined;
  });

  it.each(Object.entries(PATH_FAULTS))("%s", PATIENCE, async (_, { on, undo: back, cause, seen }) => {
    const { daemon } = net.host(1);
    undo = () => sh(back);
    sh(on);
    const isNamed = (text: string): boolean => text.includes(`(${cause})`) && seen.test(text);
    const named = async () => {
      const status = await daemon.status();
      const code = status === null ? undefined : healthOfPeer(status)?.cause?.code;
      return { code, isNamed: status?.problems.some(isNamed) };
    };
    await expect.poll(named, NAMED).toEqual({ code: cause, isNamed: true });
    undo();
    undo = () => undefined;
    const states = async () => (await daemon.status())?.peers.map(({ health }) => health?.state);
    await expect.poll(states, NAMED).toEqual(["good", "good"]);
  });

  it("do not take a limit on the way for a firewall of this host", PATIENCE, async () => {
    const { daemon } = net.host(1);
    undo = () => sh({ lan: ["nft delete table bridge fault"] });
    sh({
      lan: [
        "nft add table bridge fault",
        'nft "add chain bridge fault c { type filter hook forward priority 0; }"',
        "nft add rule bridge fault c oifname host2 ip protocol udp udp dport 8472 limit rate over 1/second burst 1 packets drop",
      ],
    });
    const seen = new Set<string>();
    // Some examinations long: each begins 5 s after the last, and sees what was answered in between.
    for (let looks = 0; looks < 200; looks++) {
      const status = await daemon.status();
      const cause = status === null ? null : healthOfPeer(status)?.cause;
      if (cause) seen.add(cause.code);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(seen.size).toBeGreaterThan(0);
    expect([...seen]).not.toContain("local-firewall");
    undo();
    undo = () => undefined;
    const states = async () => (await daemon.status())?.peers.map(({ health }) => health?.state);
    await expect.poll(states, NAMED).toEqual(["good", "good"]);
  });

  it("leave out a peer whose address this host has, until it has it no more", PATIENCE, async () => {
    // On every host: one of them alone has the daemons' name server, which is another user of the loopback interface.
    for (const host of net.lab.hosts) {
      const peer = host === net.host(2) ? net.host(3) : net.host(2);
      const address = `${peer.address}/32 dev lo`;
      undo = () => void host.run("ip", "address", "delete", ...address.split(" "));
      host.run("ip", "address", "add", ...address.split(" "));
      const refused = async () => (await host.daemon.status())?.refused.map(({ reason }) => reason).join();
      await expect.poll(refused).toMatch(/is an address of this host \(lo\); delete the address here/);
      undo();
      undo = () => undefined;
      const states = async () => (await host.daemon.status())?.peers.map(({ health }) => health?.state);
      await expect.poll(states, NAMED).toEqual(["good", "good"]);
    }
  });

  it("name forwarding that is off on a host with containers", PATIENCE, async () => {
    const host = net.host(3);
    host.addContainer();
    const named = async () => (await host.daemon.status())?.causes.map(({ code }) => code);
    undo = () => sh({ host3: ["sysctl -qw net.ipv4.ip_forward=1"] });
    sh({ host3: ["sysctl -qw net.ipv4.ip_forward=0"] });
    await expect.poll(named, NAMED).toEqual(["forwarding-off"]);
    expect((await host.daemon.status())?.problems.join()).toContain("net.ipv4.ip_forward is 0");
    undo();
    await expect.poll(named, NAMED).toEqual([]);
  });
});
