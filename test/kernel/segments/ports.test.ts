/** The check of containers' ports: its table is made, repaired and removed, and where nft is absent that is said. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { FirewallGuard } from "../../../backends/firewall/guard.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import type { FirewallPlan, GuardedPort } from "../../../backends/firewall/rules.ts";
import { Toolset } from "../../../backends/firewall/toolset.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../ipam/addresses/mac.ts";
import { systemClock } from "../../../ipam/clock.ts";
import { silentLogger } from "../../../ipam/log.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { INPUT } from "../firewall/fixture.ts";
import { createToolbox } from "../firewall/toolbox.ts";

const BOTH: GuardedPort = {
  name: "tp-000000000001",
  mac: parseMac("02:42:00:00:00:01"),
  addresses: { 4: Address.parse("10.101.0.2"), 6: Address.parse("fd00:1::2") },
  tunnelPort: 8472,
};
const ONLY_IPV4: GuardedPort = {
  ...BOTH,
  name: "tp-000000000002",
  addresses: { 4: Address.parse("10.101.0.3") },
};
const ONLY_IPV6: GuardedPort = {
  ...BOTH,
  name: "tp-000000000003",
  addresses: { 6: Address.parse("fd00:1::4") },
};

function planOf(...ports: readonly GuardedPort[]): FirewallPlan {
  const segments = { prefix: "tb-", bridges: ["tb-1001"], families: [4, 6] as const, ports };
  return planFirewall({ ...INPUT, networks: {}, subnets: {}, containers: {}, tunnels: {}, segments });
}

describeAsRoot("the check of containers' ports", () => {
  let host: TestNetns;
  let handle: NetnsHandle;
  let guard: FirewallGuard;
  beforeEach(() => {
    host = createNetns("ports");
    handle = NetnsHandle.open(host.path);
    guard = new FirewallGuard({
      choice: "iptables",
      resyncSeconds: 3600,
      log: silentLogger,
      clock: systemClock,
      commandPrefix: ["nsenter", `--net=${host.path}`],
      netns: handle,
    });
    guard.start();
  });
  afterEach(async () => {
    await guard.stop();
    handle.close();
    host.dispose();
  });

  const table = (): string => host.exec("nft", ["list", "table", "bridge", "tulle-ports"]);

  it("has a chain for each port, whatever families it has, and forgets those that are gone", async () => {
    await guard.update("namednets", planOf(BOTH, ONLY_IPV4, ONLY_IPV6));
    expect(guard.status()).toMatchObject({ isInSync: true, lastError: null });
    expect(table()).toContain('"tp-000000000003" : jump tp-000000000003');
    expect(table()).toContain("ether type ip drop");
    await guard.update("namednets", planOf(ONLY_IPV4));
    expect(guard.status()).toMatchObject({ isInSync: true, lastError: null });
    expect(table()).not.toMatch(/tp-00000000000[13]/);
    expect(table()).toContain("tp-000000000002-na");
  });

  it.each([
    ["a deleted table", "delete table bridge tulle-ports"],
    ["an emptied chain", "flush chain bridge tulle-ports tp-000000000001"],
    ["an accept before the rules", "insert rule bridge tulle-ports tp-000000000001 accept"],
    ["an accept before the jump", "insert rule bridge tulle-ports prerouting accept"],
    ["an emptied map", "flush map bridge tulle-ports ports"],
    ["a chain of others", "add chain bridge tulle-ports other"],
  ])("repairs %s", async (_what, command) => {
    await guard.update("namednets", planOf(BOTH));
    const before = table();
    host.exec("nft", command.split(" "));
    await expect.poll(table, { timeout: 4000, interval: 20 }).toBe(before);
  });

  it("writes nothing when nothing is wrong, and goes with all other rules", async () => {
    const tools = new Toolset({
      choice: "iptables",
      log: silentLogger,
      commandPrefix: ["nsenter", `--net=${host.path}`],
    });
    const plans = new Map([["namednets", planOf(BOTH, ONLY_IPV6)]]);
    const { signal } = new AbortController();
    expect((await tools.reconcile(plans, signal)).join()).toContain(
      "table bridge tulle-ports: chain tp-000000000001 is missing",
    );
    expect(await tools.reconcile(plans, signal)).toEqual([]);
    await tools.remove();
    expect(host.exec("nft", ["list", "ruleset"])).not.toMatch(/tulle-ports|FLANNEL/);
  });

  it("one more costs one program before its container starts, and one to list it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tulle-ports-"));
    const log = join(folder, "started");
    writeFileSync(log, "");
    const started = () => readFileSync(log, "utf8").split("\n").filter(Boolean);
    const record = ["sh", "-c", `printf '%s %.28s\\n' "$3" "$4 $5" >> ${log}; exec "$@"`, "sh"];
    const recorded = new FirewallGuard({
      choice: "iptables",
      resyncSeconds: 3600,
      log: silentLogger,
      clock: systemClock,
      commandPrefix: [...record, "nsenter", `--net=${host.path}`],
      netns: handle,
    });
    recorded.start();
    try {
      await recorded.update("namednets", planOf(BOTH));
      const lists = (lines: readonly string[]) => lines.filter((line) => line === "nft -j list");
      await expect.poll(() => lists(started()).length, { timeout: 4000 }).toBe(1);
      await recorded.update("namednets", planOf(BOTH));
      const before = started().length;
      await recorded.update("namednets", planOf(BOTH, ONLY_IPV4));
      expect(table()).toContain(`"${ONLY_IPV4.name}" : jump ${ONLY_IPV4.name}`);
      expect(started().slice(before)).toEqual([expect.stringMatching(/^nft add table bridge tulle-ports/)]);
      await expect.poll(() => started().slice(before + 1), { timeout: 4000 }).toEqual(["nft -j list"]);
      await recorded.update("namednets", planOf(BOTH, ONLY_IPV4));
      expect(started()).toHaveLength(before + 2);
    } finally {
      await recorded.stop();
      rmSync(folder, { recursive: true });
    }
  });

  it("says that frames are not checked where nft is not installed", async () => {
    const programs = ["iptables", "iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore"];
    const toolbox = createToolbox(programs);
    const tools = new Toolset({
      choice: "auto",
      log: silentLogger,
      commandPrefix: ["nsenter", `--net=${host.path}`, ...toolbox.prefix],
    });
    try {
      await tools.reconcile(new Map([["namednets", planOf(BOTH)]]), new AbortController().signal);
      expect(tools.engine).toBe("iptables");
      expect(tools.note).toBe(
        "nft is not installed: containers of named networks can send frames with forged addresses; install nftables",
      );
    } finally {
      toolbox.dispose();
    }
  });

  it.each([
    [
      "iptables alone",
      ["iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore", "iptables"],
    ],
    ["no tool", []],
  ])("begins at the next audit once nft is installed, after %s", async (_, programs) => {
    const toolbox = createToolbox(programs);
    const audited = new FirewallGuard({
      ...{ choice: "auto", resyncSeconds: 1, log: silentLogger, clock: systemClock, netns: handle },
      commandPrefix: ["nsenter", `--net=${host.path}`, ...toolbox.prefix],
    });
    audited.start();
    try {
      await audited.update("namednets", { ...planOf(BOTH), rules: {} });
      expect(audited.status().note).toMatch(/nft .*installed/);
      toolbox.add("nft");
      await expect.poll(() => table(), { timeout: 8000 }).toContain(BOTH.name);
      expect(audited.status().note).toBeNull();
    } finally {
      await audited.stop();
      toolbox.dispose();
    }
  });
});
