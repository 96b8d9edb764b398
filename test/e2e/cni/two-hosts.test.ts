/** Containers of two hosts, attached by tulle-cni to the subnets that tulled leased. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { type CniContainer, CniHost } from "../../support/cni-host.ts";
import { describeWithEtcd, useEtcdLab } from "../../support/hosts.ts";

const PACKET_BYTES = 1422;

describeWithEtcd("tulle-cni on hosts of tulled", () => {
  const net = useEtcdLab("cnitwo", {
    hosts: 2,
    config: { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } },
  });
  const hosts: CniHost[] = [];
  const attached: { container: CniContainer; address: string }[] = [];

  beforeAll(async () => {
    for (const host of [net.host(1), net.host(2)]) hosts.push(new CniHost("two", host));
  });
  afterAll(() => {
    for (const host of hosts) host.dispose();
  });

  const ping = (from: number, to: number) =>
    attached[from]?.container.netns.exec("ping", [
      ...["-c2", "-i0.2", "-W2", "-Mdo", `-s${PACKET_BYTES - 28}`],
      attached[to]?.address ?? "",
    ]);

  it("asks to try again until tulled has a lease", () => {
    const [host] = hosts;
    const answer = host?.call("ADD", { container: host.addContainer() });
    expect(answer?.json).toMatchObject({ code: 11 });
  });

  it("attaches containers that reach each other across hosts, with packets of full size", async () => {
    await net.startAll();
    for (const [index, host] of hosts.entries()) {
      const container = host.addContainer();
      const { exitCode, json, stdout } = host.call("ADD", { container });
      expect(exitCode, stdout).toBe(0);
      const [address = ""] = json.ips[0].address.split("/");
      const own = net.host(index + 1).subnetEnv().subnets[4];
      expect(json.ips[0].gateway).toBe(String(own?.address));
      attached.push({ container, address });
    }
    await expect.poll(() => pings(0, 1), { timeout: 10_000 }).toBe(true);
    expect(ping(0, 1)).toContain(" 0% packet loss");
    expect(ping(1, 0)).toContain(" 0% packet loss");
  });

  it("serves while tulled is stopped", async () => {
    await net.host(1).daemon.stop();
    const [host] = hosts;
    const container = host?.addContainer();
    expect(host?.call("ADD", container && { container }).exitCode).toBe(0);
    expect(host?.call("DEL", container && { container }).exitCode).toBe(0);
    expect(ping(0, 1)).toContain(" 0% packet loss");
  });

  it("leaves nothing", () => {
    for (const [index, host] of hosts.entries()) {
      const container = attached[index]?.container;
      expect(host.call("DEL", container && { container }).exitCode).toBe(0);
      expect([...host.reservations(), ...host.stateFiles()]).toEqual([]);
    }
  });

  function pings(from: number, to: number): boolean {
    try {
      return ping(from, to)?.includes(" 0% packet loss") ?? false;
    } catch {
      return false; // the first packets may be lost while neighbours are being programmed
    }
  }
});
