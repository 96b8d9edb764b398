/** CHECK after every kind of damage, each made by hand as an administrator or another program would. */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type AnyJson, type CniContainer, CniHost, NETWORK_NAME } from "../../support/cni-host.ts";
import { describeAsRoot } from "../../support/netns.ts";

type Damage = (host: CniHost, container: CniContainer) => void;

/** `ip` in the container. */
const inContainer =
  (...args: string[]): Damage =>
  (_, { netns }) =>
    void netns.exec("ip", args);
/** `ip` on the host, `PORT` standing for the host's end of the pair. */
const onHost =
  (...args: string[]): Damage =>
  (host) => {
    const port = [...host.links().keys()].find((name) => name.startsWith("veth")) ?? "";
    host.netns.exec(
      "ip",
      args.map((arg) => (arg === "PORT" ? port : arg)),
    );
  };
const both =
  (...damages: Damage[]): Damage =>
  (host, container) => {
    for (const damage of damages) damage(host, container);
  };
const flushRules: Damage = (host) => void host.netns.exec("nft", ["flush", "ruleset"]);
const emptyChains =
  (tool: string): Damage =>
  (host) =>
    void host.netns.exec(tool, ["-t", "nat", "-F"]);

const DAMAGES: [string, Damage, RegExp][] = [
  ["interface gone", inContainer("link", "del", "eth0"), /eth0 is missing/],
  ["interface down", inContainer("link", "set", "eth0", "down"), /eth0 is down/],
  ["another MTU", inContainer("link", "set", "eth0", "mtu", "1400"), /MTU 1400, not 1450/],
  ["address gone", inContainer("address", "flush", "dev", "eth0"), /lacks 10\.5\.72\.2\/24/],
  ["route gone", inContainer("route", "del", "default"), /route to 0\.0\.0\.0\/0 is missing/],
  [
    "another hardware address",
    inContainer("link", "set", "eth0", "address", "02:00:00:00:00:01"),
    /eth0 has address 02:00:00:00:00:01/,
  ],
  [
    "a wrong neighbour",
    inContainer("neigh", "replace", "10.5.72.1", "lladdr", "02:00:00:00:00:01", "dev", "eth0"),
    /gateway 10\.5\.72\.1 is 02:00:00:00:00:01/,
  ],
  ["not a port of the bridge", onHost("link", "set", "PORT", "nomaster"), /is not a port of cni0/],
  ["the host's end down", onHost("link", "set", "PORT", "down"), /veth\w+ is down/],
  [
    "another name of the host's end",
    both(onHost("link", "set", "PORT", "down"), onHost("link", "set", "PORT", "name", "other0")),
    /the host's end is other0/,
  ],
  ["bridge gone", onHost("link", "del", "cni0"), /bridge cni0 is missing/],
  [
    "gateway's address gone",
    onHost("address", "flush", "dev", "cni0"),
    /cni0 lacks the gateway's address 10\.5\.72\.1\/24/,
  ],
  [
    "gateway's address of another length",
    both(onHost("address", "flush", "dev", "cni0"), onHost("address", "add", "10.5.72.1/16", "dev", "cni0")),
    /cni0 lacks the gateway's address 10\.5\.72\.1\/24/,
  ],
  [
    "forwarding off",
    (host) => void host.netns.exec("sysctl", ["-qw", "net.ipv4.ip_forward=0"]),
    /the host does not forward IPv4/,
  ],
  [
    "reservation gone",
    (host) => rmSync(join(host.dir, "ipam", NETWORK_NAME, "10.5.72.2")),
    /10\.5\.72\.2 is not reserved/,
  ],
];

/** What the kernel, udev or a bridge may change while the container works as it did. */
const HARMLESS: [string, Damage][] = [
  [
    "udev gave the host's end another hardware address",
    onHost("link", "set", "PORT", "address", "02:00:00:00:00:01"),
  ],
  [
    "the bridge got another hardware address, which the container has not seen yet",
    both(
      inContainer(
        "neigh",
        "replace",
        "10.5.72.1",
        "lladdr",
        "02:00:00:00:00:07",
        "dev",
        "eth0",
        "nud",
        "stale",
      ),
      onHost("link", "set", "cni0", "address", "02:00:00:00:00:02"),
    ),
  ],
  ["another program added an address", inContainer("address", "add", "192.0.2.1/32", "dev", "eth0")],
  ["another program added a route", inContainer("route", "add", "192.0.2.0/24", "dev", "eth0")],
];

const RULES: [string, AnyJson, Damage, RegExp][] = [
  ["ipMasq by nftables", { ipMasq: true, ipMasqBackend: "nftables" }, flushRules, /is not masqueraded/],
  [
    "ipMasq by iptables",
    { ipMasq: true, ipMasqBackend: "iptables" },
    emptyChains("iptables"),
    /is not masqueraded/,
  ],
  ["macspoofchk", { macspoofchk: true }, flushRules, /may send from other hardware addresses/],
];

describeAsRoot("CHECK", () => {
  let host: CniHost;
  let container: CniContainer;
  beforeEach(() => {
    host = new CniHost("check");
    container = host.addContainer();
  });
  afterEach(() => host.dispose());

  const add = (config: AnyJson = {}) => {
    const answer = host.call("ADD", { container, config });
    expect(answer.exitCode, answer.stdout).toBe(0);
    return answer.json;
  };
  const check = (config: AnyJson) => host.call("CHECK", { container, config });

  it.each(DAMAGES)("names damage: %s", (_, spoil, expected) => {
    const prevResult = add();
    expect(check({ prevResult })).toMatchObject({ exitCode: 0, stdout: "" });
    spoil(host, container);
    expect(check({ prevResult }).json).toMatchObject({ code: 102, msg: expect.stringMatching(expected) });
  });

  it.each(HARMLESS)("finds nothing wrong after: %s", (_, change) => {
    const prevResult = add();
    change(host, container);
    expect(check({ prevResult })).toMatchObject({ exitCode: 0, stdout: "" });
  });

  it.each(RULES)("names rules that are gone: %s", (_, delegate, spoil, expected) => {
    const prevResult = add({ delegate });
    expect(check({ delegate, prevResult })).toMatchObject({ exitCode: 0, stdout: "" });
    spoil(host, container);
    expect(check({ delegate, prevResult }).json).toMatchObject({
      code: 102,
      msg: expect.stringMatching(expected),
    });
  });

  it("accepts an MTU that tuning set afterwards", () => {
    const prevResult = add();
    const note = `/run/cni/tuning/${container.id}_eth0.json`;
    mkdirSync("/run/cni/tuning", { recursive: true, mode: 0o600 });
    try {
      writeFileSync(note, '{"mtu":1450}');
      inContainer("link", "set", "eth0", "mtu", "1300")(host, container);
      expect(check({ prevResult })).toMatchObject({ exitCode: 0, stdout: "" });
    } finally {
      rmSync(note);
    }
  });

  it("asks another plugin in the version of the configuration, also when ADD had an older one", () => {
    const input = join(host.dir, "input");
    const answer = '{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.5.72.9/24"}]}';
    const script = `#!/bin/sh\ncat > ${input}\nif [ $CNI_COMMAND = ADD ]; then echo '${answer}'; fi\n`;
    writeFileSync(join(host.pluginDir, "spy"), script, { mode: 0o755 });
    const delegate = { type: "spy" };
    const { ips } = add({ cniVersion: "0.3.1", delegate });
    const prevResult = { cniVersion: "1.0.0", ips };
    expect(check({ delegate, prevResult })).toMatchObject({ exitCode: 0, stdout: "" });
    expect(JSON.parse(readFileSync(input, "utf8"))).toMatchObject({ cniVersion: "1.0.0", prevResult });
  });

  it("rejects a prevResult that is missing, another container's or of an unknown version", () => {
    const prevResult = add();
    const codeFor = (given: AnyJson) => check({ prevResult: given }).json?.code;
    expect(codeFor(null)).toBe(7);
    expect(codeFor({ ...prevResult, interfaces: [{ name: "net9", sandbox: "/x" }] })).toBe(7);
    expect(codeFor({ ...prevResult, cniVersion: "9.0.0" })).toBe(1);
    expect(codeFor("text")).toBe(6);
  });
});
