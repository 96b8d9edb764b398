/** The plugin on hosts that are not fresh: bridges of others, devices with our subnet, a read-only /proc/sys. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AnyJson, type CniContainer, CniHost, SUBNET_ENV } from "../../support/cni-host.ts";
import { PROGRAMS } from "../../support/hosts.ts";
import { describeAsRoot } from "../../support/netns.ts";

const PLUGIN = `${PROGRAMS}/tulle-cni`;
const BOTH = [...SUBNET_ENV.v4, ...SUBNET_ENV.v6, ...SUBNET_ENV.rest];

describeAsRoot("tulle-cni on a host", () => {
  let host: CniHost;
  beforeEach(() => {
    host = new CniHost("host");
    host.writeSubnetEnv(BOTH);
  });
  afterEach(() => host.dispose());

  const ip = (text: string) => host.netns.exec("ip", text.split(" "));
  const add = (container: CniContainer, call: AnyJson = {}) => {
    const answer = host.call("ADD", { container, ...call });
    expect(answer.exitCode, answer.stdout).toBe(0);
    return answer.json;
  };
  const check = (container: CniContainer, prevResult: AnyJson) =>
    host.call("CHECK", { container, config: { prevResult } });
  /** In a mount namespace with /sys of the host's network namespace, as on a real host. */
  const withOwnSysfs = {
    program: ["unshare", "--mount", "sh", "-c", 'mount -t sysfs sysfs /sys && exec "$0"', PLUGIN],
  };

  describe("whose bridge was there before", () => {
    const macOf = (name: string) => host.links().get(name).address;
    const assignType = () =>
      host.netns.exec("unshare", [
        ...["--mount", "sh", "-c"],
        "mount -t sysfs sysfs /sys && cat /sys/class/net/cni0/addr_assign_type",
      ]);

    it.each<[string, AnyJson]>([
      ["sysfs is the host's", withOwnSysfs],
      ["sysfs is another namespace's", {}],
    ])("keeps its hardware address for good: %s", (_, call) => {
      ip("link add cni0 type bridge");
      ip("link set cni0 up");
      const before = macOf("cni0");
      const [one, two] = [host.addContainer(), host.addContainer()];
      const results = [one, two].map((container) => [container, add(container, call)] as const);
      expect(macOf("cni0")).toBe(before);
      expect(assignType().trim()).toBe("3");
      for (const [container, result] of results) {
        expect(result.interfaces[0].mac).toBe(before);
        expect(check(container, result)).toMatchObject({ exitCode: 0, stdout: "" });
      }
    });

    it.each<[string, AnyJson]>([
      ["sysfs is the host's", withOwnSysfs],
      ["sysfs is another namespace's", {}],
    ])("and that has the gateway's address and ports: %s", (_, call) => {
      ip("link add cni0 type bridge");
      ip("link set cni0 up");
      ip("address add 10.5.72.1/24 dev cni0");
      ip("link add name other0 address fe:ff:ff:ff:ff:fe type veth peer name other1");
      ip("link set other0 master cni0");
      expect(macOf("cni0")).toBe("fe:ff:ff:ff:ff:fe");
      host.writeSubnetEnv([...SUBNET_ENV.v4, ...SUBNET_ENV.rest]);
      const container = host.addContainer();
      const result = add(container, call);
      expect(macOf("cni0")).toBe("fe:ff:ff:ff:ff:fe");
      ip("link delete other0");
      expect(macOf("cni0")).toBe("fe:ff:ff:ff:ff:fe");
      expect(check(container, result)).toMatchObject({ exitCode: 0, stdout: "" });
    });

    it("and that is another's to manage: it may follow its ports, and accept_ra stays", () => {
      ip("link add br9 type bridge");
      ip("link set br9 up");
      const container = host.addContainer();
      const delegate = { bridge: "br9", isGateway: false };
      const result = add(container, { config: { delegate } });
      expect(result.interfaces[0].mac).toBe(macOf("br9"));
      expect(host.netns.exec("sysctl", ["-n", "net.ipv6.conf.br9.accept_ra"]).trim()).toBe("1");
      ip("link set br9 address 02:00:00:00:00:09");
      expect(host.call("CHECK", { container, config: { delegate, prevResult: result } })).toMatchObject({
        exitCode: 0,
        stdout: "",
      });
    });

    it("does not lose its neighbours with every container", () => {
      const [one, two] = [host.addContainer(), host.addContainer()];
      add(one, withOwnSysfs);
      ip("neigh replace 10.5.72.99 lladdr 02:00:00:00:00:99 dev cni0 nud reachable");
      add(two, withOwnSysfs);
      expect(ip("neigh show 10.5.72.99")).toContain("02:00:00:00:00:99");
    });
  });

  it("gives every device that it makes a hardware address that udev leaves alone", () => {
    const container = host.addContainer();
    add(container);
    const typeIn = (netns: CniContainer["netns"], name: string) =>
      netns
        .exec("unshare", [
          ...["--mount", "sh", "-c"],
          `mount -t sysfs sysfs /sys && cat /sys/class/net/${name}/addr_assign_type`,
        ])
        .trim();
    const port = [...host.links().keys()].find((name) => name.startsWith("veth")) ?? "";
    expect([typeIn(host.netns, "cni0"), typeIn(host.netns, port), typeIn(container.netns, "eth0")]).toEqual([
      "3",
      "3",
      "3",
    ]);
  });

  it("sets broadcast addresses, and takes no routes from containers", () => {
    const container = host.addContainer();
    add(container);
    const broadcastOf = (netns: CniContainer["netns"], name: string) =>
      (netns.ipJson(["-4", "address", "show", name])[0] as AnyJson).addr_info[0].broadcast;
    expect([broadcastOf(host.netns, "cni0"), broadcastOf(container.netns, "eth0")]).toEqual([
      "10.5.72.255",
      "10.5.72.255",
    ]);
    const port = [...host.links().keys()].find((name) => name.startsWith("veth")) ?? "";
    for (const name of ["cni0", port]) {
      expect(host.netns.exec("sysctl", ["-n", `net.ipv6.conf.${name}.accept_ra`]).trim()).toBe("0");
    }
  });

  it("sets accept_ra on a bridge that was there before", () => {
    ip("link add cni0 type bridge");
    add(host.addContainer());
    expect(host.netns.exec("sysctl", ["-n", "net.ipv6.conf.cni0.accept_ra"]).trim()).toBe("0");
  });

  describe("where another device has the subnet", () => {
    it.each([
      ["the same", "10.5.72.1/24"],
      ["another address of it", "10.5.72.200/24"],
      ["half of it", "10.5.72.129/25"],
      ["the gateway's address", "10.5.72.1/32"],
      ["the IPv6 one", "fd00:5:0:72::1/64"],
    ])("ADD names it and STATUS answers 50: %s", (_, address) => {
      ip("link add docker0 type bridge");
      ip(`address add ${address} dev docker0`);
      const container = host.addContainer();
      expect(host.call("ADD", { container }).json).toMatchObject({
        code: 100,
        msg: expect.stringContaining(`docker0 holds ${address}`),
        details: expect.stringContaining("another subnet"),
      });
      expect(host.leftovers()).toEqual([]);
      expect(host.call("STATUS", { config: { cniVersion: "1.1.0" } }).json).toMatchObject({
        code: 50,
        msg: expect.stringContaining("docker0"),
      });
      ip("link delete docker0");
      add(container);
    });

    it("also when it came later, and STATUS says so while containers run", () => {
      add(host.addContainer());
      ip("link add docker0 type bridge");
      ip("address add 10.5.72.1/24 dev docker0");
      const { json } = host.call("ADD", { container: host.addContainer() });
      expect(json).toMatchObject({ code: 100, msg: expect.stringContaining("docker0") });
      expect(host.call("STATUS", { config: { cniVersion: "1.1.0" } }).json).toMatchObject({ code: 50 });
    });

    it.each([
      ["a wider one", "10.5.0.1/16"],
      ["the tunnel device's address", "10.5.72.0/32"],
      ["a neighbour of it", "10.5.73.1/24"],
    ])("but not for %s", (_, address) => {
      ip("link add other0 type bridge");
      ip(`address add ${address} dev other0`);
      expect(host.call("STATUS", { config: { cniVersion: "1.1.0" } })).toMatchObject({ exitCode: 0 });
      add(host.addContainer());
    });

    it("nor where the bridge has no gateway's address", () => {
      ip("link add docker0 type bridge");
      ip("address add 10.5.72.1/24 dev docker0");
      add(host.addContainer(), { config: { delegate: { isGateway: false } } });
    });
  });

  describe("whose /proc/sys is read-only", () => {
    const readOnly = {
      program: [
        ...["unshare", "--mount", "sh", "-c"],
        'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$0"',
        PLUGIN,
      ],
    };
    const forward = (value: string) =>
      host.netns.exec("sysctl", [
        "-qw",
        `net.ipv4.ip_forward=${value}`,
        `net.ipv6.conf.all.forwarding=${value}`,
      ]);

    it("attaches where the host forwards already", () => {
      forward("1");
      const container = host.addContainer();
      const result = add(container, readOnly);
      expect(check(container, result)).toMatchObject({ exitCode: 0, stdout: "" });
      expect(container.netns.exec("ping", ["-c1", "-W2", "10.5.72.1"])).toContain(" 0% packet loss");
    });

    it("says which setting is missing where it does not", () => {
      forward("0");
      const { json } = host.call("ADD", { container: host.addContainer(), ...readOnly });
      expect(json).toMatchObject({
        code: 100,
        msg: expect.stringMatching(/net\/ipv4\/ip_forward is 0 and cannot be set to 1.*EROFS/),
        details: expect.stringContaining("sysctl -w net/ipv4/ip_forward=1"),
      });
      expect(host.leftovers()).toEqual([]);
    });

    it("says so where the container's IPv6 is off and an IPv6 address is wanted", () => {
      forward("1");
      const container = host.addContainer();
      container.netns.exec("sysctl", ["-qw", "net.ipv6.conf.default.disable_ipv6=1"]);
      expect(host.call("ADD", { container, ...readOnly }).json).toMatchObject({
        code: 100,
        msg: expect.stringContaining("net/ipv6/conf/eth0/disable_ipv6 is 1"),
      });
      host.writeSubnetEnv([...SUBNET_ENV.v4, ...SUBNET_ENV.rest]);
      add(container, readOnly);
    });
  });

  it("turns IPv6 on in a container that a runtime started without it", () => {
    const container = host.addContainer();
    container.netns.exec("sysctl", [
      "-qw",
      "net.ipv6.conf.all.disable_ipv6=1",
      "net.ipv6.conf.default.disable_ipv6=1",
    ]);
    add(container);
    for (const name of ["lo", "eth0"]) {
      const setting = `net.ipv6.conf.${name}.disable_ipv6`;
      expect(container.netns.exec("sysctl", ["-n", setting]).trim()).toBe("0");
    }
    expect(container.netns.exec("ping", ["-c1", "-W2", "fd00:5:0:72::1"])).toContain(" 0% packet loss");
  });

  it.each([
    ["a group address", "01:00:5e:00:00:01"],
    ["all zero", "00:00:00:00:00:00"],
  ])("rejects %s as a container's hardware address", (_, mac) => {
    const config = { runtimeConfig: { mac } };
    expect(host.call("ADD", { container: host.addContainer(), config }).json).toMatchObject({
      code: 7,
      msg: expect.stringContaining(`mac: "${mac}"`),
    });
    expect(host.leftovers()).toEqual([]);
  });
});
