/** Docker on a network of both families, set up by `tulle docker setup`. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { FAMILIES, type Family } from "../../../ipam/addresses/ip.ts";
import { createImage, DockerHost, describeWithDocker } from "../../support/docker.ts";
import { createLab, fileStoreOf, type Lab, TULLE } from "../../support/hosts.ts";

const CONFIG = {
  Network: "10.2.0.0/16",
  EnableIPv6: true,
  IPv6Network: "fd00:2::/48",
  Backend: { Type: "vxlan" },
};
/** Knows no way back to the network: only masqueraded packets are answered. */
const OUTSIDE = { 4: "203.0.113.1", 6: "2001:db8:9::1" } as const satisfies Record<Family, string>;
const ROUTER = { 4: "192.168.50.1/24", 6: "fd00:50::1/64" } as const satisfies Record<Family, string>;

for (const engine of ["iptables", "nft"])
  describeWithDocker(`Docker on a network of both families, with ${engine}`, (engines) => {
    let lab: Lab;
    let store: string;
    let hosts: readonly DockerHost[];
    let image: string;

    beforeAll(async () => {
      lab = createLab("docker6", 1500, [4, 6]);
      hosts = [new DockerHost(lab.addHost(), engines), new DockerHost(lab.addHost(), engines)];
      image = createImage(lab.directory);
      store = await fileStoreOf(lab, CONFIG);
      for (const family of FAMILIES) {
        const nodad = family === 6 ? " nodad" : "";
        lab.lan.ip(
          `address add ${ROUTER[family]} dev lan${nodad}`,
          `address add ${OUTSIDE[family]} dev lo${nodad}`,
        );
        for (const { host } of hosts)
          host.netns.ip(`route replace default via ${ROUTER[family].replace(/\/.*/, "")}`);
      }
    });
    afterAll(async () => {
      for (const docker of hosts) {
        await docker.host.daemon.stop().catch(() => undefined);
        await docker.stop().catch(() => undefined);
        docker.dispose();
      }
      lab.dispose();
    });

    const setUp = (docker: DockerHost, ...args: string[]): string => {
      const files = [
        `--daemon-json=${docker.configFile}`,
        `--unit-dir=${join(docker.host.stateDirectory, "units")}`,
      ];
      return docker.run(...TULLE, "docker", "setup", ...files, ...args);
    };
    const addressesOf = (docker: DockerHost): Record<Family, string> => {
      const networks = JSON.parse(docker.docker("inspect", "--format", "{{json .NetworkSettings}}", "box"));
      return { 4: networks.IPAddress, 6: networks.GlobalIPv6Address };
    };
    const isReached = (from: DockerHost, target: string): boolean => {
      try {
        from.exec("box", "ping", "-c", "1", "-W", "1", target);
        return true;
      } catch {
        return false; // lost, or the container is not up yet
      }
    };
    /** The sources of echo requests that the container receives. */
    const watchSources = (docker: DockerHost, family: Family): (() => string) => {
      const pid = docker.docker("inspect", "--format", "{{.State.Pid}}", "box");
      const nft = (...args: string[]): string => docker.host.run("nsenter", "-t", pid, "-n", "nft", ...args);
      const [table, type, match] =
        family === 4
          ? ["ip seen4", "ipv4_addr", "icmp type echo-request"]
          : ["ip6 seen6", "ipv6_addr", "icmpv6 type echo-request"];
      const field = table.split(" ")[0];
      nft(`add table ${table}; flush table ${table};
        add set ${table} sources { type ${type}; flags dynamic; };
        add chain ${table} in { type filter hook input priority 0; };
        add rule ${table} in ${match} add @sources { ${field} saddr }`);
      return () => nft("list", "set", ...table.split(" "), "sources");
    };

    async function start(docker: DockerHost, ...flags: string[]): Promise<void> {
      await docker.host.daemon.start(`--store=${store}`, `--firewall=${engine}`, ...flags);
      setUp(docker);
      await docker.start(image);
    }

    it("gives containers addresses of both, and carries their packets with their own sources", async () => {
      for (const docker of hosts) {
        await start(docker, "--ip-masq");
        docker.runContainer("box", {
          command: ["sleep", "3600"],
          options: ["--restart=always", "--stop-timeout=0"],
        });
      }
      const [one, two] = hosts as [DockerHost, DockerHost];
      expect(JSON.parse(readFileSync(one.configFile, "utf8"))).not.toHaveProperty("experimental");
      for (const family of FAMILIES) {
        const own = addressesOf(one)[family];
        const other = addressesOf(two)[family];
        const subnet = one.host.subnetEnv().subnets[family];
        expect(one.exec("box", "ip", `-${family}`, "route")).toContain(
          `default via ${subnet?.address} dev eth0`,
        );
        const sources = watchSources(two, family);
        await expect
          .poll(() => isReached(one, other), { timeout: 15_000, message: `IPv${family}` })
          .toBe(true);
        expect(sources()).toContain(own);
        expect(sources()).not.toContain(`${two.host.subnetEnv().subnets[family]?.address}`);
        await expect
          .poll(() => isReached(one, OUTSIDE[family]), { timeout: 5000, message: `outside by IPv${family}` })
          .toBe(true);
      }
    });

    it("finds nothing to change afterwards, and no bridge elsewhere", () => {
      for (const docker of hosts) expect(setUp(docker)).toBe("nothing to change\n");
    });

    it("lets Docker masquerade both where tulled does not", async () => {
      const [one] = hosts as [DockerHost];
      await one.host.daemon.stop();
      await one.stop();
      one.host.run("sh", "-c", "nft flush ruleset");
      writeFileSync(one.configFile, "{}\n");
      await start(one);
      expect(JSON.parse(readFileSync(one.configFile, "utf8"))).toMatchObject({ "ip-masq": true, ipv6: true });
      for (const family of FAMILIES) {
        await expect
          .poll(() => isReached(one, OUTSIDE[family]), { timeout: 15_000, message: `IPv${family}` })
          .toBe(true);
      }
    });
  });
