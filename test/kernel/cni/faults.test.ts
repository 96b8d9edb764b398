/** What goes wrong around the plugin: killed calls, lost parts, changed configurations, many calls at once. */

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
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
import { PROGRAMS } from "../../support/hosts.ts";
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

  describe("DEL", () => {
    const del = (container: CniContainer, config = {}, environment = {}) => {
      expect(host.call("DEL", { container, config, environment })).toMatchObject({ exitCode: 0, stdout: "" });
      expect(host.leftovers()).toEqual([]);
    };

    it("of what never was, twice", () => {
      const container = host.addContainer();
      del(container);
      del(container);
    });

    it("with an empty namespace path", () => {
      const container = host.addContainer();
      add(container);
      del(container, {}, { CNI_NETNS: undefined });
    });

    it("after the namespace vanished, and where only its file is left", () => {
      for (const CNI_NETNS of ["/run/netns/tulle-nowhere", join(host.dir, "file")]) {
        writeFileSync(join(host.dir, "file"), "");
        const container = host.addContainer();
        add(container);
        container.netns.dispose();
        del(container, {}, { CNI_NETNS });
      }
    });

    it("without subnet.env", () => {
      const container = host.addContainer();
      add(container);
      rmSync(host.subnetFile);
      del(container);
    });

    it("where its warnings cannot be written, as to a log on a full disk", () => {
      const container = host.addContainer();
      add(container);
      rmSync(host.subnetFile);
      rmSync(host.stateDir, { recursive: true });
      const program = ["sh", "-c", 'exec "$0" 2>/dev/full', join(PROGRAMS, "tulle-cni")];
      expect(host.call("DEL", { container, program })).toMatchObject({ exitCode: 0 });
      expect(host.leftovers()).toEqual([]);
    });

    it.each([
      ["no", (file: string) => rmSync(file)],
      ["an empty", (file: string) => writeFileSync(file, "")],
      ["half a", (file: string) => writeFileSync(file, readFileSync(file).subarray(0, 40))],
    ])("with %s record", (_, damage) => {
      const container = host.addContainer();
      add(container);
      damage(join(host.stateDir, host.states()[0] ?? ""));
      del(container);
    });

    it("after the configuration changed to another bridge, type and folder", () => {
      const container = host.addContainer();
      add(container);
      del(container, {
        delegate: { type: "macvlan", master: "nothing" },
        ipam: { dataDir: join(host.dir, "other") },
      });
    });

    it("after the host's subnet changed", () => {
      const container = host.addContainer();
      add(container);
      host.writeSubnetEnv(["FLANNEL_NETWORK=10.9.0.0/16", "FLANNEL_SUBNET=10.9.3.1/24", ...SUBNET_ENV.rest]);
      del(container);
    });

    it("of a container whose id is too long for a record, which ADD refuses", () => {
      const container = host.addContainer();
      const environment = { CNI_CONTAINERID: "x".repeat(300) };
      expect(host.call("ADD", { container, environment }).json).toMatchObject({ code: 4 });
      del(container, {}, environment);
    });

    it("with the path of the host's own namespace: frees everything and says so by code 8", () => {
      const container = host.addContainer();
      add(container);
      const environment = { CNI_NETNS: "/proc/self/ns/net" };
      expect(host.call("DEL", { container, environment }).json).toMatchObject({ code: 8 });
      expect(host.leftovers()).toEqual([]);
      del(container, {}, { CNI_NETNS: undefined });
    });

    it.each([
      ["while its own exists", {}],
      ["after its own vanished, with the plugin bridge", { ipMasq: true }],
    ])("with the path of another container's namespace, %s: leaves that container alone", (_, delegate) => {
      const asked = join(host.dir, "asked");
      const bridge = join(host.pluginDir, "bridge");
      writeFileSync(bridge, `#!/bin/sh\necho "$CNI_COMMAND $CNI_NETNS" >>${asked}\n`, { mode: 0o755 });
      const [container, other] = [host.addContainer(), host.addContainer()];
      const config = { delegate: { isDefaultGateway: true, ...delegate } };
      add(container, config);
      const [port] = host.leftovers();
      const prevResult = add(other, config);
      if ("ipMasq" in delegate) host.netns.ip(`link delete ${port}`);
      const call = { container, config, environment: { CNI_NETNS: other.netns.path } };
      expect(host.call("DEL", call)).toMatchObject({ exitCode: 0, stdout: "" });
      expect(host.states()).toEqual([`cbr0:${other.id}:eth0`]);
      const check = host.call("CHECK", { container: other, config: { ...config, prevResult } });
      expect(check, check.stdout).toMatchObject({ exitCode: 0, stdout: "" });
      expect(existsSync(asked) ? readFileSync(asked, "utf8") : "").not.toContain(other.netns.path);
    });

    it("with the path of a namespace that is now of a container on a named network: leaves that one alone", () => {
      const [container, other] = [host.addContainer(), host.addContainer()];
      add(container);
      host.netns.ip(
        `link add tp-0123456789ab type veth peer name eth0 netns ${other.netns.name}`,
        "link set tp-0123456789ab up",
      );
      const environment = { CNI_NETNS: other.netns.path };
      expect(host.call("DEL", { container, environment })).toMatchObject({ exitCode: 0, stdout: "" });
      expect(other.netns.ipJson(["link", "show", "eth0"])).toHaveLength(1);
    });

    it("with a prevResult that makes no sense", () => {
      const container = host.addContainer();
      add(container);
      del(container, { prevResult: "nonsense" });
    });
  });

  it.each(["cni.dev/valid-attachments", "cni.dev/attachments"])(
    "GC frees what is not listed in %s and keeps what is",
    (key) => {
      const [kept, stale] = [host.addContainer(), host.addContainer()];
      const prevResult = add(kept);
      add(stale);
      writeFileSync(reservationFile("10.5.72.200"), "another\r\neth0");
      writeFileSync(reservationFile("10.5.72.201"), "");
      const config = { cniVersion: "1.1.0", [key]: [{ containerID: kept.id, ifname: "eth0" }] };
      expect(host.call("GC", { config })).toMatchObject({ exitCode: 0, stdout: "" });
      expect(host.reservations()).toEqual(["10.5.72.2"]);
      expect(host.states()).toEqual([`cbr0:${kept.id}:eth0`]);
      expect(host.call("CHECK", { container: kept, config: { prevResult } }).exitCode).toBe(0);
    },
  );

  it("GC without a list frees nothing, and says so", () => {
    add(host.addContainer());
    const answer = host.call("GC", { config: { cniVersion: "1.1.0" } });
    expect(answer).toMatchObject({ exitCode: 0, stdout: "" });
    expect(answer.stderr).toContain("cni.dev/valid-attachments is missing");
    expect(host.reservations()).toHaveLength(1);
  });

  it("GC rejects what is not a list, and a null list is an empty one, as Go writes it", () => {
    add(host.addContainer());
    const call = (list: string | null) =>
      host.call("GC", {
        stdin: JSON.stringify({ ...host.config, ...GC, "cni.dev/valid-attachments": list }),
      });
    expect(call("all").json).toMatchObject({ code: 7, msg: expect.stringContaining('"all" is not a list') });
    expect(host.reservations()).toHaveLength(1);
    expect(call(null)).toMatchObject({ exitCode: 0, stdout: "" });
    expect(host.reservations()).toEqual([]);
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

  it("reads what flannel left, so that its containers can be removed", () => {
    const container = host.addContainer();
    mkdirSync(join(host.dir, "ipam", NETWORK_NAME), { recursive: true });
    mkdirSync(host.stateDir);
    writeFileSync(reservationFile("10.5.72.9"), `${container.id}\r\neth0`);
    const delegate = {
      type: "bridge",
      name: NETWORK_NAME,
      ipam: { type: "host-local", dataDir: join(host.dir, "ipam") },
    };
    writeFileSync(join(host.stateDir, container.id), JSON.stringify(delegate));
    container.netns.exec("ip", ["link", "add", "eth0", "type", "veth", "peer", "name", "far"]);
    expect(host.call("DEL", { container }).exitCode).toBe(0);
    expect(host.leftovers()).toEqual([]);
    expect(container.netns.ipJson(["link", "show", "type", "veth"])).toEqual([]);
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
