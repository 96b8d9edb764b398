/** What goes wrong around the plugin: killed calls, lost parts, changed configurations, many calls at once. */

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type AnyJson,
  type CniContainer,
  CniHost,
  NETWORK_NAME,
  NODE_FORM,
  SUBNET_ENV,
} from "../../support/cni-host.ts";
import { describeAsRoot } from "../../support/netns.ts";

const KILLER = join(import.meta.dirname, "../../support/kill-at-effect.cjs");
const GC = { cniVersion: "1.1.0", "cni.dev/valid-attachments": [] };

describeAsRoot("tulle-cni in trouble", () => {
  let host: CniHost;
  beforeEach(() => {
    host = new CniHost("fault");
  });
  afterEach(() => host.dispose());

  const add = (container: CniContainer, config = {}) => {
    const answer = host.call("ADD", { container, config });
    expect(answer.exitCode, answer.stdout).toBe(0);
    return answer.json;
  };
  const reservationFile = (name: string) => join(host.dir, "ipam", NETWORK_NAME, name);

  it("leaves nothing after kill -9 before any effect of ADD, once DEL or GC was called", () => {
    const container = host.addContainer();
    const delegate = { isDefaultGateway: true, hairpinMode: true, ipMasq: true };
    let kills = 0;
    for (let effect = 1; effect < 100; effect++) {
      const environment = { NODE_OPTIONS: `--require=${KILLER}`, TULLE_KILL_AT: String(effect) };
      const call = { container, config: { delegate }, environment, program: NODE_FORM };
      const { exitCode } = host.call("ADD", call);
      const cleanUp = effect % 2 === 0 ? "DEL" : "GC";
      const cleaned = host.call(cleanUp, {
        container,
        config: { delegate, ...(cleanUp === "GC" ? GC : {}) },
      });
      expect(cleaned, `${cleanUp} after effect ${effect}`).toMatchObject({ exitCode: 0, stdout: "" });
      expect(host.leftovers(), `${cleanUp} after effect ${effect}`).toEqual([]);
      if (exitCode === 0) break;
      expect(exitCode, "killed").toBe(null);
      kills += 1;
    }
    expect(kills).toBeGreaterThan(15);
    expect(host.netns.exec("nft", ["list", "ruleset"])).not.toContain("elements");
  });

  it("serves twenty ADDs and twenty DELs at once", async () => {
    const containers = Array.from({ length: 20 }, () => host.addContainer());
    const added = await Promise.all(containers.map((container) => host.callAsync("ADD", { container })));
    expect(added.map(({ exitCode }) => exitCode)).toEqual(new Array(20).fill(0));
    const addresses = added.map(({ json }) => json.ips[0].address);
    expect(new Set(addresses).size).toBe(20);
    expect(new Set(added.map(({ json }) => json.interfaces[0].mac)).size).toBe(1);
    const removed = await Promise.all(containers.map((container) => host.callAsync("DEL", { container })));
    expect(removed.map(({ exitCode, stdout }) => [exitCode, stdout])).toEqual(new Array(20).fill([0, ""]));
    expect(host.leftovers()).toEqual([]);
  });

  describe("ADD that fails half-way leaves nothing", () => {
    const fail = (config: AnyJson, container = host.addContainer()) => {
      const answer = host.call("ADD", { container, config });
      expect(answer.exitCode).toBe(1);
      expect(host.leftovers()).toEqual([]);
      return answer.json;
    };

    it("because the container has such an interface", () => {
      const container = host.addContainer();
      container.netns.exec("ip", ["link", "add", "eth0", "type", "bridge"]);
      expect(fail({}, container)).toMatchObject({
        code: 100,
        msg: expect.stringContaining("eth0 in the container"),
      });
    });

    it("because a route leads nowhere", () => {
      const ipam = { dataDir: join(host.dir, "ipam"), routes: [{ dst: "192.0.2.0/24", gw: "203.0.113.1" }] };
      expect(fail({ ipam })).toMatchObject({ code: 100, msg: expect.stringContaining("ENETUNREACH") });
    });

    it("because the bridge's name belongs to another device", () => {
      host.netns.exec("ip", ["link", "add", "name", "taken", "type", "veth", "peer", "name", "other"]);
      const answer = host.call("ADD", {
        container: host.addContainer(),
        config: { delegate: { bridge: "taken" } },
      });
      expect(answer.json).toMatchObject({
        code: 100,
        msg: expect.stringContaining('"taken" exists but is not a bridge'),
      });
      expect([...host.reservations(), ...host.stateFiles()]).toEqual([]);
    });

    it("because no address is left, and says so with numbers", () => {
      host.writeSubnetEnv(["FLANNEL_NETWORK=10.5.0.0/16", "FLANNEL_SUBNET=10.5.72.1/30", ...SUBNET_ENV.rest]);
      const container = host.addContainer();
      add(container);
      const { json } = host.call("ADD", { container: host.addContainer() });
      expect(json).toMatchObject({ code: 101, msg: expect.stringContaining("of 2 addresses 1 are given") });
      expect(host.states()).toHaveLength(1);
    });
  });

  it("refuses a second ADD and leaves the first one as it is", () => {
    const container = host.addContainer();
    const prevResult = add(container);
    expect(host.call("ADD", { container }).json).toMatchObject({
      code: 7,
      msg: expect.stringContaining("already"),
    });
    expect(host.call("CHECK", { container, config: { prevResult } })).toMatchObject({
      exitCode: 0,
      stdout: "",
    });
  });

  it("frees the addresses of containers that died with an earlier boot", () => {
    const [alive, next] = [host.addContainer(), host.addContainer()];
    add(alive);
    writeFileSync(reservationFile("10.5.72.3"), "died\r\neth0");
    utimesSync(reservationFile("10.5.72.3"), 0, 0);
    writeFileSync(reservationFile("10.5.72.4"), "host-local's\r\neth0");
    writeFileSync(reservationFile(".tulle-boot"), "another-boot");
    add(next);
    expect(host.reservations()).toEqual(["10.5.72.2", "10.5.72.3", "10.5.72.4"]);
    expect(readFileSync(reservationFile("10.5.72.3"), "utf8")).toBe(`${next.id}\r\neth0`);
  });

  it("keeps addresses that host-local gave before the change-over", () => {
    mkdirSync(join(host.dir, "ipam", NETWORK_NAME), { recursive: true });
    writeFileSync(reservationFile("10.5.72.2"), "older\r\neth0");
    expect(add(host.addContainer()).ips[0].address).toBe("10.5.72.3/24");
  });

  describe("after the host's subnet changed", () => {
    const NEW = ["FLANNEL_NETWORK=10.5.0.0/16", "FLANNEL_SUBNET=10.5.99.1/24", ...SUBNET_ENV.rest];

    it("a bridge without containers gets the new address", () => {
      const [old, fresh] = [host.addContainer(), host.addContainer()];
      add(old);
      host.call("DEL", { container: old });
      host.writeSubnetEnv(NEW);
      add(fresh);
      const addresses = host.netns.ipJson(["-4", "address", "show", "cni0"])[0] as AnyJson;
      expect(addresses.addr_info.map(({ local }: AnyJson) => local)).toEqual(["10.5.99.1"]);
      expect(fresh.netns.exec("ping", ["-c1", "-W2", "10.5.99.1"])).toContain(" 0% packet loss");
    });

    it("a bridge without containers loses its former IPv6 address, and keeps one of the administrator", () => {
      const [old, fresh] = [host.addContainer(), host.addContainer()];
      host.writeSubnetEnv([...SUBNET_ENV.v4, ...SUBNET_ENV.v6, ...SUBNET_ENV.rest]);
      add(old);
      host.call("DEL", { container: old });
      host.netns.ip("address add 2001:db8::1/64 dev cni0");
      const subnet6 = ["FLANNEL_IPV6_NETWORK=fd00:5::/48", "FLANNEL_IPV6_SUBNET=fd00:5:0:99::1/64"];
      host.writeSubnetEnv([...SUBNET_ENV.v4, ...subnet6, ...SUBNET_ENV.rest]);
      add(fresh);
      const [bridge] = host.netns.ipJson(["-6", "address", "show", "cni0"]) as AnyJson[];
      const addresses = bridge.addr_info.map(({ local }: AnyJson) => local);
      expect(addresses.filter((local: string) => !local.startsWith("fe80:")).sort()).toEqual([
        "2001:db8::1",
        "fd00:5:0:99::1",
      ]);
    });

    it("a bridge with containers keeps it, and ADD and STATUS say what to do", () => {
      const [old, fresh] = [host.addContainer(), host.addContainer()];
      add(old);
      host.writeSubnetEnv(NEW);
      const { json } = host.call("ADD", { container: fresh });
      expect(json).toMatchObject({
        code: 100,
        msg: "cni0 holds 10.5.72.1/24 but this host's subnet now needs 10.5.99.1/24",
        details: expect.stringContaining("1 containers still use the old subnet: stop them"),
      });
      expect(host.states()).toHaveLength(1);
      expect(host.call("STATUS", { config: { cniVersion: "1.1.0" } }).json).toMatchObject({ code: 51 });
      add(fresh, { delegate: { isGateway: true, forceAddress: true } });
    });
  });

  describe("STATUS", () => {
    const status = () => host.call("STATUS", { config: { cniVersion: "1.1.0" } });

    it("is silent when ADD would work", () => {
      expect(status()).toMatchObject({ exitCode: 0, stdout: "" });
    });

    it("is silent where the bridge has an address of the administrator beside the gateway's", () => {
      add(host.addContainer());
      host.netns.ip("address add 192.0.2.1/24 dev cni0");
      add(host.addContainer());
      expect(status()).toMatchObject({ exitCode: 0, stdout: "" });
    });

    it("is 50 without subnet.env, with half of it, and without a free address", () => {
      rmSync(host.subnetFile);
      expect(status().json).toMatchObject({ code: 50, msg: expect.stringContaining(host.subnetFile) });
      host.writeSubnetEnv(["FLANNEL_NETWORK=10.5.0.0/16", "FLANNEL_SUB"]);
      expect(status().json).toMatchObject({ code: 50 });
      host.writeSubnetEnv(["FLANNEL_NETWORK=10.5.0.0/16", "FLANNEL_SUBNET=10.5.72.1/30", ...SUBNET_ENV.rest]);
      add(host.addContainer());
      expect(status().json).toMatchObject({ code: 50, msg: expect.stringContaining("no free address") });
    });
  });

  it("ADD without subnet.env asks to try again", () => {
    rmSync(host.subnetFile);
    const { json } = host.call("ADD", { container: host.addContainer() });
    expect(json).toMatchObject({ code: 11, msg: expect.stringContaining("tulled") });
  });

  it.each([
    ["reservations", "ipam", "read-only", "ro", "EROFS"],
    ["reservations", "ipam", "full", "nr_inodes=2", "ENOSPC"],
    ["records", "state", "read-only", "ro", "EROFS"],
    ["records", "state", "full", "nr_inodes=1", "ENOSPC"],
  ])("leaves nothing when the disk of the %s (%s) is %s, and names it", (_, folder, __, options, errno) => {
    const dir = join(host.dir, folder);
    mkdirSync(dir);
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tulle-cni-test", dir]);
    try {
      const container = host.addContainer();
      const { json } = host.call("ADD", { container });
      expect(json).toMatchObject({ code: 5, msg: expect.stringContaining(errno) });
      expect(json.msg).toContain(dir);
      expect(host.leftovers()).toEqual([]);
      expect(host.call("DEL", { container })).toMatchObject({ exitCode: 0, stdout: "" });
    } finally {
      execFileSync("umount", [dir]);
    }
  });
});
