/** A host learns from the common rule that the others reject its own lease. */

import { describe, expect, it } from "vitest";
import { formatLeaseValue } from "../../../ipam/leases/lease-codec.ts";
import { PeerTable } from "../../../ipam/leases/peer-table.ts";
import { silentLogger } from "../../../ipam/log.ts";
import type { StoreEntry } from "../../../ipam/stores/contracts.ts";
import { attrs } from "../../support/lease-fixture.ts";
import { OWN_KEY, peerTableLab } from "../../support/peer-table-lab.ts";
import { OWN_MAC } from "../../support/vxlan-fixture.ts";

const OWN = "10.2.9.0-24";

function entry(key: string, number: number, createRevision: bigint, ip = `192.168.1.${number}`): StoreEntry {
  const value = formatLeaseValue(attrs(number, { ip }));
  return { key, value, revision: createRevision, createRevision, storeLeaseId: "1" };
}

function tableOf(...entries: StoreEntry[]): PeerTable {
  const table = new PeerTable({
    networks: [],
    ownAddresses: attrs(1).publicAddress,
    ownIdentities: [],
    local: [],
    leaveGraceMs: 0,
    holdDownMs: 0,
    logger: silentLogger,
    rejectPeer: () => null,
    rejectLocally: () => null,
    identitiesOf: () => [],
  });
  table.setOwnKey(OWN);
  table.apply({ type: "list", revision: 100n, entries, config: null }, 0);
  return table;
}

const IP = String(attrs(1).publicAddress[4]);
const own = (createRevision: bigint) => entry(OWN, 1, createRevision, IP);

describe("our own lease", () => {
  it("is accepted beside leases of other hosts", () => {
    expect(tableOf(own(10n), entry("10.2.8.0-24", 2, 5n)).ownRejection).toBeNull();
  });

  it("is rejected when an older lease has our public address, and accepted when that one is younger", () => {
    const rival = (revision: bigint) => entry("10.2.8.0-24", 2, revision, IP);
    expect(tableOf(own(10n), rival(5n)).ownRejection).toMatch(
      /lease 10\.2\.9\.0-24: its public address .* lease 10\.2\.8\.0-24/,
    );
    expect(tableOf(own(10n), rival(15n)).ownRejection).toBeNull();
  });

  it("is rejected when an older lease overlaps its subnet", () => {
    expect(tableOf(own(10n), entry("10.2.8.0-22", 2, 5n)).ownRejection).toMatch(
      /overlaps lease 10\.2\.8\.0-22/,
    );
  });

  it("is accepted when the older lease is itself rejected for a still older one", () => {
    const table = tableOf(own(10n), entry("10.2.8.0-24", 2, 5n, IP), entry("10.2.8.0-23", 3, 2n));
    expect(table.ownRejection).not.toMatch(/10\.2\.8\.0-24/);
  });

  it("is accepted again once the older lease is gone", () => {
    const table = tableOf(own(10n), entry("10.2.8.0-24", 2, 5n, IP));
    table.apply(
      { type: "changes", revision: 101n, changes: [{ type: "delete", key: "10.2.8.0-24", revision: 101n }] },
      1,
    );
    expect(table.ownRejection).toBeNull();
  });

  it("is judged when the store reports it after the others", () => {
    const table = tableOf(entry("10.2.8.0-24", 2, 5n, IP));
    expect(table.ownRejection).toBeNull();
    table.apply({ type: "changes", revision: 101n, changes: [{ type: "put", entry: own(101n) }] }, 1);
    expect(table.ownRejection).toContain("10.2.8.0-24");
  });

  it("is accepted with its own hardware address, unless an older lease has that", () => {
    const { table, put } = peerTableLab();
    const withMac = (given: StoreEntry): StoreEntry => {
      const value = JSON.parse(given.value) as { BackendData: { VtepMAC: string } };
      value.BackendData.VtepMAC = OWN_MAC;
      return { ...given, value: JSON.stringify(value) };
    };
    put(withMac({ ...entry(OWN_KEY, 1, 10n), revision: 1001n }));
    expect(table.ownRejection).toBeNull();
    put(withMac({ ...entry("10.2.8.0-24", 2, 5n), revision: 1002n }));
    expect(table.ownRejection).toContain(OWN_MAC);
  });
});
