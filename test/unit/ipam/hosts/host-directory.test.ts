/** The directory of hosts over time: when it writes, and when it removes. */

import { afterEach, describe, expect, it } from "vitest";
import { HostDirectory } from "../../../../ipam/hosts/host-directory.ts";
import { encodeProfile } from "../../../../ipam/hosts/host-profile.ts";
import type { HostId } from "../../../../ipam/named-networks/named-network.ts";
import { FakeClock, settle } from "../../../support/fake-clock.ts";
import { memoryStore, nodeId, recordingLogger, value, watchedStore } from "../../../support/lease-fixture.ts";

const HOUR_MS = 3_600_000;
const PROFILE = { name: "node1", version: "1.0.0", kernel: "6.1.0", backends: ["vxlan"] };
const OTHER = { ...PROFILE, name: "node2" };
const signal = new AbortController().signal;
let stop = new AbortController();

afterEach(async () => {
  stop.abort();
  await settle();
  stop = new AbortController();
});

function lab() {
  const clock = new FakeClock();
  const store = memoryStore(clock);
  const { store: watched, calls } = watchedStore(store, () => undefined);
  const present = new Set<string>();
  const logger = recordingLogger();
  const start = (profile = PROFILE, end = stop) => {
    const directory = new HostDirectory({
      ...{ store: watched, clock, random: () => 0, logger, profile },
      ...{ host: nodeId(1) as HostId, present: () => present },
    });
    void directory.run(end.signal);
    return directory;
  };
  const read = async (n: number) => (await store.records.read(`hosts/${nodeId(n)}`, signal))?.value ?? null;
  const writes = () => calls.filter((call) => call === "records.write").length;
  return { clock, store, present, logger, start, read, writes };
}

describe("the directory of hosts", () => {
  it("writes this host's record once, and nothing at a restart with the same facts", async () => {
    const { clock, start, read, writes } = lab();
    const first = new AbortController();
    const directory = start(PROFILE, first);
    await clock.advance(HOUR_MS);
    expect(await read(1)).toBe(encodeProfile(PROFILE));
    expect(directory.profileOf(nodeId(1))).toEqual(PROFILE);
    expect(writes()).toBe(1);
    first.abort();
    start();
    await clock.advance(48 * HOUR_MS);
    expect(writes()).toBe(1);
  });

  it("writes it again when the facts have changed, and when another program deleted or damaged it", async () => {
    const { clock, store, start, read, writes } = lab();
    await store.records.write(
      `hosts/${nodeId(1)}`,
      encodeProfile({ ...PROFILE, kernel: "5.0" }),
      null,
      signal,
    );
    start();
    await clock.advance(1_000);
    expect(await read(1)).toBe(encodeProfile(PROFILE));
    const written = await store.records.read(`hosts/${nodeId(1)}`, signal);
    await store.records.write(`hosts/${nodeId(1)}`, "damaged", written, signal);
    await clock.advance(1_000);
    expect(await read(1)).toBe(encodeProfile(PROFILE));
    expect(writes()).toBe(2);
  });

  it("writes ever less often what another host with the same id writes over it", async () => {
    const { clock, store, start, writes } = lab();
    start();
    for (let second = 0; second < 3_600; second++) {
      const name = `hosts/${nodeId(1)}`;
      await store.records.write(name, encodeProfile(OTHER), await store.records.read(name, signal), signal);
      await clock.advance(1_000);
    }
    expect(writes()).toBeLessThan(20);
  });

  it("removes the record of a host that has had no lease for a day, and no other", async () => {
    const { clock, store, present, start, read } = lab();
    const record = encodeProfile(OTHER);
    for (const n of [2, 3, 4, 5]) await store.records.write(`hosts/${nodeId(n)}`, record, null, signal);
    present.add(nodeId(3)); // a peer
    await store.leases.create("10.2.4.0-24", value(4), Number.POSITIVE_INFINITY, signal); // rejected here, but there
    start();
    await clock.advance(10 * HOUR_MS);
    present.add(nodeId(5)); // comes back for a moment
    await clock.advance(HOUR_MS);
    present.delete(nodeId(5));
    await clock.advance(12.8 * HOUR_MS);
    expect(await read(2)).not.toBeNull();
    await clock.advance(2 * HOUR_MS);
    expect(await read(2)).toBeNull();
    for (const n of [1, 3, 4, 5]) expect(await read(n), `host ${n}`).not.toBeNull();
    await clock.advance(24 * HOUR_MS);
    expect(await read(5)).toBeNull();
    for (const n of [1, 3, 4]) expect(await read(n), `host ${n}`).not.toBeNull();
  });

  it("removes nothing while a lease cannot be read: it may be that host's", async () => {
    const { clock, store, start, read } = lab();
    await store.records.write(`hosts/${nodeId(2)}`, encodeProfile(OTHER), null, signal);
    await store.leases.create("10.2.9.0-24", "damaged", Number.POSITIVE_INFINITY, signal);
    start();
    await clock.advance(100 * HOUR_MS);
    expect(await read(2)).not.toBeNull();
  });
});
