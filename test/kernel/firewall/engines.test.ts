/** Both engines against the real kernel: write, compare, repair, take over, leave. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { CommandRunner } from "../../../backends/firewall/command.ts";
import type { FirewallEngine } from "../../../backends/firewall/engine.ts";
import { IptablesEngine } from "../../../backends/firewall/iptables.ts";
import { NftEngine } from "../../../backends/firewall/nft.ts";
import {
  DEFAULT_CONTAINER_INTERFACES,
  type FirewallInput,
  planFirewall,
  withoutSourceCheck,
} from "../../../backends/firewall/plan.ts";
import { EMPTY_PLAN } from "../../../backends/firewall/rules.ts";
import { Address, Prefix } from "../../../ipam/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const INPUT: FirewallInput = {
  networks: { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00:2::/48") },
  containers: { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00:2::/48") },
  subnets: { 4: Prefix.parse("10.2.54.0/24"), 6: Prefix.parse("fd00:2:0:54::/64") },
  masquerade: { isEnabled: true, randomFully: true, excluded: [Prefix.parse("172.16.0.0/12")] },
  forwardRules: true,
  tunnels: {
    4: {
      port: 8472,
      parentInterface: "eth0",
      device: "flannel.1",
      sources: [Address.parse("192.168.50.1"), Address.parse("192.168.50.2")],
    },
    6: { port: 8472, parentInterface: "eth0", device: "flannel-v6.1", sources: "any" },
  },
  openPort: true,
  notrack: true,
  mssClamp: true,
  containerInterfaces: DEFAULT_CONTAINER_INTERFACES,
};
const PLAN = planFirewall(INPUT);

const ENGINES: [string, (runner: CommandRunner) => FirewallEngine, (host: TestNetns) => void][] = [
  ["nft", (runner) => new NftEngine(runner), (host) => host.exec("nft", ["flush", "ruleset"])],
  [
    "iptables",
    (runner) => new IptablesEngine(runner),
    (host) => {
      for (const tool of ["iptables", "ip6tables"]) {
        for (const table of ["filter", "nat", "mangle", "raw"]) host.exec(tool, ["-t", table, "-F"]);
      }
    },
  ],
];

for (const [name, create, flush] of ENGINES) {
  describeAsRoot(`the ${name} engine`, () => {
    let host: TestNetns;
    let engine: FirewallEngine;

    beforeEach(() => {
      host = createNetns("fw");
      engine = create(new CommandRunner(["nsenter", `--net=${host.path}`]));
    });
    afterEach(() => host.dispose());

    const fresh = (): FirewallEngine => create(new CommandRunner(["nsenter", `--net=${host.path}`]));

    it("writes a plan once and finds it equal afterwards, also as another process", async () => {
      expect(await engine.reconcile(PLAN)).not.toEqual([]);
      expect(await engine.reconcile(PLAN)).toEqual([]);
      expect(await fresh().reconcile(PLAN)).toEqual([]);
    });

    it("repairs a flush", async () => {
      await engine.reconcile(PLAN);
      flush(host);
      expect(await engine.reconcile(PLAN)).not.toEqual([]);
      expect(await fresh().reconcile(PLAN)).toEqual([]);
    });

    it("follows a changed list of tunnel sources and drops it when it is not wanted", async () => {
      await engine.reconcile(PLAN);
      const tunnel = { port: 8472, parentInterface: "eth0", device: "flannel.1" };
      const sources = [Address.parse("192.168.50.2"), Address.parse("192.168.50.3")];
      const changed = planFirewall({ ...INPUT, tunnels: { ...INPUT.tunnels, 4: { ...tunnel, sources } } });
      expect(await engine.reconcile(changed)).toHaveLength(1);
      expect(await fresh().reconcile(changed)).toEqual([]);
      expect(await engine.reconcile(withoutSourceCheck(changed))).not.toEqual([]);
      expect(await fresh().reconcile(withoutSourceCheck(changed))).toEqual([]);
    });

    it("removes everything it made", async () => {
      await engine.reconcile(PLAN);
      const announced = await engine.remove({ isDryRun: true });
      expect(announced).not.toEqual([]);
      expect(await engine.remove()).toEqual(announced);
      expect(await engine.remove()).toEqual([]);
      expect(listing(host)).not.toMatch(/flannel/i);
    });

    it("leaves what others have", async () => {
      host.exec("iptables", ["-N", "MINE"]);
      host.exec("iptables", ["-A", "MINE", "-s", "10.9.9.9", "-j", "DROP"]);
      host.exec("iptables", ["-A", "FORWARD", "-j", "MINE"]);
      host.exec("nft", ["add table inet mine { chain c { ip saddr 10.9.9.9 drop ; } ; }"]);
      const before = listing(host);
      await engine.reconcile(PLAN);
      await engine.reconcile(EMPTY_PLAN);
      for (const line of before.split("\n").filter((each) => /MINE|mine|10\.9\.9\.9/.test(each))) {
        expect(listing(host)).toContain(line);
      }
    });
  });
}

describeAsRoot("the iptables engine among others", () => {
  let host: TestNetns;
  let engine: IptablesEngine;

  beforeEach(() => {
    host = createNetns("fw");
    engine = new IptablesEngine(new CommandRunner(["nsenter", `--net=${host.path}`]));
  });
  afterEach(() => host.dispose());

  const rules = (chain: string): string[] => host.exec("iptables", ["-S", chain]).trim().split("\n").slice(1);

  it("repairs order and duplicates in its chains and its jumps", async () => {
    await engine.reconcile(PLAN);
    host.exec("iptables", ["-A", "FLANNEL-FWD", "-s", "10.2.0.0/16", "-j", "ACCEPT"]);
    host.exec("iptables", [
      "-A",
      "FORWARD",
      "-m",
      "comment",
      "--comment",
      "flanneld forward",
      "-j",
      "FLANNEL-FWD",
    ]);
    expect(await engine.reconcile(PLAN)).toHaveLength(2);
    expect(rules("FLANNEL-FWD")).toHaveLength(2);
    expect(rules("FORWARD")).toHaveLength(1);
  });

  it("stands in DOCKER-USER behind the administrator's rules and in front of Docker's RETURN", async () => {
    host.exec("iptables", ["-N", "DOCKER-USER"]);
    host.exec("iptables", ["-A", "DOCKER-USER", "-s", "10.2.9.9", "-j", "DROP"]);
    host.exec("iptables", ["-A", "DOCKER-USER", "-j", "RETURN"]);
    await engine.reconcile(PLAN);
    const targets = rules("DOCKER-USER").map((rule) => rule.replace(/.*-j /, ""));
    expect(targets).toEqual(["DROP", "FLANNEL-FWD", "RETURN"]);
    expect(await engine.reconcile(PLAN)).toEqual([]);
  });

  it("moves in front of a rule that rejects everything", async () => {
    host.exec("iptables", ["-A", "FORWARD", "-j", "REJECT"]);
    await engine.reconcile(PLAN);
    expect(rules("FORWARD")[0]).toContain("FLANNEL-FWD");
    host.exec("iptables", ["-I", "FORWARD", "-j", "DROP"]);
    await engine.reconcile(PLAN);
    expect(rules("FORWARD")[0]).toContain("FLANNEL-FWD");
  });

  it("empties a chain that somebody else's rule leads to, and leaves that rule", async () => {
    await engine.reconcile(PLAN);
    host.exec("iptables", ["-N", "THEIRS"]);
    host.exec("iptables", ["-A", "THEIRS", "-j", "FLANNEL-FWD"]);
    await engine.remove();
    expect(rules("THEIRS")).toEqual(["-A THEIRS -j FLANNEL-FWD"]);
    expect(rules("FLANNEL-FWD")).toEqual([]);
    expect(await engine.remove()).toEqual([]);
  });

  it("keeps only the accepts beside nft, and only where somebody else filters", async () => {
    await engine.reconcile(PLAN);
    await engine.reconcileBeside(PLAN);
    expect(host.exec("iptables-save", [])).not.toContain("FLANNEL");
    host.exec("iptables", ["-P", "FORWARD", "DROP"]);
    await engine.reconcileBeside(PLAN);
    expect(host.exec("iptables-save", [])).toContain("-A FLANNEL-FWD -s 10.2.0.0/16");
    expect(host.exec("iptables-save", ["-t", "nat"])).not.toContain("FLANNEL");
  });
});

describeAsRoot("the nft engine among others", () => {
  it("wakes a table of its name that somebody put to sleep", async () => {
    const host = createNetns("fw");
    try {
      const engine = new NftEngine(new CommandRunner(["nsenter", `--net=${host.path}`]));
      await engine.reconcile(PLAN);
      host.exec("nft", ["add table ip flannel-ipv4 { flags dormant ; }"]);
      expect(await engine.reconcile(PLAN)).toEqual(["table ip flannel-ipv4 is dormant"]);
      expect(host.exec("nft", ["list", "ruleset"])).not.toContain("dormant");
      expect(await engine.reconcile(PLAN)).toEqual([]);
    } finally {
      host.dispose();
    }
  });

  it("keeps foreign chains in a table of its name", async () => {
    const host = createNetns("fw");
    try {
      const engine = new NftEngine(new CommandRunner(["nsenter", `--net=${host.path}`]));
      host.exec("nft", ["add table ip flannel-ipv4 { chain theirs { ip saddr 10.9.9.9 drop ; } ; }"]);
      await engine.reconcile(PLAN);
      expect(await engine.reconcile(PLAN)).toEqual([]);
      await engine.remove();
      const left = host.exec("nft", ["list", "ruleset"]);
      expect(left).toContain("10.9.9.9");
      expect(left).not.toContain("postrtg");
    } finally {
      host.dispose();
    }
  });
});

function listing(host: TestNetns): string {
  return ["iptables-save", "ip6tables-save"]
    .map((tool) => host.exec(tool, []))
    .concat(host.exec("nft", ["list", "ruleset"]))
    .join("\n");
}
