/** Large and crowded etcd stores: pages, neighbours that are not ours, and store leases that must not pile up. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StoreConnection } from "../../../ipam/stores/contracts.ts";
import { openStore } from "../../../ipam/stores/registry.ts";
import { type EtcdCluster, missingEtcd, startEtcd } from "../../support/etcd.ts";
import { putMany } from "../../support/etcd-fill.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";
import { startTcpProxy, type TcpProxy } from "../../support/tcp-proxy.ts";

const signal = AbortSignal.timeout(120_000);
const missing = missingEtcd();
if (missing !== null && process.env.CI) throw new Error(missing);

describe.skipIf(missing !== null)("listings of etcd", () => {
  let cluster: EtcdCluster;
  let proxy: TcpProxy;
  let connection: StoreConnection;
  beforeAll(async () => {
    cluster = await startEtcd();
    proxy = await startTcpProxy(cluster.members[0]?.port ?? 0);
    const endpoints = [`127.0.0.1:${proxy.port}`];
    connection = await openStore({ store: "etcd", etcd: { endpoints } }, testEnvironment);
  });
  afterAll(async () => {
    await connection.close();
    await proxy.close();
    await cluster.stop();
  });

  it("lists 5,000 leases over several pages, and as many records", async () => {
    const keys = Array.from({ length: 5_000 }, (_, index) => `10.${index >> 8}.${index & 255}.0-24`).sort();
    await putMany(
      cluster,
      keys.map((key) => `/many/subnets/${key}`),
    );
    await putMany(
      cluster,
      keys.map((key) => `/many/tulle/r/${key}`),
    );
    const store = connection.network("/many");
    expect((await store.feed.list(signal)).entries.map(({ key }) => key)).toEqual(keys);
    const records = await store.records.list("r/", signal);
    expect(records.map(({ key }) => key)).toEqual(keys.map((key) => `r/${key}`));
  });
  it("reads nothing beside its own folder", async () => {
    const foreign = (folder: string) => Array.from({ length: 5_000 }, (_, index) => `${folder}${index}`);
    for (const folder of ["/few", "/few/a/", "/few/subnets", "/few/z/", "/few2/"]) {
      await putMany(cluster, foreign(folder));
    }
    await putMany(cluster, ["/few/subnets/10.1.1.0-24"]);
    const store = connection.network("/few");
    await store.config.read(signal);
    const before = proxy.bytes;
    expect((await store.feed.list(signal)).entries).toHaveLength(1);
    expect(proxy.bytes - before).toBeLessThan(2_000);
  });
  it("gives store leases back that hold nothing any more", async () => {
    const leases = () =>
      cluster
        .ctl("lease", "list")
        .split("\n")
        .filter((line) => /^[0-9a-f]+$/.test(line));
    const store = connection.network("/leases");
    const before = leases();
    const first = await store.leases.create("10.1.1.0-24", "a", 600, signal);
    const second = await store.leases.replace(first, "b", 600, signal);
    expect(leases()).toHaveLength(before.length + 1);
    await expect(store.leases.create("10.1.1.0-24", "c", 600, signal)).rejects.toThrow();
    await expect(store.leases.replace(first, "c", 600, signal)).rejects.toThrow();
    expect(leases()).toHaveLength(before.length + 1);
    await store.leases.remove(second, signal);
    expect(leases()).toEqual(before);
  });
});
