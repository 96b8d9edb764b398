/** A network whose leases are in Consul: the same daemon, devices and files, reached over a unix socket. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type ConsulCluster, missingConsul, startConsul } from "../support/consul.ts";
import { createLab, type Lab, ping, startPing, TULLE } from "../support/hosts.ts";
import { describeAsRoot } from "../support/netns.ts";
import { createAuthority } from "../support/pki.ts";

const CONFIG = { Network: "10.2.0.0/16", SubnetLen: 24, Backend: { Type: "vxlan" } };

const PATIENCE = { timeout: 40_000 };

const missing = missingConsul();
if (missing !== null && process.env.CI) throw new Error(missing);

const title = "a network in Consul";
if (missing !== null) describe.skip(`${title} (${missing})`, () => {});
else
  describeAsRoot(title, () => {
    let lab: Lab;
    let consul: ConsulCluster;
    let flags: readonly string[];

    beforeAll(async () => {
      lab = createLab("consul");
      const socketFile = join(lab.directory, "consul.sock");
      consul = await startConsul({ socketFile });
      await consul.api("PUT", "kv/coreos.com/network/config", JSON.stringify(CONFIG));
      flags = ["--store=consul", `--consul-address=unix://${socketFile}`, "-iface=eth0"];
      const hosts = [lab.addHost(), lab.addHost()];
      await Promise.all(hosts.map((host) => host.daemon.start(...flags)));
      const hasPeer = ({ peers }: { readonly peers: readonly unknown[] }) => peers.length === 1;
      for (const host of hosts) await host.daemon.until(hasPeer, "knows its peer");
    });
    afterAll(async () => {
      lab.dispose();
      await consul.stop();
    });

    const keys = async () => JSON.parse(await consul.api("GET", "kv/coreos.com/network/subnets/?keys"));

    it("containers on two hosts reach each other", async () => {
      const [first, second] = lab.hosts.map((host) => host.addContainer());
      if (!first || !second) throw new Error("two containers are needed");
      expect(await keys()).toHaveLength(2);
      expect(await ping(first.netns, second.address, 5)).toMatchObject({ lost: [] });
    });

    it("sessions that are invalidated cost no packet", async () => {
      const [first, second] = lab.hosts.map((host) => host.containers[0]);
      if (!first || !second) throw new Error("two containers are needed");
      const running = startPing(first.netns, second.address);
      const sessions = async (): Promise<readonly string[]> =>
        JSON.parse(await consul.api("GET", "session/list")).map(({ ID }: { readonly ID: string }) => ID);
      try {
        for (let round = 0; round < 3; round++) {
          const ended = await sessions();
          for (const id of ended) await consul.api("PUT", `session/destroy/${id}`);
          const areNew = async () => {
            const present = await sessions();
            return present.length === ended.length && !present.some((id) => ended.includes(id));
          };
          await expect.poll(areNew, PATIENCE).toBe(true);
          await expect.poll(keys, PATIENCE).toHaveLength(2);
        }
      } finally {
        expect((await running.stop()).lost).toEqual([]);
      }
    });

    it("a daemon that is killed and started again keeps its subnet", async () => {
      const [host] = lab.hosts;
      const before = host?.subnetEnv().subnets[4]?.toString();
      await host?.daemon.kill();
      await host?.daemon.start(...flags);
      expect(host?.subnetEnv().subnets[4]?.toString()).toBe(before);
      expect(await keys()).toHaveLength(2);
    });

    it("a time to live that Consul refuses ends the start with one line that names the flag", async () => {
      const [host] = lab.hosts;
      await host?.daemon.stop();
      await expect(host?.daemon.start(...flags, "--subnet-lease-ttl=48h")).rejects.toThrow(
        /subnet-lease-ttl is 172800s/,
      );
    });

    it("is joined by the variables of Consul's own programs alone, secured by certificates and rules", async () => {
      const place = lab.addHost();
      const authority = createAuthority(lab.directory);
      const server = authority.issue("server", { names: `IP:${place.address}` });
      const { caFile, certFile, keyFile } = authority.issue("client");
      const rootToken = "11111111-2222-3333-4444-555555555555";
      const secured = await startConsul({
        places: [{ netns: place.netns, host: place.address }],
        tls: server,
        rootToken,
      });
      try {
        await secured.api("PUT", "kv/coreos.com/network/config", JSON.stringify(CONFIG));
        const tokenFile = join(lab.directory, "token");
        const rules = `key_prefix "coreos.com/network/" { policy = "write" } session "tulle" { policy = "write" }`;
        writeFileSync(tokenFile, await secured.token(`${rules} node "tulle" { policy = "write" }`));
        const variables = {
          CONSUL_HTTP_ADDR: secured.addresses[0]?.replace("https://", "") ?? "",
          CONSUL_HTTP_SSL: "true",
          CONSUL_HTTP_TOKEN_FILE: tokenFile,
          CONSUL_CACERT: caFile,
          CONSUL_CLIENT_CERT: certFile,
          CONSUL_CLIENT_KEY: keyFile,
        };
        for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
        const host = lab.addHost();
        const { lease } = await host.daemon.start("--store=consul", "-iface=eth0");
        const tulle = (...args: string[]) => host.run(...TULLE, ...args, "--store=consul");
        expect(tulle("leases")).toContain(lease.key);
        expect(tulle("lease", "check")).toContain("1 lease");
        expect(await secured.api("GET", "kv/coreos.com/network/subnets/?keys")).toContain(lease.key);
        expect(await host.daemon.stop()).toBe(0);
        // On a busy machine there are others, of answers that come late.
        expect(host.daemon.log).not.toMatch(/ error |Warning|denied|may not|certificate/i);
      } finally {
        vi.unstubAllEnvs();
        await secured.stop();
      }
    });
  });
