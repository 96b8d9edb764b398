/** ADD, CHECK and DEL of the built plugin against the kernel. */

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AnyJson, type CniCall, CniHost, NODE_FORM, SUBNET_ENV } from "../../support/cni-host.ts";
import { canCreateNetns, describeAsRoot } from "../../support/netns.ts";
import { PROGRAMS } from "../../support/programs.ts";

const VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/** False on kernels without CONFIG_BRIDGE_VLAN_FILTERING. */
const knowsVlans = bridgesKnowVlans();

function bridgesKnowVlans(): boolean {
  if (!canCreateNetns()) return false;
  const script = "ip link add name br0 type bridge vlan_filtering 1";
  return spawnSync("unshare", ["--net", "sh", "-c", script]).status === 0;
}

describeAsRoot("an attachment", () => {
  let host: CniHost;
  beforeEach(() => {
    host = new CniHost("life");
  });
  afterEach(() => host.dispose());

  const DUAL = [...SUBNET_ENV.v4, ...SUBNET_ENV.v6, ...SUBNET_ENV.rest];

  describe.each<[string, CniCall]>([
    ["the built plugin", {}],
    ["its Node form", { program: NODE_FORM }],
  ])("of %s", (_, form) => {
    it.each(VERSIONS)("is made and removed in version %s", (cniVersion) => {
      host.writeSubnetEnv(DUAL);
      const container = host.addContainer();
      const call = (verb: string, more = {}) =>
        host.call(verb, { ...form, container, config: { cniVersion, ...more } });
      const added = call("ADD");
      expect(added).toMatchObject({ exitCode: 0, json: { cniVersion }, stderr: "" });
      const prevResult = added.json;
      const supportsCheck = !["0.1.0", "0.2.0", "0.3.0", "0.3.1"].includes(cniVersion);
      const checked = call("CHECK", { prevResult });
      expect(checked.json).toEqual(supportsCheck ? null : expect.objectContaining({ code: 1 }));
      expect(call("DEL", { prevResult })).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
      expect(host.leftovers()).toEqual([]);
      expect(container.netns.ipJson(["link", "show", "type", "veth"])).toEqual([]);
    });
  });

  it("has the addresses, routes and MTU that the result names", () => {
    host.writeSubnetEnv(DUAL);
    const container = host.addContainer();
    const { json } = host.call("ADD", { container, config: { cniVersion: "1.1.0" } });
    const port = json.interfaces[1].name;
    expect(json.interfaces).toEqual([
      { name: "cni0", mac: host.links().get("cni0").address, mtu: 1450 },
      { name: port, mac: host.links().get(port).address, mtu: 1450 },
      { name: "eth0", mac: expect.any(String), mtu: 1450, sandbox: container.netns.path },
    ]);
    expect(json.ips).toEqual([
      { interface: 2, address: "10.5.72.2/24", gateway: "10.5.72.1" },
      { interface: 2, address: "fd00:5:0:72::2/64", gateway: "fd00:5:0:72::1" },
    ]);
    expect(host.links().get(port)).toMatchObject({
      master: "cni0",
      linkinfo: { info_slave_data: { hairpin: true } },
    });
    const routes = [...container.netns.ipJson(["route"]), ...container.netns.ipJson(["-6", "route"])];
    for (const { dst, gw } of json.routes) {
      const name = dst.endsWith("/0") ? "default" : dst;
      expect(routes).toContainEqual(
        expect.objectContaining({ dst: name, gateway: gw ?? expect.any(String) }),
      );
    }
    expect(container.netns.exec("ping", ["-c1", "-W2", "10.5.72.1"])).toContain(" 0% packet loss");
    expect(container.netns.exec("ping", ["-c1", "-W2", "fd00:5:0:72::1"])).toContain(" 0% packet loss");
  });

  it("reaches its neighbour on the same host, both ways and by its own address through the bridge", () => {
    const [one, two] = [host.addContainer(), host.addContainer()];
    for (const container of [one, two]) expect(host.call("ADD", { container }).exitCode).toBe(0);
    expect(one.netns.exec("ping", ["-c1", "-W2", "10.5.72.3"])).toContain(" 0% packet loss");
    expect(two.netns.exec("ping", ["-c1", "-W2", "10.5.72.2"])).toContain(" 0% packet loss");
  });

  it("keeps the bridge's hardware address when others come and go", () => {
    const [one, two] = [host.addContainer(), host.addContainer()];
    host.call("ADD", { container: one });
    const before = host.links().get("cni0").address;
    host.call("ADD", { container: two });
    host.call("DEL", { container: one });
    expect(host.links().get("cni0").address).toBe(before);
  });

  it("can be made twice in one container under two names", () => {
    const container = host.addContainer();
    const config = { delegate: {} };
    for (const CNI_IFNAME of ["eth0", "net1"]) {
      expect(host.call("ADD", { container, config, environment: { CNI_IFNAME } }).exitCode).toBe(0);
    }
    expect(host.call("DEL", { container, environment: { CNI_IFNAME: "eth0" } }).exitCode).toBe(0);
    expect(host.reservations()).toEqual(["10.5.72.3"]);
    expect(container.netns.ipJson(["link", "show", "type", "veth"])).toHaveLength(1);
  });

  describe("options", () => {
    const add = (delegate: AnyJson, more: AnyJson = {}, environment = {}) => {
      const container = host.addContainer();
      const answer = host.call("ADD", {
        container,
        config: { cniVersion: "1.1.0", delegate, ...more },
        environment,
      });
      expect(answer.exitCode, answer.stdout).toBe(0);
      const result = answer.json;
      return { container, result, port: host.links().get(result.interfaces[1].name) };
    };
    const linkOf = (container: AnyJson) =>
      container.netns.ipJson(["-d", "link", "show", "eth0"])[0] as AnyJson;

    it("bridge, mtu and portIsolation", () => {
      const { container, port } = add({ bridge: "br7", mtu: 1300, portIsolation: true });
      expect(port).toMatchObject({
        master: "br7",
        mtu: 1300,
        linkinfo: { info_slave_data: { isolated: true } },
      });
      expect(linkOf(container).mtu).toBe(1300);
    });

    it("promiscMode", () => {
      add({ promiscMode: true });
      expect(host.links().get("cni0").flags).toContain("PROMISC");
    });

    it.each([
      ["runtimeConfig", { runtimeConfig: { mac: "02:00:00:00:00:77", ips: ["10.5.72.77/24"] } }, {}],
      ["args", { args: { cni: { mac: "02:00:00:00:00:77", ips: ["10.5.72.77"] } } }, {}],
      ["CNI_ARGS", {}, { CNI_ARGS: "IgnoreUnknown=1;MAC=02:00:00:00:00:77;IP=10.5.72.77" }],
    ])("address and hardware address from %s", (_, more, environment) => {
      const { container, result } = add({}, more, environment);
      expect(result.ips[0].address).toBe("10.5.72.77/24");
      expect(linkOf(container).address).toBe("02:00:00:00:00:77");
    });

    it("ipMasq, given and by subnet.env, for the set of containers and no longer", () => {
      host.writeSubnetEnv([...SUBNET_ENV.v4, "FLANNEL_MTU=1450", "FLANNEL_IPMASQ=false"]);
      const { container } = add({});
      const rules = () => host.netns.exec("nft", ["list", "ruleset"]);
      expect(rules()).toMatch(/elements = \{ 10\.5\.72\.2 \}/);
      expect(rules()).toContain("ip saddr @containers ip daddr != { 10.5.0.0/16, 224.0.0.0/4 } masquerade");
      add({});
      host.call("DEL", { container, config: { delegate: {} } });
      expect(rules()).toMatch(/elements = \{ 10\.5\.72\.3 \}/);
    });

    it("no rule of ipMasq and macspoofchk once the last container is gone", () => {
      const delegate = { ipMasq: true, macspoofchk: true };
      const rules = () => host.netns.exec("nft", ["list", "ruleset"]);
      const before = rules();
      const [first, last] = [add(delegate), add(delegate)];
      for (const { container } of [first, last]) {
        expect(rules()).not.toBe(before);
        expect(host.call("DEL", { container, config: { delegate } }).exitCode).toBe(0);
      }
      expect(rules()).toBe(before);
    });

    it("rules of containers whose addresses are kept in another folder stay", () => {
      const delegate = { ipMasq: true };
      const { container } = add(delegate, { ipam: { dataDir: join(host.dir, "other") } });
      add(delegate, { runtimeConfig: { ips: ["10.5.72.9"] } });
      host.call("DEL", { container, config: { delegate } });
      expect(host.netns.exec("nft", ["list", "ruleset"])).toMatch(/elements = \{ 10\.5\.72\.9 \}/);
    });

    it("ipMasq by iptables, for both families and no longer", () => {
      host.writeSubnetEnv(DUAL);
      const delegate = { ipMasq: true, ipMasqBackend: "iptables" };
      const { container } = add(delegate);
      const rules = () =>
        ["iptables", "ip6tables"].map((tool) => host.netns.exec(tool, ["-t", "nat", "-S"])).join();
      expect(rules()).toMatch(
        /-A TULLE-CNI-\w+ -d 10\.5\.0\.0\/16 -j RETURN\n.*\n?-A TULLE-CNI-\w+ .*-j RETURN\n/,
      );
      expect(rules()).toMatch(/-A TULLE-CNI-\w+ -j MASQUERADE/);
      expect(rules()).toMatch(/-A POSTROUTING -s fd00:5:0:72::2\/128 -j TULLE-CNI/);
      expect(host.call("DEL", { container, config: { delegate } }).exitCode).toBe(0);
      expect(rules()).not.toContain("TULLE-CNI");
    });

    it("ipMasq by the tool of ADD, whatever is installed by the time of CHECK and DEL", () => {
      const rules = () => host.netns.exec("iptables", ["-t", "nat", "-S"]);
      const before = rules();
      const container = host.addContainer();
      const config = { cniVersion: "1.1.0", delegate: { ipMasq: true } };
      const hidden = 'mount --bind /dev/null "$(command -v nft)" && exec "$0"';
      const program = ["unshare", "--mount", "sh", "-c", hidden, join(PROGRAMS, "tulle-cni")];
      const added = host.call("ADD", { container, config, program });
      expect(added.exitCode, added.stdout).toBe(0);
      expect(rules()).toContain("TULLE-CNI");
      const checked = host.call("CHECK", { container, config: { ...config, prevResult: added.json } });
      expect(checked.exitCode, checked.stdout).toBe(0);
      expect(host.call("DEL", { container, config }).exitCode).toBe(0);
      expect(rules()).toBe(before);
    });

    it("macspoofchk drops foreign source addresses and nothing else", () => {
      const { container } = add({ macspoofchk: true });
      expect(container.netns.exec("ping", ["-c1", "-W1", "10.5.72.1"])).toContain(" 0% packet loss");
      container.netns.exec("ip", ["link", "set", "eth0", "address", "02:00:00:00:00:99"]);
      expect(() => container.netns.exec("ping", ["-c1", "-W1", "10.5.72.1"])).toThrow();
      host.call("DEL", { container, config: { delegate: { macspoofchk: true } } });
      expect(host.netns.exec("nft", ["list", "ruleset"])).not.toContain("veth");
    });

    it.skipIf(!knowsVlans)("vlan separates containers and has a gateway of its own", () => {
      const { container, port } = add({ vlan: 100, isGateway: true });
      const vlans = (JSON.parse(host.netns.exec("bridge", ["-j", "vlan"])) as AnyJson[]).find(
        ({ ifname }) => ifname === port.ifname,
      );
      expect(vlans.vlans).toContainEqual({ vlan: 100, flags: ["PVID", "Egress Untagged"] });
      expect(host.links().has("cni0.100")).toBe(true);
      expect(container.netns.exec("ping", ["-c1", "-W2", "10.5.72.1"])).toContain(" 0% packet loss");
      expect(host.call("DEL", { container }).exitCode).toBe(0);
      const again = add({ vlan: 100, isGateway: true });
      expect(again.container.netns.exec("ping", ["-c1", "-W2", "10.5.72.1"])).toContain(" 0% packet loss");
    });

    it.skipIf(!knowsVlans)("vlanTrunk lets tagged frames through", () => {
      const { port } = add({ vlanTrunk: [{ minID: 20, maxID: 21 }, { id: 30 }], preserveDefaultVlan: false });
      const vlans = JSON.parse(host.netns.exec("bridge", ["-j", "vlan"])) as AnyJson[];
      const own = vlans.find(({ ifname }) => ifname === port.ifname).vlans;
      expect(own.map(({ vlan }: AnyJson) => vlan)).toEqual([20, 21, 30]);
    });

    it.skipIf(knowsVlans)("vlan is refused clearly where the kernel's bridges lack it", () => {
      const container = host.addContainer();
      const { json } = host.call("ADD", { container, config: { delegate: { vlan: 100 } } });
      expect(json).toMatchObject({ code: 100, msg: "this kernel's bridges do not support VLANs" });
      expect(host.leftovers()).toEqual([]);
    });

    it("routes with their details, and the DNS part of resolvConf", () => {
      const resolvConf = join(host.dir, "resolv.conf");
      writeFileSync(resolvConf, "nameserver 10.5.0.10\nsearch a.example b.example\noptions ndots:5\n");
      const route = { dst: "192.0.2.0/24", gw: "10.5.72.1", mtu: 1400, advmss: 1360, priority: 7, table: 99 };
      const ipam = { dataDir: join(host.dir, "ipam"), routes: [route], resolvConf };
      const { container, result } = add({}, { ipam });
      expect(result.routes[0]).toEqual(route);
      expect(result.dns).toEqual({
        nameservers: ["10.5.0.10"],
        search: ["a.example", "b.example"],
        options: ["ndots:5"],
      });
      expect(container.netns.exec("ip", ["route", "show", "table", "99"])).toMatch(
        /192\.0\.2\.0\/24 via 10\.5\.72\.1 dev eth0 metric 7 mtu 1400 advmss 1360/,
      );
    });
  });

  it("has a record that holds the delegate's configuration, as flannel writes it", () => {
    const container = host.addContainer();
    host.call("ADD", { container });
    const [name = ""] = host.states();
    expect(name).toBe(`cbr0:${container.id}:eth0`);
    expect(JSON.parse(readFileSync(join(host.stateDir, name), "utf8"))).toEqual({
      cniVersion: "1.0.0",
      name: "cbr0",
      type: "bridge",
      hairpinMode: true,
      isDefaultGateway: true,
      isGateway: true,
      ipMasq: false,
      mtu: 1450,
      ipam: {
        type: "host-local",
        dataDir: join(host.dir, "ipam"),
        ranges: [[{ subnet: "10.5.72.0/24" }]],
        routes: [{ dst: "10.5.0.0/16" }],
      },
    });
  });
});
