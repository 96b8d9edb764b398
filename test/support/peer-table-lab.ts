/** A peer table of a host with 10.2.1.0/24 of 10.2.0.0/16, and what the store tells it. */

import { vxlanBackend } from "../../backends/vxlan.ts";
import { Address } from "../../ipam/addresses/ip.ts";
import { PeerTable, type PeerTableOptions } from "../../ipam/leases/peer-table.ts";
import type { StoreChange, StoreEntry } from "../../ipam/stores/contracts.ts";
import { entry, NETWORK, prefix, recordingLogger } from "./lease-fixture.ts";
import { hostFacts, OWN_MAC } from "./vxlan-fixture.ts";

export const HOLD_DOWN_MS = 30_000;
export const LEAVE_GRACE_MS = 2000;
export const OWN_ADDRESS = Address.parse("192.168.50.1");
export const OWN_KEY = "10.2.1.0-24";

export function peerTableLab(overrides: Partial<PeerTableOptions> = {}) {
  const logger = recordingLogger();
  const backend = vxlanBackend.parseOptions({}).prepare(hostFacts(), [4], { macFor: () => OWN_MAC });
  const table = new PeerTable({
    networks: [prefix("10.2.0.0/16")],
    ownAddresses: { 4: OWN_ADDRESS },
    ownIdentities: [OWN_MAC],
    local: [],
    leaveGraceMs: LEAVE_GRACE_MS,
    holdDownMs: HOLD_DOWN_MS,
    logger,
    damageOf: (lease) => backend.damageOf?.(lease) ?? null,
    rejectLocally: () => null,
    rejectPeer: (lease) => backend.rejectPeer(lease),
    identitiesOf: (lease) => backend.peerIdentities(lease),
    ...overrides,
  });
  table.setOwnKey(OWN_KEY);
  let revision = 1_000n;
  const list = (entries: readonly StoreEntry[], nowMs = 0, config: string | null = NETWORK): void => {
    table.apply({ type: "list", revision, entries, config }, nowMs);
  };
  const change = (changes: readonly StoreChange[], nowMs = 0): void => {
    revision += 1n;
    table.apply({ type: "changes", revision, changes }, nowMs);
  };
  const put = (given: StoreEntry, nowMs = 0): void => change([{ type: "put", entry: given }], nowMs);
  const del = (key: string, nowMs = 0): void => {
    change([{ type: "delete", key, revision: revision + 1n }], nowMs);
  };
  const keys = (): string[] => [...table.peers.keys()].sort();
  const reason = (key: string): string | undefined => table.snapshot().rejected.get(key)?.reason;
  return { table, list, change, put, del, keys, reason, logger };
}

/** Hosts 2 .. count + 1 in 10.2.<n>.0/24. */
export function hosts(count: number): StoreEntry[] {
  return Array.from({ length: count }, (_, index) => entry(`10.2.${index + 2}.0-24`, index + 2));
}
