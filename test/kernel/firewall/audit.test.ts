/** Audits: silent while nothing can have changed, thorough where the kernel does not tell. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { FirewallGuard } from "../../../backends/firewall/guard.ts";
import { KernelFacts } from "../../../backends/firewall/kernel-facts.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { systemClock } from "../../../ipam/clock.ts";
import { silentLogger } from "../../../ipam/log.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { PLAN } from "./fixture.ts";

const AUDIT_SECONDS = 0.02;

describeAsRoot("the firewall's audits", () => {
  let host: TestNetns;
  let handle: NetnsHandle;
  beforeEach(() => {
    host = createNetns("fwaudit");
    handle = NetnsHandle.open(host.path);
  });
  afterEach(() => {
    handle.close();
    host.dispose();
  });

  it("count the transactions of nft and of iptables-nft, and nothing else", () => {
    const facts = new KernelFacts(handle);
    try {
      const seen = [facts.generation(), facts.generation()];
      host.exec("nft", ["add", "table", "inet", "other"]);
      seen.push(facts.generation());
      host.exec("iptables-nft", ["-A", "FORWARD", "-j", "ACCEPT"]);
      seen.push(facts.generation());
      host.exec("iptables-nft-save", []);
      seen.push(facts.generation());
      expect(seen).not.toContain(null);
      expect(seen.map((one) => one === seen[0])).toEqual([true, true, false, false, false]);
      expect(seen[3]).not.toBe(seen[2]);
      expect(seen[4]).toBe(seen[3]);
      host.exec("iptables-legacy", ["-L", "-n"]);
      expect(facts.generation()).toBeNull();
    } finally {
      facts.close();
    }
  });

  it("start no program on a host at rest, and list what has changed, and all beside legacy tables", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tulle-audit-"));
    const log = join(folder, "started");
    writeFileSync(log, "");
    const started = (): number => readFileSync(log, "utf8").length;
    const guard = new FirewallGuard({
      choice: "iptables",
      resyncSeconds: AUDIT_SECONDS,
      log: silentLogger,
      clock: systemClock,
      commandPrefix: ["sh", "-c", `printf . >> ${log}; exec "$@"`, "sh", "nsenter", `--net=${host.path}`],
      netns: handle,
    });
    try {
      guard.start();
      await guard.update(null, PLAN);
      // The next pass, which the kernel's notifications of the first one cause, lists what that wrote.
      await audits(20);
      const atRest = started();
      await audits(20);
      expect(started()).toBe(atRest);
      host.exec("nft", ["add", "table", "inet", "other"]);
      await audits(20);
      expect(started()).toBe(atRest);
      host.exec("iptables-nft", ["-A", "FORWARD", "-j", "ACCEPT"]);
      await expect.poll(started).toBeGreaterThan(atRest);
      host.exec("iptables-legacy", ["-L", "-n"]);
      for (let look = 0; look < 3; look++) {
        const before = started();
        await expect.poll(started).toBeGreaterThan(before);
      }
    } finally {
      await guard.stop();
      rmSync(folder, { recursive: true });
    }
  });
});

function audits(count: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, count * AUDIT_SECONDS * 1000));
}
