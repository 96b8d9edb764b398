/**
 * Clusters whose servers run on hosts of their own, partitioned from each other and from all clients by silent packet
 * loss: leases and peers stay, new hosts join while a majority is left, and everything recovers afterwards.
 */

import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missingConsul, startConsul } from "../../support/consul.ts";
import { type CutOptions, cutOff } from "../../support/cut.ts";
import { missingEtcd, startEtcd } from "../../support/etcd.ts";
import { createLab, type Host, type Lab } from "../../support/hosts.ts";
import { watchDevice } from "../../support/monitor.ts";
import { describeAsRoot } from "../../support/netns.ts";

const CONFIG = JSON.stringify({ Network: "10.2.0.0/16", Backend: { Type: "vxlan" } });
const SERVERS = 3;
const AGENTS = 3;
const TTL_SECONDS = 4;
const WAIT = { timeout: 20_000, interval: 100 };

interface Cluster {
  /** What every daemon is started with. */
  readonly flags: readonly string[];
  /** Number of the server that leads now. */
  leader(): Promise<number>;
  stop(): Promise<void>;
}

interface Kind {
  readonly name: string;
  readonly missing: string | null;
  /** What a majority lives through: its name, how packets get lost, and at how many servers, the leader first. */
  readonly faults: readonly (readonly [string, CutOptions, number])[];
  /** A cluster on these hosts, with the network's configuration in it. */
  start(hosts: readonly Host[]): Promise<Cluster>;
}

const placesOf = (hosts: readonly Host[]) => hosts.map(({ netns, address }) => ({ netns, host: address }));

const etcd: Kind = {
  name: "etcd",
  missing: missingEtcd(),
  faults: [
    ["the leader hears but is not heard", { directions: ["OUTPUT"] }, 1],
    ["every server loses packets", { directions: ["OUTPUT"], share: 0.05 }, SERVERS],
  ],
  start: async (hosts) => {
    const cluster = await startEtcd({ members: SERVERS, places: placesOf(hosts) });
    cluster.ctl("put", "/coreos.com/network/config", CONFIG);
    return {
      flags: [`-etcd-endpoints=${cluster.endpoints.join(",")}`],
      leader: async () => cluster.members.indexOf(cluster.leader()),
      stop: () => cluster.stop(),
    };
  },
};

const consul: Kind = {
  name: "Consul",
  missing: missingConsul(),
  faults: [["the leader is cut off", {}, 1]],
  start: async (hosts) => {
    const cluster = await startConsul({ servers: SERVERS, places: placesOf(hosts) });
    await cluster.api("PUT", "kv/coreos.com/network/config", CONFIG);
    return {
      flags: ["--store=consul", `--consul-address=${cluster.addresses.join(",")}`],
      leader: async () => cluster.servers.indexOf(await cluster.leader()),
      stop: () => cluster.stop(),
    };
  },
};

for (const kind of [etcd, consul]) {
  if (kind.missing !== null && process.env.CI) throw new Error(kind.missing);
  const title = `three ${kind.name} servers on hosts of their own`;
  if (kind.missing !== null) {
    describe.skip(`${title} (${kind.missing})`, () => {});
    continue;
  }
  describeAsRoot(title, () => {
    let lab: Lab;
    let servers: readonly Host[];
    let cluster: Cluster;
    const agents: Host[] = [];

    beforeAll(async () => {
      lab = createLab("cluster");
      servers = Array.from({ length: SERVERS }, () => lab.addHost());
      cluster = await kind.start(servers);
      await Promise.all(Array.from({ length: AGENTS }, join));
      await untilWhole();
    });
    afterAll(async () => {
      await Promise.all(agents.map(({ daemon }) => daemon.stop()));
      await cluster?.stop();
      lab?.dispose();
    });

    /** A new host that takes part. */
    async function join(): Promise<void> {
      const host = lab.addHost();
      agents.push(host);
      await host.daemon.start(...cluster.flags, "-iface=eth0", `--subnet-lease-ttl=${TTL_SECONDS}s`);
    }

    /** Every agent is content and knows all others; their leases. */
    async function untilWhole(): Promise<readonly string[]> {
      const statuses = await Promise.all(
        agents.map(({ daemon }) =>
          daemon.until(
            ({ isReady, peers, problems }) =>
              isReady && peers.length === agents.length - 1 && problems.length === 0,
            "is whole",
          ),
        ),
      );
      return statuses.map(({ lease }) => lease.key);
    }

    /** The servers' namespaces, the leader's first. */
    async function byRank() {
      let leader = -1;
      const look = async (): Promise<number> => {
        leader = await cluster.leader().catch(() => -1);
        return leader;
      };
      await expect.poll(look, WAIT).toBeGreaterThanOrEqual(0);
      return [...servers.slice(leader), ...servers.slice(0, leader)].map(({ netns }) => netns);
    }

    /** Does `fault`, which answers how to end it, and `meanwhile`; nothing of the agents may have changed. */
    async function survives(
      fault: () => Promise<readonly (() => void)[]>,
      meanwhile: () => Promise<void>,
    ): Promise<void> {
      const before = await untilWhole();
      const monitors = await Promise.all(agents.map(({ netns }) => watchDevice(netns, "flannel.1")));
      const undo = await fault();
      try {
        await meanwhile();
      } finally {
        for (const end of undo) end();
      }
      const after = await untilWhole();
      const announced = await Promise.all(monitors.map((monitor) => monitor.stop()));
      expect(after.slice(0, before.length)).toEqual(before);
      expect(new Set(after).size).toBe(after.length);
      expect(announced.flat().filter((line) => line.includes("Deleted"))).toEqual([]);
    }

    it.each(kind.faults)("%s: a new host is known to all", async (_, cut, victims) => {
      await survives(
        async () => (await byRank()).slice(0, victims).map((netns) => cutOff(netns, cut)),
        async () => {
          await join();
          await untilWhole();
        },
      );
    });

    it("a majority is cut off for longer than the leases last: all stays as it is", async () => {
      await survives(
        async () => (await byRank()).slice(0, 2).map((netns) => cutOff(netns)),
        async () => await delay((TTL_SECONDS + 1) * 1000),
      );
      await join();
      await untilWhole();
    });
  });
}
