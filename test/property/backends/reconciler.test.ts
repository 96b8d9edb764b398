/** Random walks over plans with random interference: two passes converge, a third changes nothing. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type KernelObject, keyOf, renderState } from "../../../backends/state/kinds/registry.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../ipam/addresses/mac.ts";
import { FakeHost } from "../../support/fake-host.ts";
import { OWN, peer } from "../../support/vxlan-fixture.ts";

const PEERS = 8;
/** Which peers there are, and which of two addresses each has. */
const plans = fc.array(fc.constantFrom(null, "192.168.60.1", "192.168.61.1"), {
  minLength: PEERS,
  maxLength: PEERS,
});
const interferences = fc.array(
  fc.record({
    what: fc.constantFrom("remove", "change", "stray", "unseen", "resync", "device", "foreign"),
    which: fc.nat(1000),
  }),
  { maxLength: 6 },
);
const steps = fc.record({ plan: plans, interference: interferences });

type Interference = { readonly what: string; readonly which: number };
type Step = { readonly plan: readonly (string | null)[]; readonly interference: readonly Interference[] };

describe.each([false, true])("a walk over plans (nexthop objects: %s)", (usesNexthops) => {
  it.each([
    { states: { minLength: 2, maxLength: 12 }, numRuns: 60 },
    { states: { minLength: 500, maxLength: 500 }, numRuns: 1 },
  ])(
    "converges wherever it goes: $numRuns of $states.maxLength states at most",
    async ({ states, numRuns }) => {
      const property = fc.asyncProperty(fc.array(steps, states), (walk) => walkThrough(walk, usesNexthops));
      await fc.assert(property, { numRuns });
    },
  );
});

async function walkThrough(walk: readonly Step[], usesNexthops: boolean): Promise<void> {
  const host = new FakeHost({ usesNexthops });
  try {
    for (const step of walk) await take(step, host, usesNexthops);
  } finally {
    host.stop();
  }
}

async function take({ plan, interference }: Step, host: FakeHost, usesNexthops: boolean): Promise<void> {
  const leases = plan.flatMap((address, at) => {
    const publicAddress = `${address?.slice(0, -1)}${at + 1}`;
    return address === null ? [] : [peer(at + 4, { publicAddress })];
  });
  host.plan(...leases);
  for (const one of interference) interfere(host, one);
  await host.clock.advance(0);
  host.reconciler.requestDump("second pass");
  await host.clock.advance(0);
  const planned = [
    ...host.backend.planBase(OWN),
    ...leases.flatMap((lease) => host.backend.planPeer(lease, usesNexthops)),
  ];
  expect(ours(host)).toBe(renderState(planned));
  const { length } = host.kernel.log;
  host.reconciler.requestDump("third pass");
  await host.clock.advance(0);
  expect(host.kernel.log.slice(length)).toEqual([]);
  // Long enough for every quarrel to be forgotten.
  await host.clock.advance(200_000);
}

/** Without others' routes, which stay. */
function ours(host: FakeHost): string {
  return renderState([...host.kernel.objects.values()].filter((object) => !isForeign(object)));
}

function isForeign(object: KernelObject): boolean {
  return object.kind === "route" && object.protocol === 186;
}

function interfere({ kernel, backend }: FakeHost, { what, which }: Interference): void {
  const present = [...kernel.objects.values()].filter((object) => !isForeign(object));
  const object = present[which % Math.max(1, present.length)];
  const n = 4 + (which % PEERS);
  switch (what) {
    case "remove":
      if (object !== undefined && object.kind !== "sysctl") kernel.remove(keyOf(object));
      break;
    case "change":
      if (object !== undefined) kernel.interfere(changed(object));
      break;
    case "stray":
      for (const one of backend.planPeer(peer(n + 100), false))
        if (kernel.objects.has("link flannel.1")) kernel.interfere(one);
      break;
    case "unseen":
      if (object !== undefined && object.kind !== "link") kernel.objects.delete(keyOf(object));
      kernel.emit({ type: "resync", reason: "notifications were lost" });
      break;
    case "device":
      kernel.remove("link flannel.1");
      break;
    case "foreign": {
      const route = backend.planPeer(peer(n + 200), false)[2];
      if (route?.kind === "route")
        kernel.interfere({ ...route, device: "under0", gateway: null, protocol: 186 });
      break;
    }
    default:
      kernel.emit({ type: "resync", reason: "notifications were lost" });
  }
}

function changed(object: KernelObject): KernelObject {
  const mac = parseMac("02:ff:00:00:00:01");
  const address = Address.parse("192.168.99.99");
  switch (object.kind) {
    case "link":
      return { ...object, mtuBytes: 1280, isUp: false, mac };
    case "route":
      return { ...object, gateway: address, viaNexthop: false };
    case "neighbour":
      return { ...object, mac };
    case "fdb":
      return { ...object, remote: address };
    case "bridge-fdb":
    case "bridge-port":
      return { ...object, device: "under0" };
    case "sysctl":
      return { ...object, value: "7" };
    case "nexthop":
      return { ...object, isOnlink: false };
    case "wg-device":
      return { ...object, listenPort: 7 };
    case "wg-peer":
      return { ...object, keepaliveSeconds: 7 };
    case "address":
      return object;
  }
}
