/** What named networks on Docker hosts survive: daemons that stop, crash and start in any order, and an absent store. */

import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type DockerHost, describeWithDocker } from "../../support/docker.ts";
import {
  addressOn,
  create,
  DockerLab,
  networksOf,
  outcomeOf,
  pings,
  SLEEP,
  until,
} from "../../support/docker-lab.ts";

const SUBNET = "10.9.0.0/24";
const onNet = (...more: readonly string[]) => ({ options: ["--network", "net1", ...more], command: SLEEP });

/** What a reboot takes from a host: interfaces but its own, firewall rules, and the files of /run. */
function forgetKernelAndRun({ host }: DockerHost): void {
  const own = new Set(["lo", "eth0"]);
  const names = (): readonly string[] =>
    host.netns
      .ipJson(["link", "show"])
      .map(({ ifname }) => String(ifname))
      .filter((name) => !own.has(name));
  for (const name of names()) if (names().includes(name)) host.netns.ip(`link delete ${name}`);
  host.netns.exec("nft", ["flush", "ruleset"]);
  for (const file of readdirSync(host.runDirectory))
    rmSync(join(host.runDirectory, file), { recursive: true });
}

describeWithDocker("named networks survive", (engines) => {
  let lab: DockerLab;
  let host1: DockerHost;
  let host2: DockerHost;

  beforeAll(async () => {
    lab = new DockerLab("survive", 2, engines);
    await lab.build();
    [host1, host2] = [lab.docker(1), lab.docker(2)];
    create(host1, "net1", "--subnet", SUBNET);
    await until(() => networksOf(host2).includes("net1"));
    host2.runContainer("peer", onNet("--ip", "10.9.0.200"));
    host1.runContainer("c1", onNet());
    await until(() => pings(host1, "c1", "10.9.0.200"));
  });
  afterAll(() => lab.dispose());

  /** dockerd waits 15 s for each call of the driver, longer than its client here, and goes on without it. */
  async function removeAway(name: string): Promise<void> {
    outcomeOf(host1, "network", "rm", name);
    const past = ["events", "--since=5m", "--until=0s", "--filter=type=network"];
    await until(() => host1.docker(...past, "--filter=event=destroy").includes(name), 60_000);
  }

  it("tulled, killed: traffic goes on; started: containers start and end as before", async () => {
    await lab.net.host(1).daemon.kill();
    expect(pings(host1, "c1", "10.9.0.200")).toBe(true);
    expect(pings(host2, "peer", addressOn(host1, "c1", "net1"))).toBe(true);
    await lab.startAgent(lab.net.host(1));
    host1.runContainer("c2", onNet());
    await until(() => pings(host1, "c2", "10.9.0.200"));
    expect(pings(host1, "c1", "10.9.0.200")).toBe(true);
    host1.docker("rm", "-f", "c2");
  });

  it("tulled, away for longer than dockerd waits: a network that a user removes goes everywhere", async () => {
    create(host1, "net2");
    await until(() => networksOf(host2).includes("net2"));
    await lab.net.host(1).daemon.stop();
    await removeAway("net2");
    await lab.startAgent(lab.net.host(1));
    await until(() => !networksOf(host2).includes("net2"), 40_000);
    expect(networksOf(host1)).not.toContain("net2");
  });

  it("the store, away: containers start within two seconds of the usual, reach others and end", async () => {
    const [etcd] = lab.net.etcd.members;
    await etcd?.pause();
    const startMs = performance.now();
    host1.runContainer("away", onNet());
    expect(performance.now() - startMs).toBeLessThan(5_000);
    expect(pings(host1, "away", addressOn(host1, "c1", "net1"))).toBe(true);
    host1.docker("rm", "-f", "away");
    host1.runContainer("away2", onNet());
    etcd?.resume();
    await until(() => pings(host1, "away2", "10.9.0.200"), 30_000);
    host1.docker("rm", "-f", "away2");
  });

  it("dockerd, killed: its containers' addresses are free, also for the same --ip", async () => {
    host1.runContainer("fixed", onNet("--ip", "10.9.0.77"));
    await host1.kill();
    await host1.start(lab.image);
    host1.docker("rm", "-f", "fixed", "c1");
    host1.runContainer("fixed", onNet("--ip", "10.9.0.77"));
    await until(() => pings(host1, "fixed", "10.9.0.200"));
    host1.docker("rm", "-f", "fixed");
    await until(() => !host1.host.run("ip", "-o", "link").includes("tp-"));
  });

  it("dockerd with live-restore, killed: containers run on and can be removed", async () => {
    await host1.stop();
    await host1.start(lab.image, "--live-restore");
    host1.runContainer("live", onNet());
    await host1.kill();
    expect(pings(host2, "peer", "10.9.0.200")).toBe(true);
    await host1.start(lab.image, "--live-restore");
    await until(() => pings(host1, "live", "10.9.0.200"));
    const address = addressOn(host1, "live", "net1");
    expect(pings(host2, "peer", address)).toBe(true);
    host1.docker("rm", "-f", "live");
    await until(() => !pings(host2, "peer", address));
    await until(() => !host1.host.run("ip", "-o", "link").includes("tp-"));
  });

  it("both, stopped; dockerd comes first: containers with --restart=always run once tulled serves", async () => {
    host1.runContainer("always", onNet("--restart=always"));
    await until(() => pings(host1, "always", "10.9.0.200"));
    await host1.stop();
    expect(await lab.net.host(1).daemon.stop()).toBe(0);
    await host1.start(lab.image);
    expect(outcomeOf(host1, "exec", "always", "true").ok).toBe(false);
    await lab.startAgent(lab.net.host(1));
    await until(() => pings(host1, "always", "10.9.0.200"), 30_000);
    host1.docker("rm", "-f", "always");
  });

  it.each([
    ["tulled comes first", ["agent", "dockerd"]],
    ["dockerd comes first", ["dockerd", "agent"]],
  ])(
    "a reboot, %s: containers with --restart=always have their network, address and name",
    async (_, order) => {
      host1.runContainer("booted", onNet("--restart=always", "--ip", "10.9.0.78"));
      await until(() => pings(host2, "peer", "booted"));
      await host1.stop();
      await lab.net.host(1).daemon.stop();
      forgetKernelAndRun(host1);
      for (const which of order) {
        if (which === "agent") await lab.startAgent(lab.net.host(1));
        else await host1.start(lab.image);
      }
      await until(() => pings(host1, "booted", "10.9.0.200"), 30_000);
      await until(() => pings(host2, "peer", "booted"), 30_000);
      host1.docker("rm", "-f", "booted");
    },
  );

  it("tulled, away while a user removes a network and dockerd is restarted: the network goes everywhere", async () => {
    create(host1, "net3");
    await until(() => networksOf(host2).includes("net3"));
    const recorded = (): string =>
      readFileSync(join(lab.net.host(1).stateDirectory, "docker", "docker-networks.json"), "utf8");
    await until(() => !recorded().includes('"database":null'));
    await lab.net.host(1).daemon.stop();
    await removeAway("net3");
    await host1.stop();
    await host1.start(lab.image);
    await lab.startAgent(lab.net.host(1));
    await until(() => !networksOf(host2).includes("net3"), 40_000);
    expect(networksOf(host1)).toEqual(["net1"]);
  });

  it("leave nothing behind", async () => {
    host2.docker("rm", "-f", "peer");
    await until(() => outcomeOf(host2, "network", "rm", "net1").ok);
    await until(() => networksOf(host1).length === 0);
    for (const { host } of lab.dockers) await until(() => !/\bt[pcbv]-/.test(host.run("ip", "-o", "link")));
    expect(
      lab.net.etcd.ctl("get", "--prefix", "--keys-only", `${lab.net.prefix}/tulle/named/addresses/`),
    ).toBe("");
  });
});
