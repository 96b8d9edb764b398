/** A daemon without free file descriptors (EMFILE), as after a leak elsewhere in a container: it lives and repairs. */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import process from "node:process";
import { beforeAll, expect, it } from "vitest";
import { dataPathOf } from "../support/data-path.ts";
import { describeWithEtcd, useEtcdLab } from "../support/hosts.ts";

const WAIT = { timeout: 40_000, interval: 100 };

describeWithEtcd("a daemon without free descriptors", () => {
  const net = useEtcdLab("emfile", { hosts: 2, config: { Network: "10.2.0.0/16", EnableNFTables: true } });
  beforeAll(() => net.startAll());

  it("keeps running, and repairs everything once there are some", async () => {
    const host = net.host(1);
    await host.daemon.until(
      ({ peers, kernel }) => peers.length === 1 && kernel.isConverged,
      "knows its peer",
    );
    const rules = () => host.netns.exec("nft", ["list", "ruleset"]);
    const subnetFile = `${host.runDirectory}/flannel/subnet.env`;
    await expect.poll(rules, WAIT).toContain("flannel");
    const before = dataPathOf(host.netns);
    const { pid } = host.daemon;
    if (pid === null) throw new Error("the daemon does not run");

    // The kernel compares numbers of new descriptors with the limit: 3 leaves none free.
    const [, soft = ""] = /^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, "utf8")) ?? [];
    const limit = (files: string) => execFileSync("prlimit", [`--pid=${pid}`, `--nofile=${files}:`]);
    limit("3");
    try {
      host.netns.exec("nft", ["flush", "ruleset"]);
      host.netns.ip("link delete flannel.1");
      rmSync(subnetFile);
      process.kill(pid, "SIGHUP");
      // Longer than the first retries of everything.
      await new Promise((resolve) => setTimeout(resolve, 5_000));
      expect(existsSync(subnetFile)).toBe(false);
      expect(rules()).not.toContain("flannel");
      expect(host.daemon.pid).toBe(pid);
    } finally {
      limit(soft);
    }

    await expect.poll(rules, WAIT).toContain("flannel");
    await expect.poll(() => existsSync(subnetFile), WAIT).toBe(true);
    await expect.poll(() => dataPathOf(host.netns), WAIT).toBe(before);
    await host.daemon.until((status) => status.isReady, "is ready again");
    expect(host.daemon.pid).toBe(pid);
    process.kill(pid, "SIGHUP");
    await host.daemon.until(
      (status) => status.isReady && status.problems.length === 0,
      "has no problem left",
    );
  });
});
