/** Which changes are made now, in which steps, and what is recorded of them. reconciler.test.ts has the loop around it. */

import { beforeEach, describe, expect, it } from "vitest";
import { ChangeApplier } from "../../../../backends/kernel/change-applier.ts";
import { ENODEV, NetlinkError } from "../../../../backends/netlink/errors.ts";
import type { LinkObject } from "../../../../backends/state/kinds/link.ts";
import { type KernelObject, keyOf } from "../../../../backends/state/kinds/registry.ts";
import { StateTracker } from "../../../../backends/state/tracker.ts";
import { parseMac } from "../../../../ipam/addresses/mac.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { FakeKernel } from "../../../support/fake-kernel.ts";
import { recordingLogger } from "../../../support/lease-fixture.ts";
import { OWN, peer, prepareVxlan, scopeOf } from "../../../support/vxlan-fixture.ts";

const LINK = "link flannel.1";

describe("ChangeApplier", () => {
  const backend = prepareVxlan();
  let kernel: FakeKernel;
  let tracker: StateTracker;
  let clock: FakeClock;
  let logger: ReturnType<typeof recordingLogger>;
  let applier: ChangeApplier;
  let observations: number;

  const observe = async (): Promise<void> => {
    observations++;
    tracker.replaceActual(await kernel.dump(tracker.scope));
  };
  beforeEach(() => {
    kernel = new FakeKernel();
    tracker = new StateTracker(scopeOf(backend));
    clock = new FakeClock();
    logger = recordingLogger();
    observations = 0;
    applier = new ChangeApplier({ port: kernel, tracker, clock, logger, observe });
  });

  const planned = (n: number): readonly KernelObject[] => backend.planPeer(peer(n), false);
  const routeKey = (n: number): string => keyOf(planned(n)[2] as KernelObject);
  const plan = (...peers: number[]): void => {
    const groups = new Map(peers.map((n) => [peer(n).key, planned(n)]));
    tracker.setDesired({ type: "whole", groups: groups.set("base", backend.planBase(OWN)) });
  };
  const apply = () => applier.apply(applier.due().due, false);
  const dueKeys = (): readonly string[] => applier.due().due.map(({ key }) => key);

  it("makes devices before all else, and reads nothing when they are new", async () => {
    plan(4, 5);
    const { applied, repaired, failed } = await apply();
    expect(kernel.log[0]?.object).toMatchObject({ kind: "link", name: "flannel.1" });
    expect([applied.link, applied.route, repaired, failed, observations]).toEqual([1, 2, {}, 0, 0]);
    expect(applier.due()).toEqual({ due: [], waitMs: Number.POSITIVE_INFINITY });
  });

  it("sends nothing for a device that failed, and holds it back until the retry", async () => {
    kernel.failWith = ({ object }) => (object.kind === "link" ? new NetlinkError("x", ENODEV) : null);
    plan(4, 5);
    expect((await apply()).failed).toBe(1);
    expect(kernel.log.every(({ object }) => object.kind === "link")).toBe(true);
    applier.failures.retryAt(clock.monotonicMs() + 300);
    // Settings of the host are on no device.
    expect(dueKeys().filter((key) => !key.startsWith("sysctl"))).toEqual([]);
    expect(applier.due().waitMs).toBe(300);
    applier.failures.retryNow();
    expect(dueKeys()).toContain(LINK);
  });

  it("holds back only the key that failed when that is no device", async () => {
    kernel.failWith = ({ object }) => (keyOf(object) === routeKey(4) ? new NetlinkError("x", ENODEV) : null);
    plan(4);
    await apply();
    applier.failures.retryAt(clock.monotonicMs() + 300);
    plan(4, 5);
    expect(dueKeys()).toContain(routeKey(5));
    expect(dueKeys()).not.toContain(routeKey(4));
  });

  it("restores what its change of a device removed, in the same call and without calling it a repair", async () => {
    plan(4, 5);
    await apply();
    kernel.interfere({
      ...(kernel.objects.get(LINK) as LinkObject),
      mac: parseMac("02:00:00:00:00:77"),
    });
    await observe();
    observations = 0;
    const { applied, repaired } = await apply();
    expect(applied).toEqual({ link: 1, neighbour: 2 });
    expect([repaired, observations]).toEqual([{ link: 1 }, 1]);
    expect(applier.due().due).toEqual([]);
  });

  it("adds repairs up, and logs a large number of them as one", async () => {
    const peers = Array.from({ length: 25 }, (_, index) => index + 2);
    plan(...peers);
    await apply();
    for (const n of peers) kernel.remove(routeKey(n));
    await observe();
    expect((await apply()).repaired).toEqual({ route: 25 });
    const messages = logger.lines.map(({ message }) => message);
    expect(messages.filter((message) => message === "drift repaired")).toHaveLength(20);
    expect(messages.filter((message) => message === "much drift repaired")).toHaveLength(1);
    kernel.remove(routeKey(2));
    await observe();
    await apply();
    expect(applier.repaired).toEqual({ route: 26 });
  });

  it("delays the repair of an object that something keeps undoing", async () => {
    plan(4, 5);
    await apply();
    for (let time = 0; time < 10; time++) {
      kernel.remove(routeKey(4));
      await observe();
      await apply();
    }
    kernel.remove(routeKey(4));
    kernel.remove(routeKey(5));
    await observe();
    expect(dueKeys()).toEqual([routeKey(5)]);
    expect(applier.due().waitMs).toBe(500);
    expect(applier.contention.list(clock.monotonicMs()).map(({ key }) => key)).toEqual([routeKey(4)]);
  });
});
