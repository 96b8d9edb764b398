/** Every mistake that a runtime or an administrator can make, against the built program: one clear error, no change. */

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AnyJson, type CniContainer, CniHost, SUBNET_ENV } from "../../support/cni-host.ts";
import { PROGRAMS } from "../../support/hosts.ts";
import { describeAsRoot } from "../../support/netns.ts";

const VERBS = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
  GC: ["CNI_PATH"],
  STATUS: ["CNI_PATH"],
};
const SUPPORTED = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const GOOD = [...SUBNET_ENV.v4, ...SUBNET_ENV.rest];

describeAsRoot("tulle-cni refuses", () => {
  let host: CniHost;
  let container: CniContainer;
  beforeAll(() => {
    host = new CniHost("input");
    container = host.addContainer();
  });
  afterAll(() => host.dispose());

  /** The error object; nothing may have been made. */
  const refusal = (verb: string, call: AnyJson = {}) => {
    const answer = host.call(verb, { container, ...call });
    expect(answer.exitCode, answer.stdout).toBe(1);
    expect(answer.json).toMatchObject({ cniVersion: expect.any(String), code: expect.any(Number) });
    expect(host.leftovers()).toEqual([]);
    return answer.json;
  };

  describe.each(Object.entries(VERBS))("%s", (verb, required) => {
    it.each(required)("without %s", (variable) => {
      const { code, msg } = refusal(verb, { environment: { [variable]: undefined } });
      expect([code, msg]).toEqual([4, `required env variables [${variable}] missing`]);
    });

    it("without all of them, named at once", () => {
      const environment = Object.fromEntries(required.map((name) => [name, undefined]));
      expect(refusal(verb, { environment }).msg).toContain(required.join(","));
    });

    it.each([
      ["nothing", "", 6],
      ["no JSON", "{", 6],
      ["a list", "[]", 6],
      ["no name", '{"cniVersion":"1.1.0"}', 7],
      ["a bad name", '{"cniVersion":"1.1.0","name":"te%%st"}', 7],
      ["a name of another type", '{"cniVersion":"1.1.0","name":5}', 7],
      ["an unknown version", '{"cniVersion":"9.8.7","name":"a"}', 1],
      ["a version of another type", '{"cniVersion":5,"name":"a"}', 6],
    ])("with %s on stdin", (_, stdin, code) => {
      expect(refusal(verb, { stdin }).code).toBe(code);
    });
  });

  it.each([
    ["CHECK", "0.3.1"],
    ["GC", "1.0.0"],
    ["STATUS", "1.0.0"],
  ])("%s for a configuration of %s", (verb, cniVersion) => {
    expect(refusal(verb, { config: { cniVersion } }).code).toBe(1);
  });

  it.each([
    ["CNI_CONTAINERID", "some-%%id"],
    ["CNI_CONTAINERID", "a/b"],
    ["CNI_CONTAINERID", "../b"],
    ["CNI_IFNAME", "1234567890123456"],
    ["CNI_IFNAME", "."],
    ["CNI_IFNAME", ".."],
    ["CNI_IFNAME", "a/b"],
    ["CNI_IFNAME", "a:b"],
    ["CNI_IFNAME", "a b"],
    ["CNI_IFNAME", "eth%d"],
    ["CNI_COMMAND", "NOPE"],
    ["CNI_ARGS", "IgnoreUnknown"],
    ["CNI_ARGS", "A=b=c"],
    ["CNI_ARGS", "FOO=bar"],
  ])("%s=%s", (variable, value) => {
    expect(refusal("ADD", { environment: { [variable]: value } }).code).toBe(4);
  });

  it.each([
    ["the host's own namespace", () => host.netns.path],
    ["a file that is not a namespace", () => host.subnetFile],
    ["a folder", () => host.dir],
    ["nothing", () => "/run/netns/tulle-nowhere"],
  ])("CNI_NETNS that is %s", (_, path) => {
    expect(refusal("ADD", { environment: { CNI_NETNS: path() } }).code).toBe(8);
  });

  it.each<[string, AnyJson, RegExp]>([
    ["subnetFile", { subnetFile: 5 }, /subnetFile/],
    ["dataDir", { dataDir: [] }, /dataDir/],
    ["delegate", { delegate: "bridge" }, /delegate/],
    ["delegate.name", { delegate: { name: "x" } }, /delegate\.name/],
    ["delegate.ipam", { delegate: { ipam: {} } }, /delegate\.ipam/],
    ["delegate.type", { delegate: { type: 5 } }, /delegate\.type/],
    ["an unknown delegate", { delegate: { type: "nowhere" } }, /plugin "nowhere" is not in CNI_PATH/],
    ["a delegate outside CNI_PATH", { delegate: { type: "../sh" } }, /not in CNI_PATH/],
    ["bridge", { delegate: { bridge: "a/b" } }, /bridge/],
    ["a bridge of 16 characters", { delegate: { bridge: "1234567890123456" } }, /1 to 15/],
    ["mtu as text", { delegate: { mtu: "1450" } }, /mtu/],
    ["mtu below zero", { delegate: { mtu: -1 } }, /mtu/],
    ["a huge mtu", { delegate: { mtu: 70_000 } }, /mtu/],
    ["a flag as text", { delegate: { hairpinMode: "yes" } }, /hairpinMode/],
    ["hairpinMode with promiscMode", { delegate: { hairpinMode: true, promiscMode: true } }, /promiscMode/],
    ["ipMasqBackend", { delegate: { ipMasqBackend: "pf" } }, /nftables or iptables/],
    ["vlan out of range", { delegate: { vlan: 4095 } }, /vlan/],
    ["vlan with vlanTrunk", { delegate: { vlan: 5, vlanTrunk: [{ id: 6 }] } }, /vlanTrunk/],
    ["a reversed vlanTrunk", { delegate: { vlanTrunk: [{ minID: 9, maxID: 8 }] } }, /maxID/],
    [
      "disableContainerInterface",
      { delegate: { disableContainerInterface: true } },
      /disableContainerInterface/,
    ],
    ["mac", { runtimeConfig: { mac: "nonsense" } }, /mac/],
    ["ips", { runtimeConfig: { ips: ["nonsense"] } }, /ips|nonsense/],
    ["an address outside", { runtimeConfig: { ips: ["192.0.2.1"] } }, /192\.0\.2\.1 is in no range/],
    ["the gateway's address", { runtimeConfig: { ips: ["10.5.72.1"] } }, /gateway/],
    ["ipam", { ipam: 5 }, /ipam/],
    ["ipam.type", { ipam: { type: 5 } }, /ipam\.type/],
    ["ipam.exclude", { ipam: { exclude: 5 } }, /exclude/],
    ["ipam.routes", { ipam: { routes: 5 } }, /routes/],
    [
      "a route's MTU as text",
      { ipam: { routes: [{ dst: "192.0.2.0/24", mtu: "1400" }] } },
      /"mtu" of a route/,
    ],
    ["runtimeConfig", { runtimeConfig: "x" }, /runtimeConfig/],
    ["args", { args: [] }, /args/],
    ["dns", { dns: "x" }, /dns/],
    ["prevResult", { prevResult: "x" }, /prevResult/],
    [
      "isDefaultGateway beside another default route",
      { ipam: { routes: [{ dst: "0.0.0.0/0", gw: "10.5.72.9" }] } },
      /a default route by 10\.5\.72\.9/,
    ],
    ["ips that are not a list", { runtimeConfig: { ips: "10.5.72.9" } }, /ips/],
    ["ipRanges", { runtimeConfig: { ipRanges: [[{ subnet: "x" }]] } }, /"x" is not a prefix/],
    ["a route that is none", { ipam: { routes: [{ dst: "x" }] } }, /x/],
    ["ipam.dataDir", { ipam: { dataDir: 5 } }, /dataDir/],
    ["ipam.resolvConf", { ipam: { resolvConf: 5 } }, /resolvConf/],
  ])("%s", (_, config, expected) => {
    const { code, msg } = refusal("ADD", { config });
    expect(code).toBe(7);
    expect(msg).toMatch(expected);
  });

  it.each<[string, string[], RegExp]>([
    [
      "without FLANNEL_SUBNET",
      ["FLANNEL_NETWORK=10.5.0.0/16", ...SUBNET_ENV.rest],
      /FLANNEL_SUBNET is missing/,
    ],
    ["without FLANNEL_MTU", [...SUBNET_ENV.v4, "FLANNEL_IPMASQ=true"], /FLANNEL_MTU is missing/],
    [
      "cut short",
      ["FLANNEL_NETWORK=10.5.0.0/16", "FLANNEL_SUBNET=10.5.7"],
      /FLANNEL_MTU, FLANNEL_IPMASQ are missing/,
    ],
    [
      "with half a subnet",
      ["FLANNEL_NETWORK=10.5.0.0/16", "FLANNEL_SUBNET=10.5.7", ...SUBNET_ENV.rest],
      /FLANNEL_SUBNET is "10\.5\.7"/,
    ],
    [
      "of a wrong family",
      ["FLANNEL_NETWORK=fd00::/48", "FLANNEL_SUBNET=fd00::1/64", ...SUBNET_ENV.rest],
      /FLANNEL_NETWORK/,
    ],
    ["that is empty", [], /missing/],
    [
      "of another network",
      ["FLANNEL_NETWORK=10.9.0.0/16", "FLANNEL_SUBNET=10.5.72.1/24", ...SUBNET_ENV.rest],
      /10\.5\.72\.1 is not in the network 10\.9\.0\.0\/16/,
    ],
    ["with an MTU that is none", [...SUBNET_ENV.v4, "FLANNEL_MTU=x", "FLANNEL_IPMASQ=true"], /FLANNEL_MTU/],
  ])("subnet.env %s", (_, lines, expected) => {
    host.writeSubnetEnv(lines);
    const { code, msg } = refusal("ADD");
    host.writeSubnetEnv(GOOD);
    expect(code).toBe(11);
    expect(msg).toMatch(expected);
  });

  it("5 MB of nonsense on stdin, and takes 5 MB of configuration", () => {
    expect(refusal("ADD", { stdin: "x".repeat(5 << 20) }).code).toBe(6);
    expect(host.call("ADD", { container, config: { unknown: "x".repeat(5 << 20) } }).exitCode).toBe(0);
    expect(host.call("DEL", { container }).exitCode).toBe(0);
  });

  it.each([
    ["that is closed", "<&-", 6],
    ["that cannot be read", "</", 5],
  ])("stdin %s", (_, redirection, code) => {
    const program = ["sh", "-c", `exec "$0" ${redirection}`, join(PROGRAMS, "tulle-cni")];
    expect(refusal("ADD", { program }).code).toBe(code);
  });

  it("an answer that cannot be written, with one line on stderr", () => {
    const program = ["sh", "-c", 'exec "$0" >/dev/full', join(PROGRAMS, "tulle-cni")];
    expect(host.call("VERSION", { program })).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/^tulle-cni: .*ENOSPC.*\n$/),
    });
  });

  it.each(["null", "5", '"text"', "[1]"])("%s as a configuration", (stdin) => {
    expect(refusal("ADD", { stdin }).code).toBe(6);
  });

  it("but tells its versions, with nothing on stdin", () => {
    const { exitCode, json } = host.call("VERSION", { stdin: "" });
    expect([exitCode, json]).toEqual([0, { cniVersion: "1.1.0", supportedVersions: SUPPORTED }]);
  });

  it("but names itself on stderr without a verb", () => {
    const answer = host.call("", { stdin: "" });
    expect(answer).toMatchObject({
      exitCode: 0,
      stdout: "",
      stderr: expect.stringContaining("0.1.0, 0.2.0"),
    });
  });

  describe("and passes on what a delegate says", () => {
    const PLUGIN = "third-party";
    const config = { delegate: { type: PLUGIN } };
    const install = (script: string) => {
      const file = join(host.pluginDir, PLUGIN);
      writeFileSync(file, `#!/bin/sh\ncat > "${host.dir}/config.$CNI_COMMAND"\n${script}\n`, { mode: 0o755 });
    };
    const isCalled = (verb: string) => host.netns.exec("ls", [host.dir]).includes(`config.${verb}`);

    it("its result, in the caller's version", () => {
      install(
        `[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.0.0","ips":[{"address":"10.5.72.9/24"}]}'`,
      );
      const { json } = host.call("ADD", { container, config: { ...config, cniVersion: "0.4.0" } });
      expect(json).toEqual({
        cniVersion: "0.4.0",
        ips: [{ version: "4", address: "10.5.72.9/24" }],
        dns: {},
      });
      expect(host.states()).toHaveLength(1);
      expect(host.call("DEL", { container, config })).toMatchObject({ exitCode: 0, stdout: "" });
      expect(host.stateFiles()).toEqual([]);
    });

    it("its error, and has it clean up", () => {
      rmSync(join(host.dir, "config.DEL"), { force: true });
      install(`[ "$CNI_COMMAND" = DEL ] || { echo '{"code":1234,"msg":"potato","details":"d"}'; exit 1; }`);
      expect(refusal("ADD", { config })).toEqual({
        cniVersion: "1.0.0",
        code: 1234,
        msg: "plugin third-party: potato",
        details: "d",
      });
      expect(isCalled("DEL")).toBe(true);
    });

    it("its death without a word", () => {
      install("kill -9 $$");
      expect(refusal("ADD", { config })).toMatchObject({
        code: 999,
        msg: expect.stringContaining("SIGKILL"),
      });
    });

    it("CHECK, STATUS and GC", () => {
      install("");
      const latest = { ...config, cniVersion: "1.1.0" };
      const prevResult = { cniVersion: "1.1.0", ips: [] };
      expect(host.call("CHECK", { container, config: { ...latest, prevResult } }).exitCode).toBe(0);
      expect(host.call("STATUS", { config: latest }).exitCode).toBe(0);
      expect(host.call("GC", { config: { ...latest, "cni.dev/valid-attachments": [] } }).exitCode).toBe(0);
      expect(["CHECK", "STATUS", "GC"].map(isCalled)).toEqual([true, true, true]);
    });

    it("a failed GC, and claims nothing of attachments that are not stale", () => {
      install(`[ "$CNI_COMMAND" = GC ] && { echo '{"code":1234,"msg":"potato"}'; exit 1; }`);
      const latest = { ...config, cniVersion: "1.1.0", "cni.dev/valid-attachments": [] };
      expect(refusal("GC", { config: latest })).toMatchObject({
        code: 1234,
        msg: "plugin third-party: potato",
      });
    });
  });
});
