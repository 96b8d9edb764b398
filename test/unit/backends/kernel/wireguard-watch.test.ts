/** Drift of WireGuard devices, which the kernel does not announce: read in turn, listed, repaired. */

import { afterEach, describe, expect, it } from "vitest";
import type { KernelEvent } from "../../../../backends/kernel/port.ts";
import { WireguardWatch } from "../../../../backends/kernel/wireguard-watch.ts";
import { EPERM, NetlinkError } from "../../../../backends/netlink/errors.ts";
import { type KernelObject, keyOf } from "../../../../backends/state/kinds/registry.ts";
import { backendRows } from "../../../support/backend-table.ts";
import { changedObject } from "../../../support/changed-object.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { FakeHost } from "../../../support/fake-host.ts";
import { renderState } from "../../../support/render-state.ts";

const rows = (await backendRows()).filter(({ type }) => type === "wireguard");
const DEVICE: KernelObject = { kind: "wg-device", device: "flannel-wg", publicKey: "key", listenPort: 51820 };

describe("the watch", () => {
  const closers: (() => void)[] = [];
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });

  function start(read: (device: string) => readonly KernelObject[]) {
    const clock = new FakeClock();
    const events: KernelEvent[] = [];
    const watch = new WireguardWatch({ read, clock, onEvents: (more) => void events.push(...more) });
    closers.push(() => watch.close());
    return { clock, events, watch };
  }

  it("lists each device every two seconds from when it is followed until it is gone", async () => {
    const present = new Set(["flannel-wg", "flannel-wg-v6"]);
    const { clock, events, watch } = start((device) => (present.has(device) ? [DEVICE] : []));
    const devices = () => events.splice(0).flatMap((event) => (event.type === "listing" ? event.device : []));
    await clock.advance(10_000);
    watch.follow("flannel-wg");
    watch.follow("flannel-wg-v6");
    watch.follow("flannel-wg");
    await clock.advance(1_999);
    expect(devices()).toEqual([]);
    await clock.advance(1);
    expect(devices()).toEqual(["flannel-wg", "flannel-wg-v6"]);
    present.delete("flannel-wg");
    await clock.advance(4_000);
    expect(devices()).toEqual(["flannel-wg-v6", "flannel-wg-v6"]);
    present.delete("flannel-wg-v6");
    await clock.advance(10_000);
    expect(devices()).toEqual([]);
    present.add("flannel-wg");
    watch.follow("flannel-wg");
    await clock.advance(2_000);
    expect(devices()).toEqual(["flannel-wg"]);
    watch.close();
    await clock.advance(10_000);
    watch.follow("flannel-wg");
    await clock.advance(10_000);
    expect(devices()).toEqual([]);
  });

  it.each([
    [10, 2_000],
    [60, 6_000],
    [500, 10_000],
  ])("after a reading of %i ms waits %i ms", async (costMs, pauseMs) => {
    const readings: number[] = [];
    const { clock, watch } = start(() => {
      readings.push(clock.monotonicMs());
      void clock.jump(costMs);
      return [DEVICE];
    });
    watch.follow("flannel-wg");
    await clock.advance(60_000);
    const pauses = readings.slice(1).map((atMs, index) => atMs - (readings[index] ?? 0));
    expect(new Set(pauses)).toEqual(new Set([costMs + pauseMs]));
  });

  it("asks for a dump when a device cannot be read, and goes on", async () => {
    let isDenied = true;
    const { clock, events, watch } = start(() => {
      if (isDenied) throw new NetlinkError("WireGuard", EPERM);
      return [DEVICE];
    });
    watch.follow("flannel-wg");
    await clock.advance(2_000);
    expect(events.splice(0)).toEqual([
      { type: "resync", reason: expect.stringMatching(/^flannel-wg cannot be read: .*EPERM/) },
    ]);
    isDenied = false;
    await clock.advance(2_000);
    expect(events).toMatchObject([{ type: "listing", device: "flannel-wg", objects: [DEVICE] }]);
  });
});

describe.each(rows)("$name: a listing", (row) => {
  it("repairs what differs, without a dump, and nothing else", async () => {
    const host = new FakeHost({ network: row });
    const { kernel, clock } = host;
    try {
      const leases = [row.peer(4), row.peer(5), row.peer(6)];
      await host.want(...leases);
      const wanted = renderState(host.planned(...leases));
      const list = async () => {
        for (const device of row.scope.devices) kernel.list(device);
        await clock.advance(1_000);
      };
      const { dumps, log } = kernel;
      const steps = log.length;
      await list();
      expect(log).toHaveLength(steps);
      for (const object of host.planned(...leases)) {
        if (object.kind !== "wg-peer" && object.kind !== "wg-device") continue;
        kernel.interfere(changedObject(object));
        await clock.advance(10_000);
        expect(kernel.toString()).not.toBe(wanted);
        await list();
        expect(kernel.toString()).toBe(wanted);
        if (object.kind === "wg-device") continue;
        kernel.remove(keyOf(object));
        kernel.interfere({ ...object, publicKey: Buffer.alloc(32, 1).toString("base64") });
        await list();
        expect(kernel.toString()).toBe(wanted);
      }
      expect(kernel.dumps).toBe(dumps);
      expect(host.reconciler.status()).toMatchObject({ isConverged: true, conflicts: [] });
    } finally {
      host.stop();
    }
  });
});
