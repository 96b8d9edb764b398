/** A WireGuard peer in the kernel: when it is the wanted one, whose it is, and in what order peers change. */

import { describe, expect, it } from "vitest";
import { compare } from "../../../backends/state/diff.ts";
import { type KernelObject, ownerOf } from "../../../backends/state/kinds/registry.ts";
import { hasRoamed, type WireguardPeerObject } from "../../../backends/state/kinds/wg-peer.ts";
import { inOrder } from "../../../backends/state/order.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { OWN, scopeOf } from "../../support/vxlan-fixture.ts";
import { OTHER_KEY, PEER_KEY, PSK, peer, prepare } from "../../support/wireguard-fixture.ts";

describe("a peer in the kernel", async () => {
  const backend = await prepare();
  const [want] = backend.planPeer(peer(), false) as [WireguardPeerObject];
  const elsewhere = { address: Address.parse("203.0.113.9"), port: 999 };
  const scope = scopeOf(backend);
  const op = (actual: WireguardPeerObject) => {
    const verdict = compare(want, actual, scope, true);
    return verdict.type === "change" ? verdict.change.op : verdict.type;
  };

  it.each<[string, Partial<WireguardPeerObject>, string]>([
    ["is the same", {}, "same"],
    ["roamed, and its session is fresh", { endpoint: elsewhere, hasFreshSession: true }, "same"],
    ["roamed, and its session is stale", { endpoint: elsewhere }, "replace"],
    ["has no endpoint yet", { endpoint: null }, "replace"],
    ["has another prefix", { allowedPrefixes: [Prefix.parse("10.2.5.0/24")] }, "replace"],
    [
      "has one more prefix",
      { allowedPrefixes: [...want.allowedPrefixes, Prefix.parse("10.2.5.0/24")] },
      "replace",
    ],
    ["has a preshared key", { presharedKey: PSK, hasFreshSession: true }, "replace"],
    ["sends keep-alives", { keepaliveSeconds: 5, hasFreshSession: true }, "replace"],
  ])("that %s", (_what, changes, expected) => {
    expect(op({ ...want, ...changes })).toBe(expected);
  });

  it("is ours unless it is for addresses elsewhere only", () => {
    const owner = (...texts: readonly string[]) =>
      ownerOf({ ...want, allowedPrefixes: texts.map((text) => Prefix.parse(text)) }, scope);
    expect([owner("10.2.5.0/24"), owner("172.16.0.0/12", "10.2.5.0/24"), owner()]).toEqual([
      "ours",
      "ours",
      "ours",
    ]);
    expect(owner("172.16.0.0/12")).toBe("foreign");
  });

  it("keeps the endpoint that it roamed to while its session is fresh, and follows its lease otherwise", () => {
    const live = {
      publicKey: PEER_KEY,
      presharedKey: null,
      endpoint: want.endpoint,
      keepaliveSeconds: 0,
      lastHandshakeSeconds: 1000,
      receivedBytes: 0n,
      sentBytes: 0n,
      allowedPrefixes: [],
    };
    expect(hasRoamed(want, live, 100)).toBe(false);
    expect(hasRoamed(want, { ...live, endpoint: elsewhere }, 179)).toBe(true);
    expect(hasRoamed(want, { ...live, endpoint: elsewhere }, 180)).toBe(false);
    expect(hasRoamed({ ...want, hasFreshSession: true }, live, 100)).toBe(true);
    expect(hasRoamed(want, { ...live, endpoint: elsewhere, lastHandshakeSeconds: 0 }, null)).toBe(false);
  });

  it("with a new key comes before the one with the old key goes, and after the device has its key", () => {
    const [link, device] = backend.planBase(OWN) as [KernelObject, KernelObject];
    const changes = [
      { op: "delete", object: { ...want, publicKey: OTHER_KEY } },
      { op: "create", object: want },
      { op: "create", object: device },
      { op: "create", object: link },
    ] as const;
    const order = inOrder(changes.map((change) => ({ change }))).map(({ change: { op, object } }) => [
      op,
      object.kind,
    ]);
    expect(order).toEqual([
      ["create", "link"],
      ["create", "wg-device"],
      ["create", "wg-peer"],
      ["delete", "wg-peer"],
    ]);
  });
});
