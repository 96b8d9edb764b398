/** Named, isolated networks across hosts with plain Docker: the walkthrough's part B, and what it survives. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { startDenyingResolver } from "../../support/denying-resolver.ts";
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
import { TULLE } from "../../support/hosts.ts";

describeWithDocker("named networks, the walkthrough typed literally", (engines) => {
  let lab: DockerLab;
  let host1: DockerHost;
  let host2: DockerHost;
  let host3: DockerHost;
  const tulle = (...command: readonly string[]): string =>
    lab.net.host(3).run(...TULLE, ...command, ...lab.net.flags.slice(0, 1));

  beforeAll(async () => {
    lab = new DockerLab("named", 3, engines);
    await lab.build();
    [host1, host2, host3] = [lab.docker(1), lab.docker(2), lab.docker(3)];
  });
  afterAll(() => lab.dispose());

  it("docker network create on one host shows the network on all", async () => {
    host1.docker("network", "create", "-d", "tulle", "--ipam-driver", "tulle", "--label", "a=b", "ov_net1");
    for (const docker of [host2, host3]) await until(() => networksOf(docker).includes("ov_net1"));
    const format = "{{json .Labels}} {{(index .IPAM.Config 0).Subnet}}";
    const shown = lab.dockers.map((docker) => docker.docker("network", "inspect", "-f", format, "ov_net1"));
    expect(new Set(shown).size).toBe(1);
    expect(shown[0]).toContain('{"a":"b"}');
  });

  it("containers get eth0 in one subnet and eth1 on docker_gwbridge", async () => {
    host2.runContainer("bbox1", { options: ["--network", "ov_net1"], command: SLEEP });
    host3.runContainer("bbox2", { options: ["--network", "ov_net1"], command: SLEEP });
    const subnet = host1.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "ov_net1");
    const start = subnet.replace(/\.0\/24$/, ".");
    for (const [docker, name] of [
      [host2, "bbox1"],
      [host3, "bbox2"],
    ] as const) {
      expect(addressOn(docker, name, "ov_net1").startsWith(start)).toBe(true);
      const eth0 = docker.exec(name, "ip", "address", "show", "eth0");
      expect(eth0).toContain(`inet ${addressOn(docker, name, "ov_net1")}/24`);
      expect(eth0).toContain("mtu 1450");
      expect(docker.exec(name, "ip", "address", "show", "eth1")).toContain("inet 172.");
    }
    expect(addressOn(host2, "bbox1", "ov_net1")).not.toBe(addressOn(host3, "bbox2", "ov_net1"));
  });

  it("containers reach each other across hosts, with full-sized packets", async () => {
    const address = addressOn(host2, "bbox1", "ov_net1");
    await until(() => pings(host3, "bbox2", address));
    expect(host3.exec("bbox2", "ping", "-c", "1", "-W", "2", "-s", "1422", address)).toContain(
      "1 packets received",
    );
  });

  it("containers find each other by name, alias and short id, on either host", async () => {
    await until(() => pings(host3, "bbox2", "bbox1"), 20_000);
    await until(() => pings(host2, "bbox1", "bbox2"), 20_000);
    const id = host2.docker("inspect", "-f", "{{.Id}}", "bbox1").slice(0, 12);
    expect(pings(host3, "bbox2", id)).toBe(true);
    host2.docker("network", "disconnect", "ov_net1", "bbox1");
    expect(pings(host3, "bbox2", "bbox1")).toBe(false);
    host2.docker("network", "connect", "--alias", "web", "ov_net1", "bbox1");
    await until(() => pings(host3, "bbox2", "web"), 20_000);
    host2.docker("rename", "bbox1", "other");
    await until(() => pings(host3, "bbox2", "other"));
    host2.docker("rename", "other", "bbox1");
    await until(() => pings(host3, "bbox2", "bbox1"));
  });

  it("a container finds another by name from its first lookup on", async () => {
    // An answer that ends the search of Docker's embedded DNS; without one that asks again until the name is known.
    const resolver = await startDenyingResolver(host1.host.netns);
    const address = addressOn(host2, "bbox1", "ov_net1");
    const run = ["run", "--rm", "--network", "ov_net1", "box", "ping", "-c", "1", "-W", "2", "bbox1"];
    for (let count = 0; count < 10; count += 1)
      expect(outcomeOf(host1, ...run).text).toContain(`PING bbox1 (${address})`);
    await resolver?.kill();
  });

  it("a container of another network cannot, until it is connected", async () => {
    create(host1, "ov_net2");
    await until(() => networksOf(host3).includes("ov_net2"));
    host3.runContainer("bbox3", { options: ["--network", "ov_net2"], command: SLEEP });
    expect(pings(host3, "bbox3", "bbox1")).toBe(false);
    const address = addressOn(host2, "bbox1", "ov_net1");
    expect(pings(host3, "bbox3", address)).toBe(false);
    host3.docker("network", "connect", "ov_net1", "bbox3");
    await until(() => pings(host3, "bbox3", address));
    await until(() => pings(host3, "bbox3", "bbox1"));
    host3.docker("network", "disconnect", "ov_net1", "bbox3");
    expect(pings(host3, "bbox3", address)).toBe(false);
  });

  it("docker network prune on an idle host puts back what others use", async () => {
    const before = host1.docker("network", "inspect", "-f", "{{.Id}}", "ov_net1");
    host1.docker("network", "prune", "--force");
    await until(() => {
      const [id] = [host1.docker("network", "inspect", "-f", "{{.Id}}", "ov_net1")];
      return id !== before;
    });
    expect(networksOf(host2)).toContain("ov_net1");
    expect(lab.net.host(1).daemon.log).toMatch(/removed here and put back.*bbox/);
    const list = await until(() => {
      const text = tulle("network", "ls");
      return text.includes("put back") && text;
    });
    expect(list).toMatch(
      /network ov_net1: removed on host .* and put back, because container bbox\d on host/,
    );
    await until(() => pings(host3, "bbox2", addressOn(host2, "bbox1", "ov_net1")));
  });

  it("docker network rm of an unused network removes it everywhere", async () => {
    host3.docker("rm", "-f", "bbox3");
    // Until the other hosts have heard of it, they put the network back.
    await until(() => !tulle("ps").includes("bbox3"));
    host2.docker("network", "create", "-d", "tulle", "plain");
    await until(() => networksOf(host1).includes("plain"));
    await until(() => outcomeOf(host3, "network", "rm", "plain").ok);
    await until(() => outcomeOf(host2, "network", "rm", "ov_net2").ok);
    for (const docker of lab.dockers) await until(() => !networksOf(docker).includes("ov_net2"));
  });

  it("leaves no interface behind when containers end", async () => {
    host2.docker("rm", "-f", "bbox1");
    host3.docker("rm", "-f", "bbox2");
    for (const { host } of lab.dockers)
      await until(() => !/\bt[pcbv]-/.test(host.run("ip", "-o", "link")), 20_000);
  });
});
