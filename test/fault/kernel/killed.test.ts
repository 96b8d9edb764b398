/** A real daemon, killed with SIGKILL before each of its effects on files and kernel in turn, and the one after it. */

import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { Daemon } from "../../../agent/demo/daemon.ts";
import { dataPathOf } from "../../support/data-path.ts";
import { describeWithEtcd, type Host, PROGRAMS, useEtcdLab } from "../../support/hosts.ts";
import { peer } from "../../support/vxlan-fixture.ts";

const CONFIG = { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } };
const KILLER = join(import.meta.dirname, "../../support/kill-at-effect.cjs");
/** A first start has about this many; fewer would mean that they are not counted. */
const MIN_EFFECTS = 15;

describeWithEtcd("a daemon that is killed at any moment of its start", () => {
  const net = useEtcdLab("killed", { hosts: 1, config: CONFIG });
  let wanted: string;

  beforeAll(async () => {
    for (const { key, attrs } of [peer(54), peer(16), peer(17)]) {
      const { publicAddress, backendType, backendData } = attrs;
      const value = { PublicIP: publicAddress[4], BackendType: backendType, BackendData: backendData[4] };
      net.put(`subnets/${key}`, JSON.stringify(value));
    }
    const { daemon, netns } = net.host(1);
    await daemon.start(...net.flags);
    await daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
    wanted = dataPathOf(netns);
    await daemon.stop();
  });

  it("is followed by one that gets to the same place", async () => {
    const host = net.host(1);
    let effect = 0;
    for (let wasKilled = true; wasKilled; ) {
      effect++;
      host.netns.exec("sh", ["-c", "ip link delete flannel.1 2>/dev/null || true"]);
      wasKilled = await startDoomed(host, effect, net.flags);
      await host.daemon.start(...net.flags);
      await host.daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
      expect(dataPathOf(host.netns), `killed before effect ${effect}`).toBe(wanted);
      await host.daemon.stop();
    }
    expect(effect).toBeGreaterThan(MIN_EFFECTS);
  }, 300_000);
});

/** Returns whether it was killed; it was not when it had fewer effects until it was ready, and is stopped then. */
async function startDoomed(host: Host, effect: number, flags: readonly string[]): Promise<boolean> {
  const doomed = new Daemon({
    command: host.enter(
      ...["env", `NODE_OPTIONS=--require=${KILLER}`, `TULLE_KILL_AT=${effect}`],
      ...["setpriv", "--pdeathsig", "KILL", process.execPath, join(PROGRAMS, "tulled")],
      `--state-dir=${host.stateDirectory}`,
    ),
    runDirectory: host.runDirectory,
    logFile: join(host.runDirectory, "doomed.log"),
  });
  doomed.spawn(...flags);
  const ended = doomed.ended().then((code) => {
    if (code !== null) throw new Error(`it ended by itself: ${doomed.log.slice(-1000)}`);
    return true;
  });
  const ready = doomed.until(({ isReady }) => isReady, "is ready").then(() => false);
  const wasKilled = await Promise.race([ended, ready.catch(() => ended)]);
  if (!wasKilled) await doomed.stop();
  await ended.catch(() => undefined);
  return wasKilled;
}
