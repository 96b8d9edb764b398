/** What leases cost before anything reaches the kernel: the first listing, and one host that joins. */

import { Planner } from "../../backends/planner.ts";
import { systemClock } from "../../ipam/clock.ts";
import { PeerTable } from "../../ipam/leases/peer-table.ts";
import { PeerUpdates } from "../../ipam/leases/peer-update.ts";
import { silentLogger } from "../../ipam/log.ts";
import type { StoreChange, StoreEntry } from "../../ipam/stores/contracts.ts";
import { entry, prefix, subnets, value } from "../support/lease-fixture.ts";
import { ADDRESSES, prepareVxlan } from "../support/vxlan-fixture.ts";
import type { Bench } from "./support/report.ts";

const NETWORK = "10.0.0.0/8";
const OWN_KEY = "10.255.1.0-24";

export const bench: Bench = async (report, { isQuick }) => {
  const sizes = isQuick ? [100] : [1000, 5000];
  for (const size of sizes) {
    const rounds = Array.from({ length: isQuick ? 1 : 20 }, () => measure(size));
    report.figure({
      name: `${size} leases: first listing, judged and planned`,
      unit: "ms",
      values: rounds.map(({ listMs }) => listMs),
    });
    report.figure({
      name: `${size} leases: one join, judged and planned`,
      unit: "ms",
      values: rounds.map(({ joinMs }) => joinMs),
    });
  }
  const contradicting = isQuick ? 100 : 20_000;
  for (const [title, entryOf] of CONTRADICTIONS) {
    const values = changesAmong(Array.from({ length: contradicting }, (_, index) => entryOf(index + 2)));
    report.figure({ name: `${contradicting} leases ${title}: one change`, unit: "ms", values });
  }
};

const HOLDER = entry("10.0.0.0-9", 1);
/** Leases of which one can be in use. */
const CONTRADICTIONS: readonly (readonly [string, (n: number) => StoreEntry])[] = [
  ["with one public address", (n) => ({ ...hostEntry(n), value: value(n, { ip: "192.168.77.77" }) })],
  ["inside an older one", (n) => (n === 2 ? HOLDER : hostEntry(n))],
];

/** How long each of these changes takes: a host joins, the last lease changes, the accepted one becomes the youngest. */
function changesAmong(entries: readonly StoreEntry[]): readonly number[] {
  const peers = makeTable();
  const revision = BigInt(entries.length);
  peers.apply({ type: "list", revision, entries, config: null }, 0);
  const [first] = entries;
  const last = entries.at(-1);
  if (first === undefined || last === undefined) return [];
  const changed = (given: StoreEntry): StoreEntry => ({ ...given, revision: revision * 2n });
  const newcomer = entry("10.200.1.0-24", 60_000, { createRevision: revision + 1n });
  const messages: readonly StoreChange[] = [
    { type: "put", entry: newcomer },
    { type: "put", entry: changed(last) },
    { type: "put", entry: { ...changed(first), createRevision: revision + 2n } },
  ];
  return messages.map((change) =>
    timeOf(() => {
      peers.apply({ type: "changes", revision: revision + 3n, changes: [change] }, 0);
      peers.takeChanged();
      peers.takeChangedReasons();
    }),
  );
}

function makeTable(): PeerTable {
  const backend = prepareVxlan();
  const table = new PeerTable({
    networks: [prefix(NETWORK)],
    ownAddresses: { 4: ADDRESSES[4] },
    ownIdentities: [],
    local: [],
    leaveGraceMs: 0,
    holdDownMs: 30_000,
    logger: silentLogger,
    rejectLocally: () => null,
    rejectPeer: (lease) => backend.rejectPeer(lease),
    identitiesOf: (lease) => backend.peerIdentities(lease),
  });
  table.setOwnKey(OWN_KEY);
  return table;
}

function measure(size: number): { readonly listMs: number; readonly joinMs: number } {
  const backend = prepareVxlan();
  const peers = makeTable();
  const planner = new Planner(backend, true);
  const updates = new PeerUpdates(peers);
  const own = subnets(OWN_KEY);
  const plan = (): void => {
    const update = updates.take();
    if (update !== null) planner.plan({ own, peers: update });
  };
  const entries = Array.from({ length: size }, (_, index) => hostEntry(index + 1));
  const listMs = timeOf(() => {
    peers.apply({ type: "list", revision: BigInt(size), entries, config: null }, 0);
    plan();
  });
  const newcomer = hostEntry(size + 1);
  const joinMs = timeOf(() => {
    const changes = [{ type: "put", entry: newcomer }] as const;
    peers.apply({ type: "changes", revision: newcomer.revision, changes }, 0);
    plan();
  });
  return { listMs, joinMs };
}

function hostEntry(n: number): StoreEntry {
  return entry(`10.${Math.floor(n / 256)}.${n % 256}.0-24`, n);
}

function timeOf(action: () => void): number {
  const startMs = systemClock.monotonicMs();
  action();
  return systemClock.monotonicMs() - startMs;
}
