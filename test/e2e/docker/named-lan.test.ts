/** macvlan on several Docker hosts, with addresses from the store: none is given twice. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithDocker } from "../../support/docker.ts";
import { DockerLab, outcomeOf, SLEEP, until } from "../../support/docker-lab.ts";

describeWithDocker("macvlan with addresses of the IPAM driver tulle", (engines) => {
  let lab: DockerLab;

  beforeAll(async () => {
    lab = new DockerLab("lan", 2, engines);
    await lab.build();
  });
  afterAll(() => lab.dispose());

  const createLan = async (): Promise<void> => {
    for (const docker of lab.dockers) {
      const range = [
        "--subnet",
        "192.168.50.0/24",
        "--gateway",
        "192.168.50.1",
        "--ip-range",
        "192.168.50.128/25",
      ];
      docker.docker(
        "network",
        "create",
        "-d",
        "macvlan",
        "--ipam-driver",
        "tulle",
        "-o",
        "parent=eth0",
        ...range,
        "lan1",
      );
      // The first host publishes the pool, which the second one finds by its subnet.
      await until(() =>
        lab.net.etcd.ctl("get", `${lab.net.prefix}/tulle/named/catalogue`).includes("lan-192.168.50.0-24"),
      );
    }
  };

  it("gives containers of both hosts different addresses of the LAN, which reach each other", async () => {
    await createLan();
    const addresses: string[] = [];
    for (const [index, docker] of lab.dockers.entries())
      for (const letter of ["a", "b", "c"]) {
        docker.runContainer(`${letter}${index}`, { options: ["--network", "lan1"], command: SLEEP });
        addresses.push(
          docker.docker("inspect", "-f", "{{.NetworkSettings.Networks.lan1.IPAddress}}", `${letter}${index}`),
        );
      }
    expect(new Set(addresses).size).toBe(6);
    const [, , , other = ""] = addresses;
    await until(() => outcomeOf(lab.docker(1), "exec", "a0", "ping", "-c", "1", "-W", "2", other).ok);
    const taken = outcomeOf(lab.docker(1), "run", "--rm", "--network", "lan1", "--ip", other, "box", "true");
    expect(taken).toMatchObject({ ok: false });
    expect(taken.text).toContain(`address ${other} of network lan-192.168.50.0-24 is held by host`);
  });

  it("keeps the hosts' own addresses away from containers", () => {
    const address = lab.net.host(2).address;
    const taken = outcomeOf(
      lab.docker(1),
      "run",
      "--rm",
      "--network",
      "lan1",
      "--ip",
      address,
      "box",
      "true",
    );
    expect(taken.text).toContain(`${address} is excluded`);
  });

  it("makes no network of the overlay of it", () => {
    for (const docker of lab.dockers) expect(docker.host.run("ip", "-o", "link")).not.toContain("tb-");
  });
});
