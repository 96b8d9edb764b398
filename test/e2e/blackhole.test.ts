/** `--ip-blackhole-route` from start to clean-up: packets from the tunnel to unused addresses do not leave. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { createLab, fileStoreOf, type Host, type Lab, ping, TULLE } from "../support/hosts.ts";
import { watchDevice } from "../support/monitor.ts";
import { describeAsRoot } from "../support/netns.ts";

const FLAG = "--ip-blackhole-route";
const NETWORK = "10.2.0.0/16";

describeAsRoot("the route to nowhere", () => {
  let lab: Lab;
  let host: Host;
  let other: Host;
  let flags: readonly string[];

  beforeAll(async () => {
    lab = createLab("blackhole");
    // The default route of both hosts, which would take everything.
    lab.lan.ip("address add 192.168.50.1/24 dev lan");
    lab.lan.exec("nft", [
      `add table ip leak; add chain ip leak in { type filter hook prerouting priority 0; };
      add rule ip leak in ip daddr ${NETWORK} counter`,
    ]);
    [host, other] = [lab.addHost(), lab.addHost()];
    flags = [
      `--store=${await fileStoreOf(lab, { Network: NETWORK, Backend: { Type: "vxlan" } })}`,
      "--ip-forward",
    ];
    await host.daemon.start(...flags);
    await other.daemon.start(...flags);
    await host.daemon.until(({ peers }) => peers.length === 1, "sees the other host");
  });
  afterAll(() => lab.dispose());

  /** Packets that the LAN's router got, after the other host has sent some to an unused address. */
  const leaked = async (): Promise<number> => {
    const count = (): number =>
      Number(/packets (\d+)/.exec(lab.lan.exec("nft", ["list", "table", "ip", "leak"]))?.[1]);
    const before = count();
    const nobody = host.subnetEnv().subnets[4]?.address.plus(76).toString() ?? "";
    expect((await ping(other.netns, nobody, 5)).roundTripMs).toEqual([]);
    return count() - before;
  };
  const blackholes = (): string =>
    host.netns.exec("ip", ["route", "show", "type", "blackhole", "proto", "116"]);
  const restart = async (...more: readonly string[]): Promise<void> => {
    await host.daemon.stop();
    await host.daemon.start(...flags, ...more);
  };

  it("is missed: packets to nobody go round by the default route", async () => {
    expect(await leaked()).toBeGreaterThanOrEqual(5);
  });

  it("keeps packets to nobody from leaving, and packets to a container arrive", async () => {
    await restart(FLAG);
    expect(await leaked()).toBe(0);
    expect((await ping(other.netns, host.addContainer().address, 3)).lost).toEqual([]);
    host.netns.ip("link del docker0");
  });

  it("is adopted by a restart", async () => {
    // The route has no device, but this word where others have one.
    const monitor = await watchDevice(host.netns, "blackhole");
    await restart(FLAG);
    expect(await monitor.stop()).toEqual([]);
    expect(await leaked()).toBe(0);
  });

  it("goes when it is not wanted any more, and with everything else at a clean-up", async () => {
    await restart();
    await expect.poll(blackholes, { timeout: 5000 }).toBe("");
    await restart(FLAG);
    expect(blackholes()).toContain("/24");
    await host.daemon.stop();
    const state = `--state-dir=${host.stateDirectory}`;
    host.run(...TULLE, "cleanup", flags[0] ?? "", state);
    expect(blackholes()).toBe("");
  });
});
