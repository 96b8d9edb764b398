/** Direct routes lie on the host's own interface, beside an administrator's: which of them are ours, after a crash too. */

import { readFileSync, rmSync } from "node:fs";
import { beforeAll, expect, it } from "vitest";
import { type Container, describeWithEtcd, ping, TULLE, useEtcdLab } from "../support/hosts.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan", DirectRouting: true } };
const WAIT = { timeout: 15_000, interval: 30 };

describeWithEtcd("direct routes", () => {
  const net = useEtcdLab("shared", { hosts: 3, config: CONFIG });
  let here: Container;
  let there: Container;
  const flags = () => net.flags.filter((flag) => !flag.startsWith("-iface"));
  const host = () => net.host(2);
  const routes = () => host().netns.exec("ip", ["route", "show"]);
  const directRoutes = (device: string) =>
    routes()
      .split("\n")
      .filter((line) => line.includes(`dev ${device} `) && line.includes("proto 116"));

  beforeAll(async () => {
    const { netns } = host();
    netns.ip(
      "address add 172.30.0.2/24 dev eth0",
      "route add 10.2.200.0/24 via 192.168.50.9 proto static",
      "route add 10.2.201.0/24 via 192.168.50.9",
    );
    await Promise.all([host(), net.host(3)].map(({ daemon }) => daemon.start(...flags())));
    here = host().addContainer();
    there = net.host(3).addContainer();
  });

  const expectAdministratorsRoutes = () => {
    expect(routes()).toMatch(/10\.2\.200\.0\/24 via \S+ dev eth0 proto static/);
    expect(routes()).toMatch(/10\.2\.201\.0\/24 via \S+ dev eth0/);
  };

  it("of a daemon that was killed are taken over on another interface", async () => {
    const { netns, daemon } = host();
    await expect.poll(() => directRoutes("eth0"), WAIT).toHaveLength(1);
    await daemon.kill();
    netns.ip(`link add ens8 up type veth peer name host2c netns ${net.lab.lan.name}`);
    net.lab.lan.ip("link set host2c master lan up");
    netns.ip(
      "route delete default",
      // With its second address the interface keeps its routes.
      "address delete 192.168.50.12/24 dev eth0",
      "address add 192.168.50.12/24 brd + dev ens8",
      "route add default via 192.168.50.1 dev ens8",
    );
    // Of a peer that left meanwhile.
    netns.ip("route add 10.2.78.0/24 via 172.30.0.9 dev eth0 proto 116");
    expect(directRoutes("eth0")).toHaveLength(2);
    await daemon.start(...flags());
    await expect.poll(() => directRoutes("ens8"), WAIT).toHaveLength(1);
    expect(directRoutes("eth0")).toEqual([]);
    expectAdministratorsRoutes();
    await expect.poll(async () => (await ping(here.netns, there.address, 3)).lost.length, WAIT).toBe(0);
  });

  it("leave the record of interfaces with the last of them", async () => {
    const record = () => JSON.parse(readFileSync(`${host().stateDirectory}/owned.json`, "utf8"));
    await expect.poll(() => record().interfaces, WAIT).toEqual(["ens8"]);
    expect(record().devices).toEqual(["flannel.1"]);
  });

  it("are found by cleanup without subnet.env", async () => {
    await host().daemon.kill();
    expect(directRoutes("ens8")).toHaveLength(1);
    rmSync(`${host().runDirectory}/flannel/subnet.env`);
    const state = `--state-dir=${host().stateDirectory}`;
    host().run(...TULLE, "cleanup", net.flags[0] ?? "", state);
    expect(directRoutes("ens8")).toEqual([]);
    expectAdministratorsRoutes();
  });
});
