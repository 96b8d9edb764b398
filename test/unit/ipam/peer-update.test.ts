/** What crosses from the leases to the planner: nothing before a listing, then all peers, then what changed. */

import { expect, it } from "vitest";
import { PeerUpdates } from "../../../ipam/leases/peer-update.ts";
import { peer } from "../../support/vxlan-fixture.ts";

it("gives nothing before the store was listed, then all peers, then changes", () => {
  const peers = new Map([[peer(4).key, peer(4)]]);
  let isSynced = false;
  let changed = new Set<string>();
  const table = {
    get isSynced() {
      return isSynced;
    },
    peers,
    takeChanged: () => {
      const taken = changed;
      changed = new Set();
      return taken;
    },
  };
  const updates = new PeerUpdates(table);
  expect(updates.take()).toBeNull();
  isSynced = true;
  const first = updates.take();
  expect(first).toMatchObject({ type: "whole", peers: new Map(peers) });
  peers.set(peer(5).key, peer(5)).delete(peer(4).key);
  changed = new Set([peer(4).key, peer(5).key]);
  expect(updates.take()).toMatchObject({
    type: "delta",
    peers: new Map([
      [peer(4).key, null],
      [peer(5).key, peers.get(peer(5).key)],
    ]),
  });
  expect([...(first?.peers.keys() ?? [])]).toEqual([peer(4).key]);
  expect(updates.take()?.peers.size).toBe(0);
});
