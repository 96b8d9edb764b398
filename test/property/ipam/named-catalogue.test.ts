/** Hosts create, draft, publish and remove networks at random over an unsteady store: names, VNIs and ranges stay apart. */

import fc from "fast-check";
import { expect, it } from "vitest";
import type { Prefix } from "../../../ipam/addresses/ip.ts";
import { systemClock } from "../../../ipam/clock.ts";
import { StoreError, TulleError } from "../../../ipam/errors.ts";
import type { PoolDraft } from "../../../ipam/named-networks/contracts.ts";
import type { NamedNetwork } from "../../../ipam/named-networks/named-network.ts";
import type { Records } from "../../../ipam/stores/contracts.ts";
import { catalogueOver, hostId, networkRequest, poolRequest } from "../../support/named-networks/lab.ts";
import { MemoryHolder, openMemoryStore } from "../../support/stores/memory-store.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";

const SUBNETS = [
  "10.9.0.0/24",
  "10.9.0.128/25",
  "10.9.1.0/24",
  "10.9.0.0/23",
  "fd00:9::/64",
  null,
  null,
] as const;

type Fault = "none" | "before" | "after";
const step = fc.record({
  do: fc.constantFrom("create", "draft", "publish", "abandon", "remove"),
  name: fc.constantFrom("a", "b", "c", "d"),
  vni: fc.constantFrom(null, null, 4096, 4097),
  subnet: fc.constantFrom(...SUBNETS),
  isTogether: fc.boolean(),
});
const faults = fc.infiniteStream(
  fc.oneof(
    { weight: 10, arbitrary: fc.constant<Fault>("none") },
    { weight: 1, arbitrary: fc.constant<Fault>("before") },
    { weight: 1, arbitrary: fc.constant<Fault>("after") },
  ),
);

function unsteady(records: Records, next: () => Fault): Records {
  return {
    ...records,
    write: async (...args) => {
      const fault = next();
      if (fault === "before") throw new StoreError("away", { retryable: true });
      const entry = await records.write(...args);
      if (fault === "after")
        throw new StoreError("lost answer", { retryable: true, details: { outcomeUnknown: true } });
      return entry;
    },
  };
}

function requireApart(networks: readonly NamedNetwork[]): void {
  for (const field of ["id", "name", "vni"] as const)
    expect(new Set(networks.map((network) => network[field])).size).toBe(networks.length);
  const subnets = networks.flatMap(({ pools }) => Object.values(pools).map(({ subnet }): Prefix => subnet));
  for (const [index, subnet] of subnets.entries())
    for (const other of subnets.slice(index + 1)) expect(subnet.overlaps(other)).toBe(false);
}

it("names, VNIs and ranges stay apart, and each network is created once", async () => {
  let most = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), faults, async (plan, stream) => {
      const connection = openMemoryStore(new MemoryHolder(systemClock), testEnvironment);
      const { records } = connection.network("/test");
      const signal = AbortSignal.timeout(30_000);
      const catalogue = catalogueOver(unsteady(records, () => stream.next().value ?? "none"));
      const drafts: PoolDraft[] = [];
      const created: string[] = [];
      const work = async ({ do: what, name, vni, subnet }: (typeof plan)[number]): Promise<void> => {
        const family = subnet?.includes(":") ? 6 : 4;
        const request = networkRequest(name, { vni, pools: { [family]: poolRequest(subnet) } });
        const note = (result: { network: NamedNetwork; created: boolean }): void => {
          if (result.created) created.push(result.network.id);
        };
        if (what === "create") note(await catalogue.create(request, signal));
        else if (what === "draft")
          drafts.push(await catalogue.draft(family, poolRequest(subnet), hostId(1), signal));
        else if (what === "remove") {
          const found = (await catalogue.list(signal)).find((network) => network.name === name);
          if (found !== undefined) await catalogue.remove(found.id, signal);
        } else {
          const draft = drafts.shift();
          if (draft === undefined) return;
          const pools = { [draft.family]: poolRequest() };
          if (what === "abandon") await catalogue.abandon(draft, signal);
          else note(await catalogue.publish([draft], networkRequest(name, { pools }), signal));
        }
      };
      const refused = (error: unknown): void => {
        if (!(error instanceof TulleError)) throw error;
      };
      let together: Promise<void>[] = [];
      for (const each of plan) {
        together.push(work(each).catch(refused));
        if (each.isTogether) continue;
        await Promise.all(together);
        together = [];
        const networks = await catalogue.list(signal);
        requireApart(networks);
        most = Math.max(most, networks.length);
      }
      await Promise.all(together);
      requireApart(await catalogue.list(signal));
      expect(new Set(created).size).toBe(created.length);
      await connection.close();
    }),
    { numRuns: 100 },
  );
  expect(most).toBeGreaterThan(2);
});
