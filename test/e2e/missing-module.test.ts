/** Backends whose module this kernel lacks. Where the kernel has it, the guest's tests show that the backend works. */

import { spawnSync } from "node:child_process";
import process from "node:process";
import { expect, it } from "vitest";
import { TULLE, useEtcdLab } from "../support/hosts.ts";
import { describeAsRoot } from "../support/netns.ts";

/** Adding a device loads its module, where there is one. */
function hasDevices(type: string): boolean {
  const name = `tulle-${type}-${process.pid}`;
  if (spawnSync("ip", ["netns", "add", name]).status !== 0) return true;
  const { status } = spawnSync("ip", ["-n", name, "link", "add", "probe0", "type", type]);
  spawnSync("ip", ["netns", "delete", name]);
  return status === 0;
}

for (const type of ["ipip", "wireguard"]) {
  describeAsRoot(`a kernel without ${type}`, () => {
    const net = useEtcdLab(`no-${type}`, {
      hosts: 1,
      config: { Network: "10.2.0.0/16", Backend: { Type: type } },
    });

    it.skipIf(hasDevices(type))("is named with the module, and doctor names the package", async () => {
      const host = net.host(1);
      host.daemon.spawn(...net.flags);
      const { isReady, blocking } = await host.daemon.until(
        ({ problems }) => problems.some((text) => text.includes(`modprobe ${type}`)),
        "names the module",
      );
      expect(isReady).toBe(false);
      expect(blocking).toContainEqual(expect.stringContaining(`the kernel has no ${type} devices`));
      const [program = "", ...args] = host.enter(...TULLE, "doctor", ...net.flags);
      const { stdout, status } = spawnSync(program, args, { encoding: "utf8" });
      expect(status).not.toBe(0);
      expect(stdout).toMatch(new RegExp(`${type}[^]*Debian: linux-image-amd64`));
      // One line, however often it is tried again.
      expect(host.daemon.log.match(/kernel rejected a change/g)).toHaveLength(1);
      expect(await host.daemon.stop()).toBe(0);
    });
  });
}
