/** A change of the backend across running hosts: what each of them has in between, and in the end. */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type Container, describeWithEtcd, type Host, PROGRAMS, ping, useEtcdLab } from "../support/hosts.ts";

const config = (type: string) => ({ Network: "10.2.0.0/16", Backend: { Type: type } });

describeWithEtcd("a change from vxlan to host-gw", () => {
  const net = useEtcdLab("migrate", { hosts: 3, config: config("vxlan") });
  let containers: readonly Container[];

  const lost = async (from: number, to: number): Promise<readonly number[]> => {
    const [one, two] = [containers[from - 1], containers[to - 1]];
    if (one === undefined || two === undefined) throw new Error("no such container");
    return (await ping(one.netns, two.addresses[4] ?? "", 3)).lost;
  };
  const migrate = (): { readonly code: number | null; readonly out: string } => {
    const command = [process.execPath, join(PROGRAMS, "tulle"), "net", "migrate", ...net.flags];
    const [program = "", ...args] = net.host(1).enter(...command);
    const { status, stdout } = spawnSync(program, args, { encoding: "utf8" });
    return { code: status, out: stdout };
  };
  const devices = (host: Host) =>
    host.netns
      .ipJson(["link", "show"])
      .map(({ ifname }) => String(ifname))
      .filter((name) => name.startsWith("flannel"));

  it("changes nothing on running hosts", async () => {
    await net.startAll();
    containers = [1, 2, 3].map((number) => net.host(number).addContainer());
    for (const to of [2, 3]) await expect.poll(() => lost(1, to), { timeout: 20_000 }).toEqual([]);
    net.putConfig(config("host-gw"));
    const { daemon } = net.host(1);
    await daemon.until(
      ({ problems }) => problems.join().includes("changed Backend.Type"),
      "shows the change",
    );
    expect(await daemon.status()).toMatchObject({ isReady: true });
    for (const to of [2, 3]) expect(await lost(1, to)).toEqual([]);
    expect(migrate()).toMatchObject({
      code: 1,
      out: expect.stringContaining("3 of 3 hosts do not use host-gw"),
    });
  });

  it("names the hosts of the other kind, and disturbs none of one kind", async () => {
    const [one, two, three] = [net.host(1), net.host(2), net.host(3)];
    await three.daemon.stop();
    await three.daemon.start(...net.flags);
    const rejects = 'its backend is "host-gw" where this network uses vxlan';
    await one.daemon.until(({ problems }) => problems.join().includes(rejects), "rejects the new kind");
    const status = await three.daemon.status();
    expect(status?.problems.filter((text) => text.includes('its backend is "vxlan"')).length).toBe(2);
    expect(status).toMatchObject({ isReady: true, peers: [] });
    expect(await lost(1, 2)).toEqual([]);
    expect(devices(three)).toEqual([]);
    expect(migrate()).toMatchObject({
      code: 1,
      out: expect.stringContaining("2 of 3 hosts do not use host-gw"),
    });
    await two.daemon.stop();
    await two.daemon.start(...net.flags);
    await expect.poll(() => lost(2, 3), { timeout: 20_000 }).toEqual([]);
    const { out } = migrate();
    expect(out).toContain(one.address);
    expect(out).not.toContain(`${two.address} `);
  });

  it("is complete when all have followed, with the same subnets", async () => {
    const { daemon } = net.host(1);
    const before = net.host(1).subnetEnv().subnets;
    await daemon.stop();
    await daemon.start(...net.flags);
    for (const to of [2, 3]) await expect.poll(() => lost(1, to), { timeout: 20_000 }).toEqual([]);
    expect(migrate()).toEqual({ code: 0, out: "all 3 hosts use host-gw\n" });
    expect(net.host(1).subnetEnv().subnets).toEqual(before);
    for (const number of [1, 2, 3]) {
      expect(devices(net.host(number))).toEqual([]);
      expect(await net.host(number).daemon.status()).toMatchObject({ isReady: true, problems: [] });
    }
  });
});
