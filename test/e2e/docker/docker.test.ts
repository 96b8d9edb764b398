/** Docker on the overlay, by `tulle docker setup`: what works, and what it survives. */

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type DockerHost, describeWithDocker } from "../../support/docker.ts";
import { DockerPair, OUTSIDE, PUBLISHED_PORT, untilConnected } from "./pair.ts";

for (const engine of ["iptables", "nft"])
  describeWithDocker(`Docker on the overlay, with ${engine}`, (engines) => {
    let pair: DockerPair;

    beforeAll(async () => {
      pair = new DockerPair("docker", engines);
      await pair.startAgents("--ip-masq", `--firewall=${engine}`);
      for (const docker of pair.both) pair.tulle(docker, "docker", "setup");
      for (const docker of pair.both) await docker.start(pair.image);
      pair.startWeb();
      await untilConnected(pair);
    });
    afterAll(() => pair.dispose());

    const download = (from: DockerHost, container: string, address: string): string =>
      from.exec(container, "sh", "-c", `wget -q -O - http://${address}/data | md5sum`).split(" ")[0] ?? "";

    /** Counts packets on their way through the outside's namespace. */
    const countOutside = (match: string): (() => number) => {
      const chain = `chain c {\n type filter hook input priority 0\n ${match} counter\n }`;
      pair.lab.lan.exec("nft", [`table ip count {\n ${chain}\n }`]);
      return () =>
        Number(/packets (\d+)/.exec(pair.lab.lan.exec("nft", ["list", "table", "ip", "count"]))?.[1]);
    };

    it("gives containers the subnet and the MTU of subnet.env", () => {
      for (const [docker, name] of [
        [pair.first, "web1"],
        [pair.second, "web2"],
      ] as const) {
        const { subnets, mtuBytes } = docker.host.subnetEnv();
        const gateway = subnets[4]?.address;
        const links = docker.exec(name, "ip", "link", "show", "eth0");
        expect(links).toContain(`mtu ${mtuBytes} `);
        expect(docker.addressOf(name)).toBe(gateway?.plus(1).toString());
        expect(docker.exec(name, "ip", "route")).toContain(`default via ${gateway} dev eth0`);
      }
    });

    it("carries 100 MB each way, and the servers see the containers' own addresses", () => {
      const [one, two] = [pair.first.addressOf("web1"), pair.second.addressOf("web2")];
      expect(download(pair.first, "web1", two)).toBe(pair.checksum);
      expect(download(pair.second, "web2", one)).toBe(pair.checksum);
      expect(pair.second.logs("web2")).toContain(`[::ffff:${one}]`);
      expect(pair.first.logs("web1")).toContain(`[::ffff:${two}]`);
    });

    it("publishes a port to other hosts and to containers there", () => {
      const url = `http://${pair.first.host.address}:${PUBLISHED_PORT}/hello`;
      expect(pair.second.host.run("busybox", "wget", "-q", "-O", "-", url)).toBe("hello\n");
      expect(pair.second.exec("web2", "wget", "-q", "-O", "-", url)).toBe("hello");
    });

    it("masquerades what goes outside behind the host's own address", () => {
      const masqueraded = countOutside(
        `ip saddr ${pair.first.host.address} ip daddr ${OUTSIDE} icmp type echo-request`,
      );
      pair.first.exec("web1", "ping", "-c", "2", "-W", "1", OUTSIDE);
      expect(masqueraded()).toBe(2);
    });

    const restartDocker = async ({ first }: DockerPair): Promise<void> => {
      await first.stop();
      await first.start(pair.image);
    };
    const restartAgent = async ({ first }: DockerPair): Promise<void> => {
      expect(await first.host.daemon.stop()).toBe(0);
      await pair.startAgent(first);
    };
    const onFirst =
      (...command: string[]) =>
      async ({ first }: DockerPair): Promise<void> =>
        void first.host.run(...command);

    it.each<[string, (pair: DockerPair) => Promise<void>]>([
      ["a restart of dockerd", restartDocker],
      ["a restart of tulled", restartAgent],
      [
        "a stop of both, and dockerd first again",
        async ({ first }) => {
          await first.host.daemon.stop();
          await restartDocker(pair);
          await pair.startAgent(first);
        },
      ],
      [
        "a stop of both, and tulled first again",
        async ({ first }) => {
          await first.stop();
          await restartAgent(pair);
          await first.start(pair.image);
        },
      ],
      ["iptables -F", onFirst("iptables", "-F")],
      ["iptables -t nat -F", onFirst("iptables", "-t", "nat", "-F")],
      ["nft flush ruleset", onFirst("sh", "-c", "nft flush ruleset; iptables -P FORWARD DROP")],
      ["a FORWARD policy of DROP", onFirst("iptables", "-P", "FORWARD", "DROP")],
      ["a FORWARD rule that drops all", onFirst("iptables", "-I", "FORWARD", "-j", "DROP")],
    ])("survives %s", async (_, action) => {
      await action(pair);
      await untilConnected(pair);
    });

    it("keeps what the administrator writes into daemon.json", async () => {
      const { configFile } = pair.first;
      writeFileSync(configFile, readFileSync(configFile, "utf8").replace("{", '{\n  "debug": true,'));
      expect(pair.tulle(pair.first, "docker", "setup")).toBe("nothing to change\n");
      await restartDocker(pair);
      expect(pair.first.docker("info", "--format", "{{.Debug}}")).toBe("true");
      await untilConnected(pair);
    });

    it("moves to another subnet once dockerd restarts, and shows that before", async () => {
      const { host, configFile } = pair.first;
      const before = host.subnetFileText();
      await host.daemon.stop();
      // Another machine with the same Docker, as far as the store can tell: the old lease belongs to another host.
      rmSync(join(host.runDirectory, "flannel/subnet.env"));
      rmSync(host.stateDirectory, { recursive: true });
      host.netns.ip(
        "link delete flannel.1",
        `address delete ${host.address}/24 dev eth0`,
        "address add 192.168.50.50/24 dev eth0",
        "route add default via 192.168.50.1",
      );
      await pair.startAgent(pair.first);
      expect(host.subnetFileText()).not.toBe(before);
      const plan = pair.tulle(pair.first, "docker", "setup", "--dry-run");
      expect(plan).toMatch(/^-.*"bip".*\n\+.*"bip"/m);
      expect(pair.tulle(pair.first, "docker", "setup")).toContain("systemctl restart docker");
      await restartDocker(pair);
      await untilConnected(pair);
      expect(pair.first.addressOf("web1")).toBe(host.subnetEnv().subnets[4]?.address.plus(1).toString());
      pair.tulle(pair.first, "docker", "unset");
      expect(readFileSync(configFile, "utf8")).not.toContain("bip");
    });
  });

describeWithDocker("Docker on the overlay, by flags that are written by hand", (engines) => {
  let pair: DockerPair;

  beforeAll(async () => {
    pair = new DockerPair("byhand", engines);
    await pair.startAgents("-iface=eth0");
    for (const docker of pair.both) {
      const { subnets, mtuBytes } = docker.host.subnetEnv();
      await docker.start(pair.image, `--bip=${subnets[4]?.address}/24`, `--mtu=${mtuBytes}`);
    }
    pair.startWeb();
    await untilConnected(pair);
  });
  afterAll(() => pair.dispose());

  it("has the walkthrough's routes and addresses", () => {
    const gateway = pair.first.host.subnetEnv().subnets[4]?.address;
    const base = gateway?.plus(-1);
    const other = pair.second.host.subnetEnv().subnets[4]?.address.plus(-1);
    const routes = pair.first.host.run("ip", "route");
    expect(routes).toContain(`${base}/24 dev docker0 proto kernel scope link src ${gateway}`);
    expect(routes).toMatch(new RegExp(`${other}/24 via ${other} dev flannel.1 .*onlink`));
    expect(pair.first.addressOf("web1")).toBe(gateway?.plus(1).toString());
  });

  it("carries 100 MB, and dockerd's restart loses nothing for good", async () => {
    const address = pair.first.addressOf("web1");
    const sum = pair.second.exec("web2", "sh", "-c", `wget -q -O - http://${address}/data | md5sum`);
    expect(sum.split(" ")[0]).toBe(pair.checksum);
    const { subnets, mtuBytes } = pair.first.host.subnetEnv();
    await pair.first.stop();
    await pair.first.start(pair.image, `--bip=${subnets[4]?.address}/24`, `--mtu=${mtuBytes}`);
    await untilConnected(pair);
  });
});
