/** Netlink with fewer rights than root has: inside a user namespace, and without CAP_NET_ADMIN. */

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeAsRoot } from "../../support/netns.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const FOLDER = path.join(ROOT, `.lab/rights-${process.pid}`);
const PROBE = path.join(FOLDER, "probe.mjs");

describeAsRoot("netlink with fewer rights", () => {
  beforeAll(async () => {
    mkdirSync(FOLDER, { recursive: true });
    await build({
      absWorkingDir: ROOT,
      entryPoints: ["test/support/netlink-probe.ts"],
      outfile: PROBE,
      bundle: true,
      packages: "external",
      platform: "node",
      format: "esm",
      logLevel: "warning",
    });
  });
  afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

  it("takes the smaller receive buffer in a user namespace, and still reports every error", () => {
    const answer = probe("unshare", ["--user", "--map-root-user", "--net"]);
    // Where the limit exceeds the requested size, SO_RCVBUF alone grants it all.
    const limit = Number(readFileSync("/proc/sys/net/core/rmem_max", "utf8"));
    expect(answer.receiveBufferBytes).toBe(2 * Math.min(limit, 4 << 20));
    expect(answer.routes).toEqual({ made: 5000, refused: 5000 });
  });

  it("reads without CAP_NET_ADMIN, and says EPERM when it should write", () => {
    const answer = probe("unshare", [
      "--net",
      "setpriv",
      "--bounding-set",
      "-net_admin",
      "--inh-caps",
      "-net_admin",
    ]);
    expect(answer.routes).toBe("EPERM");
    expect(answer.dumped).toBeGreaterThanOrEqual(0);
    expect(answer.deviceError).toMatch(/ENODEV \(no device under0\)/);
  });
});

interface Answer {
  readonly receiveBufferBytes: number;
  readonly routes: { readonly made: number; readonly refused: number } | string;
  readonly dumped: number;
  readonly deviceError: string;
}

function probe(command: string, args: readonly string[]): Answer {
  return JSON.parse(
    execFileSync(command, [...args, process.execPath, PROBE], { encoding: "utf8", cwd: ROOT }),
  );
}
