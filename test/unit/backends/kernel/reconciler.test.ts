/** The reconciler's decisions: passes, retries, quarrels, conflicts and what status says about them. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ENODEV, EPERM, NetlinkError } from "../../../../backends/netlink/errors.ts";
import type { LinkObject } from "../../../../backends/state/kinds/link.ts";
import { type KernelObject, keyOf } from "../../../../backends/state/kinds/registry.ts";
import { parseMac } from "../../../../ipam/addresses/mac.ts";
import { FakeHost } from "../../../support/fake-host.ts";
import { renderState } from "../../../support/render-state.ts";
import { OWN, peer } from "../../../support/vxlan-fixture.ts";

describe("Reconciler", () => {
  let host: FakeHost;
  beforeEach(() => {
    host = new FakeHost();
  });
  afterEach(() => host.stop());

  const expected = (...peers: number[]) =>
    renderState([
      ...host.backend.planBase(OWN),
      ...peers.flatMap((n) => host.backend.planPeer(peer(n), false)),
    ]);
  const routeOf = (n: number) => host.backend.planPeer(peer(n), false)[2] as KernelObject;

  it("does nothing without a plan", async () => {
    await host.clock.advance(600_000);
    expect([host.kernel.dumps, host.kernel.log]).toEqual([0, []]);
  });

  it("brings the kernel to the plan in one pass and then rests until the audit", async () => {
    await host.want(peer(4), peer(5));
    expect(host.kernel.toString()).toBe(expected(4, 5));
    expect(host.reconciler.status()).toMatchObject({ isConverged: true, failures: [] });
    const changes = host.kernel.log.length;
    await host.clock.advance(299_000);
    expect(host.kernel.dumps).toBe(1);
    await host.clock.advance(1000);
    expect([host.kernel.dumps, host.kernel.log.length]).toEqual([2, changes]);
  });

  it("audits in time although peers come and go", async () => {
    for (let n = 0; n < 40; n++) {
      await host.want(peer(4), peer(10 + n));
      await host.clock.advance(10_000);
    }
    expect(host.kernel.dumps).toBe(2);
  });

  it("restores in the same pass what its own change of the device removed, and blames nobody", async () => {
    await host.want(peer(4), peer(5));
    const device = host.kernel.objects.get("link flannel.1") as LinkObject;
    for (let time = 0; time < 12; time++) {
      host.kernel.interfere({ ...device, mac: parseMac("02:00:00:00:00:77") });
      const steps = host.kernel.log.length;
      await host.clock.advance(1000);
      expect(host.kernel.toString()).toBe(expected(4, 5));
      expect(host.kernel.log.slice(steps).map(({ object }) => object.kind)).toEqual([
        "link",
        "neighbour",
        "neighbour",
      ]);
    }
    const { contended } = host.reconciler.status();
    expect(contended.map(({ key }) => key)).toEqual(["link flannel.1"]);
  });

  it("looks at the kernel once more before it complains", async () => {
    let failures = 1;
    host.kernel.failWith = () => (failures-- > 0 ? new NetlinkError("x", ENODEV) : null);
    await host.want(peer(4));
    await host.clock.advance(1);
    expect(host.kernel.toString()).toBe(expected(4));
    expect(host.logged("warn")).toEqual([]);
    expect(host.reconciler.status()).toMatchObject({ isConverged: true, failures: [] });
  });

  it("does not ask for what stands on a device that cannot be made", async () => {
    host.kernel.failWith = ({ object }) =>
      object.kind === "link" ? new NetlinkError("no parent", ENODEV) : null;
    await host.want(peer(4), peer(5));
    await host.clock.advance(60_000);
    expect(new Set(host.kernel.log.map(({ object }) => object.kind))).toEqual(new Set(["link"]));
    expect(host.reconciler.status().failures).toEqual([
      { key: "link flannel.1", message: "no parent: ENODEV", others: 0 },
    ]);
    expect(host.logged("warn").map(({ message }) => message)).toEqual(["kernel rejected a change"]);
    const attempts = host.kernel.log.length;
    expect(attempts).toBeLessThan(12);
    host.kernel.failWith = () => null;
    host.kernel.emit({ type: "resync", reason: "the parent is back" });
    await host.clock.advance(0);
    expect(host.kernel.toString()).toBe(expected(4, 5));
  });

  it("sums up a missing right in one sentence with a remedy", async () => {
    host.kernel.failWith = () => new NetlinkError("create link flannel.1", EPERM);
    await host.want(peer(4), peer(5));
    await host.clock.advance(60_000);
    expect(host.reconciler.status().failures).toEqual([
      { key: "link flannel.1", message: expect.stringContaining("CAP_NET_ADMIN"), others: 0 },
    ]);
    expect(host.logged("warn")).toHaveLength(1);
  });

  it("goes on with everything else while one change fails, and retries it ever less often", async () => {
    const key = keyOf(routeOf(4));
    const attempts: number[] = [];
    host.kernel.failWith = ({ object }) => {
      if (keyOf(object) !== key) return null;
      attempts.push(host.clock.monotonicMs());
      return new NetlinkError("create route", ENODEV);
    };
    await host.want(peer(4));
    await host.want(peer(4), peer(5));
    expect(host.kernel.objects.has(keyOf(routeOf(5)))).toBe(true);
    await host.clock.advance(100_000);
    const gaps = attempts.slice(1).map((atMs, at) => atMs - (attempts[at] ?? 0));
    expect(gaps.slice(0, 6)).toEqual([0, 100, 200, 400, 800, 1600]);
    expect(Math.max(...gaps)).toBe(30_000);
    expect(host.reconciler.status()).toMatchObject({ isConverged: false, failures: [{ key, others: 0 }] });
    host.plan(peer(5));
    await host.clock.advance(0);
    expect(host.reconciler.status()).toMatchObject({ isConverged: true, failures: [] });
  });

  it("counts repairs, and not what a plan changed", async () => {
    await host.want(peer(4), peer(5));
    await host.want(peer(4));
    expect(host.reconciler.status().repaired).toEqual({});
    host.kernel.remove(keyOf(routeOf(4)));
    await host.clock.advance(0);
    expect(host.reconciler.status().repaired).toEqual({ route: 1 });
    expect(host.kernel.toString()).toBe(expected(4));
  });

  it("backs off from whoever keeps undoing it, and says who", async () => {
    await host.want(peer(4));
    const key = keyOf(routeOf(4));
    for (let at = 0; at < 30; at++) {
      host.kernel.remove(key, 4242);
      await host.clock.advance(20);
    }
    expect(host.reconciler.status().contended).toEqual([
      {
        key,
        repairs: 10,
        retryInMs: expect.any(Number),
        evidence: "it was deleted, by program 4242 (netlink port 4242)",
      },
    ]);
    expect(host.logged("warn").map(({ message }) => message)).toEqual([
      "something keeps undoing our change; repairing it less often now",
    ]);
    expect(host.reconciler.status().isConverged).toBe(false);
    await host.clock.advance(600);
    expect(host.kernel.toString()).toBe(expected(4));
    await host.clock.advance(30_000);
    expect(host.reconciler.status()).toMatchObject({ contended: [], isConverged: true });
  });

  it("backs off from whoever keeps adding to its device, too", async () => {
    await host.want(peer(4));
    const stray = { ...routeOf(4), destination: peer(77).subnets[4] } as KernelObject;
    for (let at = 0; at < 30; at++) {
      host.kernel.interfere(stray);
      await host.clock.advance(20);
    }
    expect(host.kernel.log.filter(({ op }) => op === "delete")).toHaveLength(10);
    expect(host.reconciler.status().contended[0]?.evidence).toContain("it was added");
  });

  it("waits with everything on a device that it may not make again yet", async () => {
    await host.want(peer(4));
    for (let at = 0; at < 15; at++) {
      host.kernel.remove("link flannel.1");
      await host.clock.advance(20);
    }
    expect(host.reconciler.status()).toMatchObject({ failures: [], contended: [{ key: "link flannel.1" }] });
    await host.clock.advance(1000);
    expect(host.kernel.toString()).toBe(expected(4));
    expect(host.logged("warn")).toHaveLength(1);
  });

  it("leaves a device of its name alone that was there first, and is not converged", async () => {
    const bridge: KernelObject = {
      kind: "link",
      name: "flannel.1",
      type: "bridge",
      mac: null,
      mtuBytes: 1500,
      isUp: true,
    };
    host.kernel.interfere(bridge);
    await host.want(peer(4));
    expect(host.kernel.log).toEqual([]);
    expect(host.reconciler.status()).toMatchObject({
      isConverged: false,
      conflicts: [{ key: "link flannel.1", reason: expect.stringContaining("type bridge") }],
    });
    host.kernel.remove("link flannel.1");
    await host.clock.advance(0);
    expect(host.kernel.toString()).toBe(expected(4));
  });

  it("tries again after a dump that failed, without touching anything before", async () => {
    const dump = host.kernel.dump.bind(host.kernel);
    host.kernel.dump = () => Promise.reject(new NetlinkError("RTM_GETROUTE", ENODEV));
    await host.want(peer(4));
    expect(host.reconciler.status()).toMatchObject({ trouble: "RTM_GETROUTE: ENODEV", isConverged: false });
    expect([host.logged("warn").length, host.kernel.log]).toEqual([1, []]);
    host.kernel.dump = dump;
    await host.clock.advance(200);
    expect(host.reconciler.status().trouble).toBeNull();
    expect(host.kernel.toString()).toBe(expected(4));
    expect(host.logged("info").map(({ message }) => message)).toContain("kernel state can be read again");
  });

  it("passes news of the parent on", async () => {
    await host.want(peer(4));
    host.kernel.emit({ type: "host", device: "under0" });
    expect(host.hostChanges).toEqual(["under0"]);
  });

  it("survives an event whose processing fails, and reads the kernel again", async () => {
    await host.want(peer(4));
    host.hostChanges.push = () => {
      throw new Error("injected");
    };
    expect(() => host.kernel.emit({ type: "host", device: "under0" })).not.toThrow();
    expect(host.reconciler.status()).toMatchObject({ isConverged: false, trouble: "injected" });
    await host.clock.advance(0);
    expect(host.reconciler.status()).toMatchObject({ isConverged: true, trouble: null });
    expect(host.logged("warn").map(({ fields }) => fields.error)).toContain("injected");
  });

  it("removes leftovers of an earlier network once its scope says so", async () => {
    await host.want(peer(4));
    const link = host.backend.planBase(OWN)[0] as Extract<KernelObject, { kind: "link" }>;
    host.kernel.interfere({ ...link, name: "flannel.9" });
    await host.clock.advance(0);
    expect(host.kernel.objects.has("link flannel.9")).toBe(true);
    host.reconciler.setScope({
      devices: new Set(["flannel.1", "flannel.9"]),
      sharedDevices: new Set(["under0"]),
      nexthopDevices: new Set(["flannel.1"]),
      networks: [],
      sysctls: new Set(),
    });
    await host.clock.advance(0);
    expect(host.kernel.objects.has("link flannel.9")).toBe(false);
    expect(host.kernel.objects.has("link flannel.1")).toBe(true);
  });

  it("settled() rejects when it is given up, and keeps no listener", async () => {
    const abort = new AbortController();
    const waiting = host.reconciler.settled(abort.signal);
    abort.abort(new Error("given up"));
    await expect(waiting).rejects.toThrow("given up");
    await expect(host.reconciler.settled(abort.signal)).rejects.toThrow("given up");
  });
});
