/** Members of a network: whatever changes in whatever order, the view is that of the last records. */

import fc from "fast-check";
import { expect, it } from "vitest";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import type { Mac } from "../../../ipam/addresses/mac.ts";
import { decodeMembers, encodeMembers } from "../../../ipam/named-networks/member-codec.ts";
import type { Member, NamedNetwork, NetworkId } from "../../../ipam/named-networks/named-network.ts";
import { NetworkMembers } from "../../../ipam/named-networks/network-members.ts";
import { hostId, memberOf } from "../../support/named-networks/lab.ts";

const subnet = Prefix.parse("10.9.8.0/24");
const network: NamedNetwork = {
  id: "a".repeat(32) as NetworkId,
  name: "blue",
  vni: 4096,
  pools: { 4: { subnet, allocation: subnet, gateway: subnet.base.plus(1), excluded: [] } },
  ...{ isInternal: false, hasBroadcast: false, mtuBytes: null, labels: {}, options: {} },
  createdSeconds: 0,
};

/** Few addresses and MACs, so that claims meet often; .0 and .1 are never valid. */
const member = fc
  .record({ endpoint: fc.nat(5), address: fc.nat(12), mac: fc.nat(12) })
  .map(({ endpoint, address, mac }): Member => {
    const changes = { mac: `02:00:00:00:00:${mac.toString(16).padStart(2, "0")}` as Mac };
    return memberOf(`e${endpoint}`, { 4: Address.of(4, subnet.base.value + BigInt(address)) }, changes);
  });
const members = fc.uniqueArray(member, { maxLength: 5, selector: ({ endpoint }) => endpoint });
const change = fc.record({
  host: fc.integer({ min: 1, max: 4 }),
  members,
  /** Without: the host's record is deleted. */
  isThere: fc.boolean(),
  isNewRecord: fc.boolean(),
});

const shown = (judged: NetworkMembers) =>
  [...judged.view]
    .map(([host, each]) => [host, each.members])
    .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));

it("is the same however it came about", () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const judged = new NetworkMembers(network);
      const last = new Map<number, { members: readonly Member[]; created: bigint }>();
      for (const [index, { host, members: list, isThere, isNewRecord }] of changes.entries()) {
        const known = last.get(host);
        if (!isThere) {
          judged.delete(hostId(host));
          last.delete(host);
          continue;
        }
        const created = isNewRecord || known === undefined ? BigInt(index) : known.created;
        // Members that did not change are the same objects, as the decoder gives them.
        const kept = list.map(
          (each) => known?.members.find((old) => JSON.stringify(old) === JSON.stringify(each)) ?? each,
        );
        judged.set(hostId(host), kept, created);
        last.set(host, { members: kept, created });
        const afresh = new NetworkMembers(network);
        for (const [number, entry] of last) afresh.set(hostId(number), entry.members, entry.created);
        expect(shown(judged)).toEqual(shown(afresh));
        expect([...judged.problems].sort()).toEqual([...afresh.problems].sort());
        const claims = [...judged.view.values()].flatMap((each) =>
          each.members.flatMap(({ mac, addresses }) => [mac, String(addresses[4])]),
        );
        expect(new Set(claims).size).toBe(claims.length);
      }
    }),
    { numRuns: 500 },
  );
});

it("reads what it writes, by lines or as a whole, and keeps what did not change", () => {
  fc.assert(
    fc.property(members, members, (before, after) => {
      const first = decodeMembers(encodeMembers(before));
      const text = encodeMembers(after);
      const second = decodeMembers(text, first);
      expect(second.members).toEqual(after);
      expect(decodeMembers(JSON.stringify(JSON.parse(text))).members).toEqual(after);
      for (const each of second.members) {
        const old = first.members.find((one) => JSON.stringify(one) === JSON.stringify(each));
        if (old !== undefined) expect(each).toBe(old);
      }
    }),
    { numRuns: 200 },
  );
});

it("rejects lines that are not members one by one", () => {
  const good = encodeMembers([memberOf("good", { 4: subnet.base.plus(5) })]);
  const text = good.replace("\n]}", ",\n{broken},\n5\n]}");
  const { members: read, problems } = decodeMembers(text);
  expect(read.map(({ endpoint }) => endpoint)).toEqual(["good"]);
  expect(problems).toHaveLength(2);
});
