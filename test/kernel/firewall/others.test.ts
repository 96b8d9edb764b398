/** The engines on a host where others keep rules too, some of them under our names. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { CommandRunner } from "../../../backends/firewall/command.ts";
import type { FirewallEngine } from "../../../backends/firewall/engine.ts";
import { IptablesEngine } from "../../../backends/firewall/iptables.ts";
import { NftEngine } from "../../../backends/firewall/nft.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import type { TunnelInput } from "../../../backends/firewall/plan-input.ts";
import { EMPTY_PLAN } from "../../../backends/firewall/rules.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { INPUT, only, PLAN } from "./fixture.ts";
import { createToolbox, locate } from "./toolbox.ts";

let host: TestNetns;

function useHost<T extends FirewallEngine>(create: (runner: CommandRunner) => T): () => T {
  let engine: T;
  beforeEach(() => {
    host = createNetns("fw");
    engine = create(new CommandRunner(["nsenter", `--net=${host.path}`]));
  });
  afterEach(() => host.dispose());
  return () => engine;
}

describeAsRoot("the iptables engine among others", () => {
  const engine = useHost((runner) => new IptablesEngine(runner));
  const rules = (chain: string, table = "filter"): string[] =>
    host.exec("iptables", ["-t", table, "-S", chain]).trim().split("\n").slice(1);
  const targets = (chain: string, table?: string): string[] =>
    rules(chain, table).map((rule) => /-j (\S+)/.exec(rule)?.[1] ?? "");

  it("stands in DOCKER-USER behind the administrator's rules and in front of Docker's RETURN", async () => {
    host.exec("iptables", ["-N", "ADMIN"]);
    host.exec("iptables", ["-N", "DOCKER-USER"]);
    host.exec("iptables", ["-A", "DOCKER-USER", "-j", "ADMIN"]);
    host.exec("iptables", ["-A", "DOCKER-USER", "-s", "10.2.9.9", "-j", "DROP"]);
    host.exec("iptables", ["-A", "DOCKER-USER", "-j", "RETURN"]);
    await engine().reconcile(only(PLAN));
    expect(targets("DOCKER-USER")).toEqual(["ADMIN", "DROP", "FLANNEL-DOCKER", "RETURN"]);
    expect(await engine().reconcile(only(PLAN))).toEqual([]);
  });

  it("stays behind what the administrator appends to DOCKER-USER, which newer Dockers leave empty", async () => {
    host.exec("iptables", ["-N", "DOCKER-USER"]);
    await engine().reconcile(only(PLAN));
    host.exec("iptables", ["-A", "DOCKER-USER", "-s", "10.2.9.9", "-j", "DROP"]);
    expect(await engine().reconcile(only(PLAN))).toEqual([expect.stringContaining("at the wrong position")]);
    expect(targets("DOCKER-USER")).toEqual(["DROP", "FLANNEL-DOCKER"]);
  });

  it.each([
    ["DOCKER-USER", "DOCKER-ISOLATION-STAGE-1"],
    ["DOCKER-USER", "DOCKER-FORWARD"],
  ])("stands in FORWARD behind the ways to %s and %s, and in front of everything else", async (...chains) => {
    const insertJumps = (): void => {
      for (const chain of chains.toReversed()) host.exec("iptables", ["-I", "FORWARD", "-j", chain]);
    };
    for (const chain of chains) host.exec("iptables", ["-N", chain]);
    host.exec("iptables", ["-A", "FORWARD", "-o", "docker0", "-j", "ACCEPT"]);
    insertJumps();
    await engine().reconcile(only(PLAN));
    expect(targets("FORWARD")).toEqual([...chains, "FLANNEL-FWD", "ACCEPT"]);
    // Docker starts again: what it inserts comes first.
    for (const chain of chains) host.exec("iptables", ["-D", "FORWARD", "-j", chain]);
    host.exec("iptables", ["-I", "FORWARD", "-o", "docker0", "-j", "DROP"]);
    insertJumps();
    expect(await engine().reconcile(only(PLAN))).toEqual([]);
    expect(targets("FORWARD")).toEqual([...chains, "DROP", "FLANNEL-FWD", "ACCEPT"]);
  });

  it("leaves DOCKER-USER when the accepts are not wanted, and has no chain for it without Docker", async () => {
    await engine().reconcile(only(PLAN));
    expect(host.exec("iptables-save", [])).not.toContain("FLANNEL-DOCKER");
    host.exec("iptables", ["-N", "DOCKER-USER"]);
    await engine().reconcile(only(PLAN));
    expect(targets("DOCKER-USER")).toEqual(["FLANNEL-DOCKER"]);
    await engine().reconcile(only(EMPTY_PLAN));
    expect(targets("DOCKER-USER")).toEqual([]);
    expect(host.exec("iptables-save", [])).not.toContain("FLANNEL-DOCKER");
  });

  it.each([
    ["filter", "FORWARD", "FLANNEL-FWD", ["-j", "REJECT"]],
    ["filter", "INPUT", "FLANNEL-INPUT", ["-j", "DROP"]],
    ["nat", "POSTROUTING", "FLANNEL-POSTRTG", ["-j", "RETURN"]],
    ["nat", "POSTROUTING", "FLANNEL-POSTRTG", ["-j", "MASQUERADE", "--random-fully"]],
    ["raw", "PREROUTING", "FLANNEL-TUN-IN", ["-j", "ACCEPT"]],
  ])(
    "moves in table %s, chain %s, in front of a verdict on everything",
    async (table, hook, ours, verdict) => {
      const isInFront = (): boolean =>
        targets(hook, table).indexOf(ours) < targets(hook, table).indexOf(verdict[1] ?? "");
      host.exec("iptables", ["-t", table, "-A", hook, ...verdict]);
      await engine().reconcile(only(PLAN));
      expect(isInFront()).toBe(true);
      host.exec("iptables", ["-t", table, "-D", hook, ...verdict]);
      host.exec("iptables", ["-t", table, "-I", hook, ...verdict]);
      await engine().reconcile(only(PLAN));
      expect(isInFront()).toBe(true);
      expect(await engine().reconcile(only(PLAN))).toEqual([]);
    },
  );

  it("follows a tunnel to another port, and leaves a foreign jump to its chain", async () => {
    await engine().reconcile(only(PLAN));
    host.exec("iptables", ["-A", "FORWARD", "-i", "theirs", "-j", "FLANNEL-FWD"]);
    const tunnel = { ...INPUT.tunnels[4], port: 4789 } as TunnelInput;
    await engine().reconcile(only(planFirewall({ ...INPUT, tunnels: { ...INPUT.tunnels, 4: tunnel } })));
    const saved = host.exec("iptables-save", []);
    expect(saved).not.toContain("8472");
    expect(rules("PREROUTING", "raw")).toHaveLength(1);
    expect(saved).toContain("-A FORWARD -i theirs -j FLANNEL-FWD");
  });

  it("empties a chain that a foreign rule jumps to, and leaves that rule", async () => {
    await engine().reconcile(only(PLAN));
    host.exec("iptables", ["-N", "THEIRS"]);
    host.exec("iptables", ["-A", "THEIRS", "-j", "FLANNEL-FWD"]);
    await engine().remove();
    expect(rules("THEIRS")).toEqual(["-A THEIRS -j FLANNEL-FWD"]);
    expect(rules("FLANNEL-FWD")).toEqual([]);
    expect(await engine().remove()).toEqual([]);
  });

  it("keeps only the accepts beside nft, and only where another table filters", async () => {
    await engine().reconcile(only(PLAN));
    await engine().reconcileBeside(only(PLAN));
    expect(host.exec("iptables-save", [])).not.toContain("FLANNEL");
    host.exec("iptables", ["-P", "FORWARD", "DROP"]);
    await engine().reconcileBeside(only(PLAN));
    expect(host.exec("iptables-save", [])).toContain("-A FLANNEL-FWD -s 10.2.0.0/16");
    expect(host.exec("iptables-save", ["-t", "nat"])).not.toContain("FLANNEL");
  });

  it("keeps the accepts beside nft while another program's rules come and go", async () => {
    const rule = (action: string) => host.exec("iptables", [action, "FORWARD", "-i", "wg0", "-j", "ACCEPT"]);
    await engine().reconcileBeside(only(PLAN));
    rule("-A");
    await engine().reconcileBeside(only(PLAN));
    rule("-D");
    expect(await engine().reconcileBeside(only(PLAN))).toEqual([]);
    rule("-A");
    expect(await engine().reconcileBeside(only(PLAN))).toEqual([]);
  });
});

describeAsRoot("the nft engine among others", () => {
  const engine = useHost((runner) => new NftEngine(runner));
  const nft = (...args: readonly string[]): string => host.exec("nft", args);

  it("enables its own table again after it was made dormant", async () => {
    await engine().reconcile(only(PLAN));
    nft("add table ip flannel-ipv4 { flags dormant ; }");
    expect(await engine().reconcile(only(PLAN))).toEqual(["table ip flannel-ipv4 is dormant"]);
    expect(nft("list", "ruleset")).not.toContain("dormant");
    expect(await engine().reconcile(only(PLAN))).toEqual([]);
  });

  it("keeps foreign chains in a table of its name", async () => {
    nft("add table ip flannel-ipv4 { chain theirs { ip saddr 10.9.9.9 drop ; } ; }");
    await engine().reconcile(only(PLAN));
    expect(await engine().reconcile(only(PLAN))).toEqual([]);
    await engine().remove();
    expect(nft("list", "ruleset")).toContain("10.9.9.9");
    expect(nft("list", "ruleset")).not.toContain("postrtg");
  });

  it.each([
    ["a set of another type", "set tunnel-sources { type ipv6_addr ; } ;"],
    [
      "a set of ranges",
      "set tunnel-sources { type ipv4_addr ; flags interval ; elements = { 10.0.0.0/8 } ; } ;",
    ],
    ["a chain without a hook", "chain forward { drop ; } ;"],
    ["a chain with another hook", "chain forward { type filter hook input priority 0 ; policy drop ; } ;"],
  ])("takes its name back from %s, and leaves the rest of the table", async (_, content) => {
    nft(`add table ip flannel-ipv4 { ${content} chain theirs { ip saddr 10.9.9.9 drop ; } ; }`);
    await engine().reconcile(only(PLAN));
    expect(await engine().reconcile(only(PLAN))).toEqual([]);
    expect(nft("list", "table", "ip", "flannel-ipv4")).toContain("10.9.9.9");
  });

  it("names the obstacle when a foreign rule uses an object of its name", async () => {
    nft("add table ip flannel-ipv4 { chain forward { } ; chain theirs { jump forward ; } ; }");
    await expect(engine().reconcile(only(PLAN))).rejects.toThrow(
      /foreign rules in the table ip flannel-ipv4/,
    );
    expect(nft("list", "table", "ip", "flannel-ipv4")).toContain("jump forward");
  });
});

describeAsRoot("an edit in the moment after a transaction", () => {
  useHost((runner) => new NftEngine(runner));

  /** Wraps the tool; once, right after it wrote rules, another program changes one of them. */
  const editedOnce = (tool: string, edit: string): string => `
    ${locate(tool)} "$@" || exit
    case "$*" in *'"add"'*|*--noflush*) ;; *) exit 0 ;; esac
    [ -e "$0.edited" ] && exit 0
    : > "$0.edited"
    ${edit}`;

  it.each<[string, string, (runner: CommandRunner) => FirewallEngine]>([
    ["iptables-restore", "iptables -R FLANNEL-FWD 1 -j DROP", (runner) => new IptablesEngine(runner)],
    [
      "nft",
      "nft flush chain ip flannel-ipv4 input; nft add rule ip flannel-ipv4 input drop",
      (runner) => new NftEngine(runner),
    ],
  ])("is not taken for the spelling of %s", async (tool, edit, create) => {
    const toolbox = createToolbox(["iptables", "iptables-save", "ip6tables-save", "ip6tables-restore"]);
    try {
      toolbox.write(tool, editedOnce(tool, edit));
      const runner = new CommandRunner(["nsenter", `--net=${host.path}`, ...toolbox.prefix]);
      const edited = create(runner);
      await edited.reconcile(only(PLAN));
      await edited.reconcile(only(PLAN));
      expect(await create(runner).reconcile(only(PLAN))).toEqual([]);
    } finally {
      toolbox.dispose();
    }
  });
});
