/** Programming the kernel: how long N peers take, against `ip -batch` with the same objects; joins, leaves, repairs. */

import type { Lease, LeaseKey } from "../../ipam/lease.ts";
import { peer } from "../support/vxlan-fixture.ts";
import { VxlanHost } from "../support/vxlan-host.ts";
import type { Bench } from "./support/report.ts";

export const bench: Bench = async (report, { isQuick }) => {
  for (const count of isQuick ? [10, 100] : [10, 100, 1000, 5000, 20_000, 50_000]) {
    const host = new VxlanHost({ label: "bench" }).start();
    try {
      await host.want();
      const before = process.memoryUsage().rss;
      const peers = peersUpTo(count);
      const start = performance.now();
      host.planMap(peers);
      const planned = performance.now();
      await host.settled(60_000);
      const end = performance.now();
      report.figure({ name: `${count} peers: planned`, unit: "ms", values: [planned - start] });
      report.figure({ name: `${count} peers: programmed`, unit: "ms", values: [end - start] });
      report.figure({
        name: `${count} peers: rss`,
        unit: "MiB",
        values: [process.memoryUsage().rss / 2 ** 20, before / 2 ** 20],
      });
      const joins: number[] = [];
      for (let n = 0; n < 100; n++) {
        const lease = peer(60_000 + n);
        const next = new Map(peers).set(lease.key, lease);
        const t0 = performance.now();
        host.planMap(next);
        await host.settled();
        joins.push(performance.now() - t0);
      }
      report.figure({ name: `${count} peers: join`, unit: "ms", values: joins });
      const t1 = performance.now();
      host.reconciler.requestDump("bench");
      await host.settled(60_000);
      report.figure({ name: `${count} peers: audit`, unit: "ms", values: [performance.now() - t1] });
    } finally {
      await host.dispose();
    }
  }
};

function peersUpTo(count: number): Map<LeaseKey, Lease> {
  const peers = new Map<LeaseKey, Lease>();
  for (let n = 2; n < count + 2; n++) {
    const lease = peer(n);
    peers.set(lease.key, lease);
  }
  return peers;
}
