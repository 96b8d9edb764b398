/**
 * Random walks of every backend over plans with random interference: two passes converge, a third changes nothing, and
 * what others have stays.
 */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { linkKey } from "../../../backends/state/kinds/link.ts";
import { deviceOf, type KernelObject, keyOf } from "../../../backends/state/kinds/registry.ts";
import { Address, entriesOf, Prefix } from "../../../ipam/addresses/ip.ts";
import {
  type BackendRow,
  backendRows,
  type Place,
  UPLINK,
  UPLINK_LINK,
} from "../../support/backend-table.ts";
import { changedObject, FOREIGN_PROTOCOL } from "../../support/changed-object.ts";
import { FakeHost } from "../../support/fake-host.ts";
import { renderState } from "../../support/render-state.ts";

const PEERS = 8;
const FIRST_PEER = 4;
/** Peers that are never in a plan: strays of ours, and destinations of other programs. */
const FIRST_STRAY = 104;
const FIRST_FOREIGN = 204;

const interferences = fc.array(
  fc.record({
    what: fc.constantFrom("remove", "change", "stray", "unseen", "resync", "listing", "device"),
    which: fc.nat(1000),
  }),
  { maxLength: 6 },
);
/** Which peers there are, and where each is. */
const stepsIn = (places: readonly Place[]) =>
  fc.record({
    plan: fc.array(fc.constantFrom(null, ...places), { minLength: PEERS, maxLength: PEERS }),
    interference: interferences,
  });

type Interference = { readonly what: string; readonly which: number };
type Step = { readonly plan: readonly (Place | null)[]; readonly interference: readonly Interference[] };

describe.each(await backendRows())("a walk over plans: $name", (row) => {
  it.each([
    { usesNexthops: false, numRuns: 15, states: { minLength: 2, maxLength: 12 } },
    { usesNexthops: true, numRuns: 15, states: { minLength: 2, maxLength: 12 } },
    { usesNexthops: true, numRuns: 1, states: { minLength: 120, maxLength: 120 } },
  ])(
    "converges: $numRuns of $states.maxLength states at most (nexthop objects: $usesNexthops)",
    async ({ usesNexthops, numRuns, states }) => {
      const walks = fc.array(stepsIn(row.places), states);
      await fc.assert(
        fc.asyncProperty(walks, (walk) => walkThrough(row, walk, usesNexthops)),
        { numRuns },
      );
    },
  );
});

async function walkThrough(row: BackendRow, walk: readonly Step[], usesNexthops: boolean): Promise<void> {
  const host = new FakeHost({ usesNexthops, network: row });
  const foreign = foreignObjects(row);
  try {
    for (const step of walk) await take(step, row, host, foreign);
  } finally {
    host.stop();
  }
}

async function take(
  { plan, interference }: Step,
  row: BackendRow,
  host: FakeHost,
  foreign: readonly KernelObject[],
): Promise<void> {
  const { kernel, clock, reconciler } = host;
  const leases = plan.flatMap((place, at) => (place === null ? [] : [row.peer(FIRST_PEER + at, place)]));
  for (const object of foreign) if (isPossible(host, object)) kernel.interfere(object);
  const standing = foreign.filter((object) => kernel.objects.has(keyOf(object)));
  const start = kernel.log.length;
  host.plan(...leases);
  for (const one of interference) interfere(host, row, one, new Set(foreign.map(keyOf)));
  await clock.advance(0);
  reconciler.requestDump("second pass");
  await clock.advance(0);
  expect(ours(host, foreign)).toBe(renderState(host.planned(...leases)));
  const remade = kernel.log
    .slice(start)
    .flatMap(({ op, object }) => (object.kind === "link" && op !== "replace" ? [object.name] : []));
  // A device that went took along what others had on it.
  const left = standing.filter((object) => !remade.includes(deviceOf(object) ?? ""));
  expect(left.filter((object) => !kernel.objects.has(keyOf(object))).map(keyOf)).toEqual([]);
  const { length } = kernel.log;
  reconciler.requestDump("third pass");
  for (const device of row.scope.devices) kernel.list(device);
  await clock.advance(0);
  expect(kernel.log.slice(length)).toEqual([]);
  // Long enough for every quarrel to be forgotten.
  await clock.advance(200_000);
}

/** What other programs and administrators have beside ours: on the host's interface and on our devices. */
function foreignObjects({ backend, families, peer }: BackendRow): readonly KernelObject[] {
  const [there, known] = [peer(FIRST_FOREIGN), peer(FIRST_PEER)];
  const route = { kind: "route", gateway: null, isOnlink: false, viaNexthop: false, source: null } as const;
  const elsewhere = { 4: Prefix.parse("172.16.0.0/16"), 6: Prefix.parse("fd99::/48") };
  const gateways = { 4: Address.parse("192.168.50.77"), 6: Address.parse("2001:db8:50::77") };
  const shared = families.flatMap((family): KernelObject[] => {
    const destinations = [there.subnets[family], known.subnets[family]] as [Prefix, Prefix];
    const metric = 7;
    return [
      { ...route, destination: destinations[0], device: UPLINK, protocol: FOREIGN_PROTOCOL, metric },
      { ...route, destination: destinations[1], device: UPLINK, protocol: FOREIGN_PROTOCOL, metric },
      { ...route, destination: elsewhere[family], device: UPLINK, protocol: 116, metric },
      { kind: "nexthop", device: UPLINK, gateway: gateways[family], isOnlink: false, protocol: 4 },
    ];
  });
  const onDevices = entriesOf(backend.devices).flatMap(([family, device]): KernelObject[] => {
    const address = elsewhere[family].base;
    return [
      { kind: "address", device, address: { address, length: 32 } },
      ...(backend.type === "wireguard" ? [administratorsPeer(device, elsewhere[family])] : []),
    ];
  });
  return [UPLINK_LINK, ...shared, ...onDevices];
}

function administratorsPeer(device: string, prefix: Prefix): KernelObject {
  return {
    kind: "wg-peer",
    device,
    publicKey: Buffer.alloc(32, prefix.family).toString("base64"),
    presharedKey: null,
    endpoint: null,
    keepaliveSeconds: 0,
    allowedPrefixes: [prefix],
  };
}

/** An object exists on a device that exists. */
function isPossible({ kernel }: FakeHost, object: KernelObject): boolean {
  const device = deviceOf(object);
  return device === null || kernel.objects.has(linkKey(device));
}

function ours(host: FakeHost, foreign: readonly KernelObject[]): string {
  const keys = new Set(foreign.map(keyOf));
  return renderState([...host.kernel.objects.values()].filter((object) => !keys.has(keyOf(object))));
}

function interfere(
  host: FakeHost,
  { backend, peer, scope }: BackendRow,
  { what, which }: Interference,
  foreign: ReadonlySet<string>,
): void {
  const { kernel } = host;
  const present = [...kernel.objects.values()].filter((object) => !foreign.has(keyOf(object)));
  const object = present[which % Math.max(1, present.length)];
  const devices = [...scope.devices];
  const device = devices[which % Math.max(1, devices.length)];
  switch (what) {
    case "remove":
      if (object !== undefined && isRemovable(object)) kernel.remove(keyOf(object));
      break;
    case "change":
      if (object !== undefined) kernel.interfere(changedObject(object));
      break;
    case "stray":
      for (const one of backend.planPeer(peer(FIRST_STRAY + (which % PEERS)), false))
        if (isPossible(host, one)) kernel.interfere(one);
      break;
    case "unseen":
      if (object !== undefined && isRemovable(object) && object.kind !== "link")
        kernel.objects.delete(keyOf(object));
      kernel.emit({ type: "resync", reason: "notifications were lost" });
      break;
    case "listing":
      if (device !== undefined) kernel.list(device);
      break;
    case "device":
      if (device !== undefined) kernel.remove(linkKey(device));
      break;
    default:
      kernel.emit({ type: "resync", reason: "notifications were lost" });
  }
}

/** A setting cannot be removed, nor a WireGuard device without its link. */
function isRemovable({ kind }: KernelObject): boolean {
  return kind !== "sysctl" && kind !== "wg-device";
}
