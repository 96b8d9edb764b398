/** The feed of named networks, with several hosts, over every store. */

import { afterAll, expect, it } from "vitest";
import { Address } from "../../../ipam/addresses/ip.ts";
import { ConflictError } from "../../../ipam/errors.ts";
import { encodeMembers } from "../../../ipam/named-networks/member-codec.ts";
import type { NamedNetwork } from "../../../ipam/named-networks/named-network.ts";
import { CATALOGUE_RECORD, hostRecord, membersRecord } from "../../../ipam/named-networks/record-names.ts";
import type { Records } from "../../../ipam/stores/contracts.ts";
import { createdNetwork, Folders, hostId, memberOf, startFeed } from "../../support/named-networks/lab.ts";
import { SOON } from "../../support/patience.ts";
import { describeStores } from "../../support/stores/conformance.ts";

const signal = AbortSignal.timeout(300_000);
const folders = new Folders();
afterAll(() => folders.dispose());

type Feed = ReturnType<typeof startFeed>;

const addressIn = (network: NamedNetwork, offset: number): Address => {
  const { subnet } = network.pools[4] ?? {};
  if (subnet === undefined) throw new TypeError("the network has no IPv4 pool");
  return subnet.base.plus(offset);
};

/** `host:endpoint` of all members that a feed shows in a network. */
const shown = ({ part }: Feed, network: NamedNetwork): string[] =>
  [...(part.view.members.get(network.id) ?? [])]
    .flatMap(([host, { members }]) =>
      members.map(({ endpoint }) => `${Number.parseInt(host, 16)}:${endpoint}`),
    )
    .sort();

await describeStores("feed of named networks", (store) => {
  const start = (
    records: ReturnType<typeof store.network>["records"],
    number: number,
    dir = folders.make(),
  ) => startFeed({ records, number, stateDir: dir });

  it("shows members of all hosts, and removes them when they go", async () => {
    const { records } = store.network();
    const network = await createdNetwork(records, "blue", null, signal);
    const [one, two] = [start(records, 1), start(records, 2)];
    one.part.setMember(network.id, memberOf("bbox1", { 4: addressIn(network, 2) }));
    two.part.setMember(network.id, memberOf("bbox2", { 4: addressIn(network, 3) }));
    for (const feed of [one, two]) {
      await expect.poll(() => shown(feed, network), SOON).toEqual(["1:bbox1", "2:bbox2"]);
      expect(feed.part.view.networks.get(network.id)).toEqual(network);
      await expect.poll(() => feed.part.view.hosts.size, SOON).toBe(2);
      expect(feed.part.problems).toEqual([]);
      expect(feed.part.storeProblem).toBeNull();
    }
    const views: number[] = [];
    const stop = one.part.onChange((view) => views.push(view.members.get(network.id)?.size ?? 0));
    two.part.removeMember(network.id, "bbox2");
    await expect.poll(() => shown(one, network), SOON).toEqual(["1:bbox1"]);
    await expect.poll(() => views.at(-1), SOON).toBe(1);
    stop();
    await one.stop();
    await two.stop();
    expect((await records.read(hostRecord(hostId(1)), signal))?.value).toContain("host1");
  }, 60_000);

  it("shows the first of two members with one address, on every host alike", async () => {
    const { records } = store.network();
    const network = await createdNetwork(records, "blue", null, signal);
    const hosts = [1, 2, 3].map((number) => start(records, number));
    const [one, two] = hosts as [Feed, Feed, Feed];
    two.part.setMember(network.id, memberOf("first", { 4: addressIn(network, 2) }));
    await expect.poll(() => records.read(membersRecord(network.id, hostId(2)), signal), SOON).not.toBeNull();
    one.part.setMember(network.id, memberOf("second", { 4: addressIn(network, 2) }));
    one.part.setMember(network.id, memberOf("third", { 4: addressIn(network, 3) }));
    for (const feed of hosts)
      await expect.poll(() => shown(feed, network), SOON).toEqual(["1:third", "2:first"]);
    for (const feed of hosts)
      expect(feed.part.problems.join()).toMatch(/second.*belongs to a container on host/);
    two.part.removeMember(network.id, "first");
    for (const feed of hosts)
      await expect.poll(() => shown(feed, network), SOON).toEqual(["1:second", "1:third"]);
    for (const feed of hosts) await feed.stop();
  }, 60_000);

  it("ignores hostile records, with a reason, and keeps what it knew", async () => {
    const { records } = store.network();
    const network = await createdNetwork(records, "blue", null, signal);
    const feed = start(records, 1);
    const other = start(records, 2);
    other.part.setMember(network.id, memberOf("good", { 4: addressIn(network, 2) }));
    await expect.poll(() => shown(feed, network), SOON).toEqual(["2:good"]);
    await other.stop();
    const name = membersRecord(network.id, hostId(2));
    const bad = [
      memberOf("ok", { 4: addressIn(network, 3) }),
      { ...memberOf("multicast", { 4: addressIn(network, 4) }), mac: "01:00:5e:00:00:01" as never },
      memberOf("outside", { 4: Address.parse("8.8.8.8") }),
      memberOf("gateway", { 4: addressIn(network, 1) }),
      memberOf("\u001b[2J", { 4: addressIn(network, 5) }),
    ];
    await records.write(name, encodeMembers(bad), await records.read(name, signal), signal);
    await expect.poll(() => shown(feed, network), SOON).toEqual(["2:ok"]);
    await records.write(name, "{broken", await records.read(name, signal), signal);
    await records.write(`${hostRecord(hostId(3))}x`, "{}", null, signal);
    const catalogue = await records.read(CATALOGUE_RECORD, signal);
    await records.write(CATALOGUE_RECORD, "null", catalogue, signal);
    await expect.poll(() => feed.part.problems.length, SOON).toBeGreaterThanOrEqual(3);
    expect(shown(feed, network)).toEqual(["2:ok"]);
    expect(feed.part.view.networks.size).toBe(1);
    await feed.stop();
  }, 60_000);

  it("knows networks and members at a start without the store", async () => {
    const { records } = store.network();
    const network = await createdNetwork(records, "blue", null, signal);
    const dir = folders.make();
    const [one, two] = [start(records, 1, dir), start(records, 2)];
    one.part.setMember(network.id, memberOf("mine", { 4: addressIn(network, 2) }));
    two.part.setMember(network.id, memberOf("theirs", { 4: addressIn(network, 3) }));
    await expect.poll(() => shown(one, network), SOON).toEqual(["1:mine", "2:theirs"]);
    await one.stop();
    await two.stop();
    const away: Records = {
      ...records,
      async *watch(_ranges, until) {
        await new Promise<void>((resolve) => until.addEventListener("abort", () => resolve()));
      },
    };
    const alone = start(away, 1, dir);
    expect(shown(alone, network)).toEqual(["1:mine", "2:theirs"]);
    expect(alone.part.storeProblem).not.toBeNull();
    await alone.stop();
  }, 60_000);

  it("writes its records again when a person deletes them", async () => {
    const { records } = store.network();
    const network = await createdNetwork(records, "blue", null, signal);
    const feed = start(records, 1);
    feed.part.setMember(network.id, memberOf("mine", { 4: addressIn(network, 2) }));
    for (const name of [membersRecord(network.id, hostId(1)), hostRecord(hostId(1))]) {
      // The feed may write between the reading and the removal, which is then rejected.
      const remove = async (): Promise<boolean> => {
        const entry = await records.read(name, signal);
        if (entry === null) return false;
        return await records.remove(entry, signal).then(
          () => true,
          (error: unknown) => {
            if (error instanceof ConflictError) return false;
            throw error;
          },
        );
      };
      await expect.poll(remove, SOON).toBe(true);
      await expect.poll(() => records.read(name, signal), SOON).not.toBeNull();
    }
    await feed.stop();
  }, 60_000);
});
