/** The feed of named networks over time: hosts whose daemon dies, stops, or loses the store. */

import { afterAll, describe, expect, it } from "vitest";
import type { Address } from "../../../ipam/addresses/ip.ts";
import { StoreError } from "../../../ipam/errors.ts";
import type { NamedNetwork } from "../../../ipam/named-networks/named-network.ts";
import { hostRecord, membersRecord } from "../../../ipam/named-networks/record-names.ts";
import type { Records, StoreHealth } from "../../../ipam/stores/contracts.ts";
import { FakeClock, settle } from "../../support/fake-clock.ts";
import { createdNetwork, Folders, hostId, memberOf, startFeed } from "../../support/named-networks/lab.ts";
import { MemoryHolder, openMemoryStore } from "../../support/stores/memory-store.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";

const signal = AbortSignal.timeout(60_000);
const folders = new Folders();
afterAll(() => folders.dispose());

async function labOf() {
  const clock = new FakeClock();
  const { records } = openMemoryStore(new MemoryHolder(clock), { ...testEnvironment, clock }).network(
    "/test",
  );
  const network = await createdNetwork(records, "blue", "10.9.8.0/24", signal);
  const start = (number: number, through: Records = records, stateDir = folders.make()) =>
    startFeed({ records: through, number, stateDir, clock });
  return { clock, records, network, start };
}

const at = (network: NamedNetwork, offset: number) => ({
  4: network.pools[4]?.subnet.base.plus(offset) as Address,
});
const shown = ({ part }: ReturnType<typeof startFeed>, network: NamedNetwork): string[] =>
  [...(part.view.members.get(network.id)?.values() ?? [])]
    .flatMap(({ members }) => members.map(({ endpoint }) => endpoint))
    .sort();

const boundTo = (records: Records): Records => ({
  list: (...args) => records.list(...args),
  read: (...args) => records.read(...args),
  write: (...args) => records.write(...args),
  keepAlive: (...args) => records.keepAlive(...args),
  remove: (...args) => records.remove(...args),
  watch: (...args) => records.watch(...args),
});

/** Records whose host is cut off: calls fail, and the watch says so. */
function cuttable(records: Records) {
  let isCut = false;
  let report: ((health: StoreHealth) => void) | undefined;
  const guard = async <T>(call: () => Promise<T>): Promise<T> => {
    if (isCut) throw new StoreError("cut off", { retryable: true });
    return await call();
  };
  const cut: Records = {
    list: (...args) => guard(() => records.list(...args)),
    read: (...args) => guard(() => records.read(...args)),
    write: (...args) => guard(() => records.write(...args)),
    keepAlive: (...args) => guard(() => records.keepAlive(...args)),
    remove: (...args) => guard(() => records.remove(...args)),
    async *watch(ranges, until, onHealth) {
      report = onHealth;
      for await (const message of records.watch(ranges, until)) if (!isCut) yield message;
    },
  };
  return {
    records: cut,
    cut: () => {
      isCut = true;
      report?.({ isFollowed: false, reason: "cut off" });
    },
    mend: () => {
      isCut = false;
      report?.({ isFollowed: true });
    },
  };
}

describe("the record of a host", () => {
  it("stays while its daemon runs, and for a day after it stopped", async () => {
    const { clock, records, start } = await labOf();
    const feed = start(1);
    await settle();
    for (let minute = 0; minute < 10; minute += 1) {
      await clock.advance(60_000);
      expect(await records.read(hostRecord(hostId(1)), signal)).not.toBeNull();
    }
    await feed.stop();
    await clock.advance(23 * 3600_000);
    expect(await records.read(hostRecord(hostId(1)), signal)).not.toBeNull();
    await clock.advance(2 * 3600_000);
    expect(await records.read(hostRecord(hostId(1)), signal)).toBeNull();
  });

  it("takes the members of a dead host with it, and brings them back", async () => {
    const { clock, records, network, start } = await labOf();
    const link = cuttable(records);
    const watcher = start(1);
    const dying = start(2, link.records);
    dying.part.setMember(network.id, memberOf("e2", at(network, 2)));
    await settle();
    expect(shown(watcher, network)).toEqual(["e2"]);
    link.cut();
    await clock.advance(19_000);
    expect(shown(watcher, network)).toEqual(["e2"]);
    await clock.advance(20_000);
    expect(shown(watcher, network)).toEqual([]);
    expect(watcher.part.view.hosts.has(hostId(2))).toBe(false);
    // Its own view keeps everything: it cannot tell who is dead.
    expect(shown(dying, network)).toEqual(["e2"]);
    expect(dying.part.storeProblem).toBe("cut off");
    expect([...dying.part.view.hosts.keys()]).toContain(hostId(1));
    link.mend();
    await clock.advance(5_000);
    expect(shown(watcher, network)).toEqual(["e2"]);
    await watcher.stop();
    await dying.stop();
  });
});

describe("a host that was away and came back while this process was stopped", () => {
  it("keeps its members: what came meanwhile is read first", async () => {
    const { records, network, start, clock: others } = await labOf();
    const clock = new FakeClock();
    let reading: Promise<void> = Promise.resolve();
    const late: Records = {
      ...boundTo(records),
      async *watch(...args) {
        for await (const message of records.watch(...args)) {
          await reading;
          yield message;
        }
      },
    };
    const other = start(2);
    other.part.setMember(network.id, memberOf("e2", at(network, 2)));
    const { part } = startFeed({ records: late, number: 1, stateDir: folders.make(), clock });
    await settle();
    let fewest = 1;
    part.onChange(({ hosts }) => {
      fewest = Math.min(fewest, hosts.size);
    });
    const record = await records.read(hostRecord(hostId(2)), signal);
    if (record === null) throw new Error("the host has no record");
    await records.remove(record, signal);
    await settle();
    let go = (): void => undefined;
    reading = new Promise((resolve) => {
      go = resolve;
    });
    await others.advance(10_000);
    await clock.jump(60_000);
    expect(part.view.hosts.has(hostId(2))).toBe(true);
    go();
    await clock.advance(60_000);
    expect(part.view.hosts.has(hostId(2))).toBe(true);
    expect(fewest).toBe(1);
    await other.stop();
  });
});

describe("members", () => {
  it("that changed while the store was away are written when it is back, the latest state only", async () => {
    const { clock, records, network, start } = await labOf();
    const link = cuttable(records);
    const feed = start(1, link.records);
    await settle();
    link.cut();
    feed.part.setMember(network.id, memberOf("gone", at(network, 2)));
    feed.part.setMember(network.id, memberOf("stays", at(network, 3)));
    await clock.advance(60_000);
    feed.part.removeMember(network.id, "gone");
    expect(feed.part.unpublished).toEqual([network.id]);
    link.mend();
    await clock.advance(6_000);
    const { value } = (await records.read(membersRecord(network.id, hostId(1)), signal)) ?? { value: "" };
    expect(JSON.parse(value).members.map(({ endpoint }: { endpoint: string }) => endpoint)).toEqual([
      "stays",
    ]);
    expect(feed.part.unpublished).toEqual([]);
    feed.part.removeMember(network.id, "stays");
    await settle();
    expect(await records.read(membersRecord(network.id, hostId(1)), signal)).toBeNull();
    await feed.stop();
  });

  it("survive a restart, and the loss of the state directory", async () => {
    const { records, network, start } = await labOf();
    const first = start(1);
    first.part.setMember(network.id, memberOf("e1", at(network, 2)));
    await settle();
    await first.stop();
    const second = start(1, records);
    await settle();
    expect(shown(second, network)).toEqual(["e1"]);
    expect(second.part.ownMembers(network.id).map(({ endpoint }) => endpoint)).toEqual(["e1"]);
    second.part.removeMember(network.id, "e1");
    await settle();
    expect(await records.read(membersRecord(network.id, hostId(1)), signal)).toBeNull();
    await second.stop();
  });

  it("cause one call of a listener for all changes of a turn", async () => {
    const { network, start } = await labOf();
    const feed = start(1);
    await settle();
    let calls = 0;
    const stop = feed.part.onChange((view) => {
      calls += 1;
      expect(view).toBe(feed.part.view);
      if (calls === 1) throw new Error("a listener's own fault");
    });
    for (let index = 0; index < 100; index += 1)
      feed.part.setMember(network.id, memberOf(`e${index}`, at(network, index + 2)));
    await settle();
    expect(shown(feed, network)).toHaveLength(100);
    // Once for the members, once for the create revision of their record.
    expect(calls).toBeLessThanOrEqual(2);
    stop();
    await feed.stop();
  });

  it("of a network that is removed meanwhile are a problem", async () => {
    const { records, network, start } = await labOf();
    const feed = start(1);
    feed.part.setMember(network.id, memberOf("e1", at(network, 2)));
    await settle();
    const name = "named/catalogue";
    await records.write(name, '{"networks":[]}', await records.read(name, signal), signal);
    await settle();
    expect(feed.part.problems.join()).toMatch(/was removed while containers of this host are in it: 1$/);
    await feed.stop();
  });
});
