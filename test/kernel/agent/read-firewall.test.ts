/** The firewall as the tools of a host show it. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { readFirewall } from "../../../agent/explain/firewall/read-ruleset.ts";
import { passHook } from "../../../agent/explain/firewall/ruleset.ts";
import { CommandRunner } from "../../../backends/firewall/command.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { PACKET } from "../../support/packet-fixture.ts";

describeAsRoot("the firewall of a host", () => {
  let host: TestNetns;
  beforeEach(() => {
    host = createNetns("rdfw");
  });
  afterEach(() => host.dispose());

  const forward = async () => {
    const runner = new CommandRunner(["nsenter", `--net=${host.path}`]);
    const { tables, unknown } = await readFirewall(runner, AbortSignal.timeout(10_000));
    expect(unknown).toEqual([]);
    const { verdict, decisions, doubtful } = passHook(tables, "forward", PACKET);
    return { verdict, by: decisions.map(({ by }) => by), doubtful };
  };

  it("has the chains that nft made in a table of iptables, and each chain once", async () => {
    host.exec("iptables-nft", ["-A", "FORWARD", "-s", "10.2.0.0/16", "-j", "ACCEPT"]);
    const accept = "iptables filter, chain FORWARD: -s 10.2.0.0/16 -j ACCEPT";
    expect(await forward()).toEqual({ verdict: "accept", by: [accept], doubtful: [] });
    host.exec("nft", ["add chain ip filter forward { type filter hook forward priority 1; policy drop; }"]);
    expect(await forward()).toEqual({
      verdict: "drop",
      by: [accept, "the policy of nft ip filter, chain forward, which drops what no rule accepts"],
      doubtful: [],
    });
  });

  it("leaves out tables that are dormant", async () => {
    const chain = "chain c { type filter hook forward priority 0; ip daddr 10.2.3.7 drop; }";
    host.exec("nft", [`table ip asleep { flags dormant; ${chain}; }`]);
    expect(await forward()).toEqual({ verdict: "accept", by: [], doubtful: [] });
    host.exec("nft", ["delete table ip asleep"]);
    host.exec("nft", [`table ip awake { ${chain}; }`]);
    expect(await forward()).toMatchObject({ verdict: "drop" });
  });
});
