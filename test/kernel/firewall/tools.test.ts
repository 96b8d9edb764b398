/** The firewall with the tools that a host happens to have: another variant, a busy one, some, none. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { CommandRunner } from "../../../backends/firewall/command.ts";
import type { EngineKind } from "../../../backends/firewall/engine.ts";
import { FirewallGuard } from "../../../backends/firewall/guard.ts";
import { IptablesEngine } from "../../../backends/firewall/iptables.ts";
import { Listings } from "../../../backends/firewall/listings.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import type { FirewallInput } from "../../../backends/firewall/plan-input.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { Prefix } from "../../../ipam/addresses/ip.ts";
import { systemClock } from "../../../ipam/clock.ts";
import { silentLogger } from "../../../ipam/log.ts";
import { FIREWALL_INPUT } from "../../support/firewall-input.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { only } from "./fixture.ts";
import { createToolbox, locate, type Toolbox } from "./toolbox.ts";

/** What flanneld's default flags ask for. */
const DEFAULTS: FirewallInput = {
  ...FIREWALL_INPUT,
  masquerade: { isEnabled: false, randomFully: true, excluded: [] },
};
const PLAN = planFirewall(DEFAULTS);
const MASQUERADE_PLAN = planFirewall({
  ...DEFAULTS,
  masquerade: { isEnabled: true, randomFully: true, excluded: [Prefix.parse("192.0.2.0/24")] },
});
const DUAL_PLAN = planFirewall({
  ...DEFAULTS,
  networks: { ...DEFAULTS.networks, 6: Prefix.parse("fd00:2::/48") },
  masquerade: { isEnabled: true, randomFully: true, excluded: [] },
});

const IPTABLES = ["iptables", "iptables-save", "iptables-restore"];
const LOCK_HELD_SECONDS = 2;

describeAsRoot("the firewall on a host", () => {
  let host: TestNetns;
  let toolbox: Toolbox | null;

  beforeEach(() => {
    host = createNetns("fwtools");
    toolbox = null;
  });
  afterEach(() => {
    toolbox?.dispose();
    host.dispose();
  });

  const prefixOf = (tools: Toolbox): string[] => ["nsenter", `--net=${host.path}`, ...tools.prefix];

  /** The legacy variant under its plain names, with a lock of its own instead of the machine's. */
  function legacyTools(lockFile: string): Toolbox {
    const tools = createToolbox([], [`XTABLES_LOCKFILE=${lockFile}`]);
    for (const name of IPTABLES) tools.add(name, name.replace("iptables", "iptables-legacy"));
    return tools;
  }

  function createGuard(tools: Toolbox, handle: NetnsHandle, warnings: string[] = []): FirewallGuard {
    return new FirewallGuard({
      choice: "auto",
      resyncSeconds: 1,
      log: { ...silentLogger, warn: (_, fields) => warnings.push(String(fields?.note)) },
      clock: systemClock,
      commandPrefix: prefixOf(tools),
      netns: handle,
    });
  }

  it("works with legacy iptables and finds its own rules equal again", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tulle-lock-"));
    toolbox = legacyTools(join(folder, "lock"));
    try {
      const engine = (): IptablesEngine =>
        new IptablesEngine(new CommandRunner(prefixOf(toolbox as Toolbox)));
      expect(await engine().reconcile(only(MASQUERADE_PLAN))).not.toEqual([]);
      expect(await engine().reconcile(only(MASQUERADE_PLAN))).toEqual([]);
      host.exec("iptables-legacy", ["-t", "nat", "-F"]);
      expect(await engine().reconcile(only(MASQUERADE_PLAN))).not.toEqual([]);
      expect(host.exec("iptables-legacy-save", [])).toContain("--random-fully");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  /** Holds the lock of legacy iptables for a while, as another program's iptables would. */
  async function holdLock(lockFile: string, seconds: number): Promise<ChildProcess> {
    const script = `exec 9>"${lockFile}"; flock 9; echo held; exec sleep ${seconds}`;
    const holder = spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    return holder;
  }

  it("waits for the holder of the xtables lock", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tulle-lock-"));
    toolbox = legacyTools(join(folder, "lock"));
    const holder = await holdLock(join(folder, "lock"), LOCK_HELD_SECONDS);
    try {
      const engine = new IptablesEngine(new CommandRunner(prefixOf(toolbox)));
      expect(await engine.reconcile(only(PLAN))).not.toEqual([]);
      // The holder's end may not have been noted yet.
      expect(spawnSync("flock", ["--nonblock", join(folder, "lock"), "true"]).status).toBe(0);
    } finally {
      holder.kill();
      rmSync(folder, { recursive: true });
    }
  });

  it("stops at once though the lock is held", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tulle-lock-"));
    toolbox = legacyTools(join(folder, "lock"));
    const holder = await holdLock(join(folder, "lock"), 60);
    const handle = NetnsHandle.open(host.path);
    const guard = createGuard(toolbox, handle);
    try {
      const updated = guard.update(null, PLAN);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await guard.stop();
      await updated;
      expect(holder.exitCode).toBeNull();
      expect(host.exec("iptables-legacy-save", [])).not.toContain("FLANNEL");
    } finally {
      handle.close();
      holder.kill();
      rmSync(folder, { recursive: true });
    }
  });

  it("keeps in the other variant's tables only the accepts, and only where something drops there", async () => {
    toolbox = createToolbox([...IPTABLES, "iptables-legacy-save", "iptables-legacy-restore"]);
    const legacy = new IptablesEngine(new CommandRunner(prefixOf(toolbox)), new Listings(), "-legacy");
    await legacy.reconcile(only(MASQUERADE_PLAN));
    expect(host.exec("iptables-legacy-save", [])).toContain("FLANNEL-FWD");
    const handle = NetnsHandle.open(host.path);
    const guard = createGuard(toolbox, handle);
    try {
      await guard.update(null, MASQUERADE_PLAN);
      expect(guard.status()).toMatchObject({ engine: "iptables", isInSync: true });
      expect(host.exec("iptables-legacy-save", [])).not.toContain("FLANNEL");
      expect(host.exec("iptables-nft-save", [])).toContain("FLANNEL-FWD");
      host.exec("iptables-legacy", ["-P", "FORWARD", "DROP"]);
      await guard.update(null, MASQUERADE_PLAN);
      expect(host.exec("iptables-legacy-save", [])).toContain("-A FLANNEL-FWD -s 10.2.0.0/16");
      expect(host.exec("iptables-legacy-save", ["-t", "nat"])).not.toContain("FLANNEL");
    } finally {
      await guard.stop();
      handle.close();
    }
  });

  it("needs ip6tables only for a network with an IPv6 range", async () => {
    toolbox = createToolbox(IPTABLES);
    const engine = new IptablesEngine(new CommandRunner(prefixOf(toolbox)));
    expect(await engine.reconcile(only(PLAN))).not.toEqual([]);
    await expect(engine.reconcile(only(DUAL_PLAN))).rejects.toThrow(/IPv6: ip6tables-save is not installed/);
  });

  it.each<[string, EngineKind, RegExp, () => Toolbox]>([
    [
      "ip6tables is not installed",
      "iptables",
      /^IPv6: ip6tables-restore is not installed/,
      () => createToolbox(IPTABLES),
    ],
    [
      "the kernel lacks a table of ip6tables",
      "iptables",
      /^IPv6: ip6tables-restore failed .*unable to initialize table 'nat'/,
      () => {
        const tools = createToolbox([...IPTABLES, "ip6tables-save"]);
        tools.write(
          "ip6tables-restore",
          `cat >/dev/null; echo "ip6tables-restore: unable to initialize table 'nat'" >&2; exit 3`,
        );
        return tools;
      },
    ],
    [
      "the kernel lacks IPv6 in nftables",
      "nft",
      /^IPv6: nft rejected the rules: .*Address family not supported/,
      () => {
        const tools = createToolbox([]);
        tools.write(
          "nft",
          `case "$*" in
             *'"family":"ip6"'*) echo "Error: Could not process rule: Address family not supported" >&2; exit 1 ;;
           esac
           exec ${locate("nft")} "$@"`,
        );
        return tools;
      },
    ],
  ])(
    "keeps the rules of IPv4 in order where %s, and reports one problem",
    async (_, kind, problem, tools) => {
      toolbox = tools();
      const handle = NetnsHandle.open(host.path);
      const warnings: string[] = [];
      const guard = createGuard(toolbox, handle, warnings);
      const isHeld = (): boolean =>
        host
          .exec(kind === "nft" ? "nft" : "iptables-save", kind === "nft" ? ["list", "ruleset"] : [])
          .includes("flanneld forward");
      guard.start();
      try {
        await guard.update(null, DUAL_PLAN);
        expect(guard.status()).toMatchObject({ engine: kind, isInSync: false, note: null });
        expect(guard.status().lastError).toMatch(problem);
        expect(isHeld()).toBe(true);
        if (kind === "nft") host.exec("nft", ["flush", "ruleset"]);
        else host.exec("iptables", ["-F"]);
        await expect.poll(isHeld, { timeout: 5000 }).toBe(true);
        expect(warnings).toHaveLength(1);
      } finally {
        await guard.stop();
        handle.close();
      }
    },
  );

  it("does without any tool by default, says so once, and uses the tool once there is one", async () => {
    toolbox = createToolbox([]);
    const handle = NetnsHandle.open(host.path);
    const warnings: string[] = [];
    const guard = createGuard(toolbox, handle, warnings);
    try {
      await guard.update(null, PLAN);
      await guard.update(null, PLAN);
      expect(guard.status()).toMatchObject({
        engine: null,
        isInSync: true,
        lastError: null,
        note: warnings[0],
      });
      expect(warnings).toEqual([expect.stringContaining("neither nft nor iptables")]);
      toolbox.add("nft");
      await guard.update(null, PLAN);
      expect(guard.status()).toMatchObject({ engine: "nft", isInSync: true, note: null });
      expect(host.exec("nft", ["list", "ruleset"])).toContain("flanneld forward");
    } finally {
      await guard.stop();
      handle.close();
    }
  });

  it("says what to install where the masquerade needs a tool and there is none, and uses it once it is there", async () => {
    toolbox = createToolbox([]);
    const handle = NetnsHandle.open(host.path);
    const guard = createGuard(toolbox, handle);
    try {
      await guard.update(null, MASQUERADE_PLAN);
      expect(guard.status()).toMatchObject({ engine: null, isInSync: false });
      expect(guard.status().lastError).toMatch(/install nftables, or run with --firewall none/);
      toolbox.add("nft");
      guard.start();
      await expect
        .poll(() => guard.status(), { timeout: 5000 })
        .toMatchObject({ engine: "nft", isInSync: true, repairs: 0, lastError: null });
    } finally {
      await guard.stop();
      handle.close();
    }
  });

  it("asks for firewalld no more than once as long as only its table is there", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tulle-firewall-cmd-"));
    const asked = join(folder, "asked");
    writeFileSync(asked, "");
    toolbox = createToolbox(["nft"]);
    toolbox.write("firewall-cmd", `printf . >> ${asked}; exit 252`);
    const handle = NetnsHandle.open(host.path);
    const guard = createGuard(toolbox, handle);
    const count = (): number => readFileSync(asked, "utf8").length;
    guard.start();
    try {
      host.exec("nft", ["add table inet firewalld"]);
      await guard.update(null, PLAN);
      for (let container = 0; container < 5; container++) {
        host.exec("nft", [`add table inet theirs${container}`]);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      expect(count()).toBe(1);
      host.exec("nft", ["add chain inet firewalld filter_FORWARD"]);
      await expect.poll(count, { timeout: 5000 }).toBe(2);
    } finally {
      await guard.stop();
      handle.close();
      rmSync(folder, { recursive: true });
    }
  });

  it("survives a tool that vanishes, and goes on with the other one", async () => {
    toolbox = createToolbox([...IPTABLES, "nft"]);
    const handle = NetnsHandle.open(host.path);
    const guard = createGuard(toolbox, handle);
    guard.start();
    try {
      await guard.update(null, MASQUERADE_PLAN);
      expect(guard.status()).toMatchObject({ engine: "iptables", isInSync: true });
      for (const name of IPTABLES) toolbox.take(name);
      await guard.update(null, PLAN);
      expect(guard.status()).toMatchObject({
        isInSync: false,
        lastError: expect.stringContaining("iptables"),
      });
      await expect
        .poll(() => guard.status(), { timeout: 5000 })
        .toMatchObject({ engine: "nft", isInSync: true });
    } finally {
      await guard.stop();
      handle.close();
    }
  });
});
