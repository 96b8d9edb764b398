/** Compose files over named networks: one that makes its network, and one that finds it, on two hosts. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { copyCompose, describeWithCompose } from "../../support/compose.ts";
import type { DockerHost } from "../../support/docker.ts";
import { create, DockerLab, networksOf, pings, until } from "../../support/docker-lab.ts";

/** Its network appears on the second host with the labels by which compose knows its own. */
const OWN_NETWORK = `
services:
  web:
    image: box
    command: sleep 100000
    stop_grace_period: 0s
    networks:
      back:
        aliases: [site]
        ipv4_address: 10.5.0.80
networks:
  back:
    driver: tulle
    ipam:
      driver: tulle
      config:
        - subnet: 10.5.0.0/24
`;

const EXTERNAL_NETWORK = `
services:
  client:
    image: box
    command: sleep 100000
    stop_grace_period: 0s
    deploy:
      replicas: 2
    networks: [back, shared]
networks:
  back:
    name: shop_back
    external: true
  shared:
    external: true
`;

describeWithCompose("compose files", (engines) => {
  let lab: DockerLab;
  let host1: DockerHost;
  let host2: DockerHost;
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "tulle-compose-"));
    const program = copyCompose(folder);
    compose = (docker, project, file, ...args) =>
      docker.run(
        ...["env", "DOCKER_HOST=unix:///run/docker.sock", `HOME=${folder}`, "timeout", "60", program],
        ...["--project-name", project, "--file", join(folder, file), ...args],
      );
    lab = new DockerLab("compose", 2, engines);
    await lab.build();
    [host1, host2] = [lab.docker(1), lab.docker(2)];
    writeFileSync(join(folder, "own.yaml"), OWN_NETWORK);
    writeFileSync(join(folder, "external.yaml"), EXTERNAL_NETWORK);
    create(host1, "shared");
    await until(() => networksOf(host2).includes("shared"));
  });
  afterAll(async () => {
    await lab?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  let compose: (docker: DockerHost, project: string, file: string, ...args: readonly string[]) => string;

  it("bring up a network of the driver and a service with alias and fixed address", async () => {
    compose(host1, "shop", "own.yaml", "up", "--detach");
    await until(() => networksOf(host2).includes("shop_back"));
    const format = "{{.NetworkSettings.Networks.shop_back.IPAddress}}";
    expect(host1.docker("inspect", "--format", format, "shop-web-1")).toBe("10.5.0.80");
  });

  it("join the network on another host, and find service, alias and container by name", async () => {
    compose(host2, "clients", "external.yaml", "up", "--detach");
    for (const name of ["web", "site", "shop-web-1"])
      await until(() => pings(host2, "clients-client-1", name), 30_000);
    // The replicas share the name of their service.
    await until(() => pings(host1, "shop-web-1", "client"), 30_000);
    await until(() => {
      const found = host1.exec("shop-web-1", "nslookup", "client.").match(/Address: 10\.5\.0\.\d+/g);
      return new Set(found).size === 2;
    }, 30_000);
  });

  it("are brought up again without a change, also by the same project on another host", async () => {
    compose(host1, "shop", "own.yaml", "up", "--detach");
    const id = () => host2.docker("network", "inspect", "--format", "{{.Id}}", "shop_back");
    const before = id();
    const moved = OWN_NETWORK.replace("10.5.0.80", "10.5.0.81").replace("[site]", "[second]");
    writeFileSync(join(folder, "second.yaml"), moved);
    compose(host2, "shop", "second.yaml", "up", "--detach");
    expect(id()).toBe(before);
    await until(() => pings(host1, "shop-web-1", "second"), 30_000);
    host2.docker("rm", "--force", "shop-web-1");
  });

  it("down leaves networks that others use, and removes them with the last user", async () => {
    compose(host2, "clients", "external.yaml", "down");
    expect(networksOf(host2)).toContain("shared");
    compose(host1, "shop", "own.yaml", "down");
    for (const docker of [host1, host2]) await until(() => !networksOf(docker).includes("shop_back"), 30_000);
    for (const { host } of lab.dockers)
      await until(() => !/\bt[pcbv]-/.test(host.run("ip", "-o", "link")), 30_000);
  });
});
