/** All named networks of a store as an administrator sees them: damaged ones and members of hosts that are away too. */

import { errorMessage, TulleError } from "../../ipam/errors.ts";
import {
  type CatalogueEntry,
  claimsOf,
  decodeCatalogue,
  idsOf,
} from "../../ipam/named-networks/catalogue-record.ts";
import { decodeMembers } from "../../ipam/named-networks/member-codec.ts";
import type {
  HostId,
  HostRecord,
  Member,
  NamedNetwork,
  NetworkId,
} from "../../ipam/named-networks/named-network.ts";
import { NamedNetworksTable } from "../../ipam/named-networks/networks-table.ts";
import {
  CATALOGUE_RECORD,
  HOSTS_FOLDER,
  MEMBERS_FOLDER,
  parseMembersRecord,
} from "../../ipam/named-networks/record-names.ts";
import { listRestorations, type Restoration } from "../../ipam/named-networks/restorations.ts";
import type { Records, StoreEntry } from "../../ipam/stores/contracts.ts";

/** A container's interface, and where it is. */
export interface PlacedMember {
  readonly network: NamedNetwork;
  readonly host: HostId;
  readonly hostName: string;
  /** True while the host's daemon keeps its record in the store. */
  readonly isHostHere: boolean;
  readonly member: Member;
}

export interface DamagedNetwork {
  readonly title: string;
  readonly problem: string;
}

export interface Overview {
  readonly networks: readonly NamedNetwork[];
  readonly damaged: readonly DamagedNetwork[];
  /** Of all networks, damaged ones too, as far as they can be read; null without a readable catalogue. */
  readonly ids: ReadonlySet<string> | null;
  readonly hosts: ReadonlyMap<HostId, HostRecord>;
  readonly members: readonly PlacedMember[];
  readonly restorations: readonly Restoration[];
  /** Records and members that daemons do not use. */
  readonly problems: readonly string[];
}

/** No host has it: nothing in the store counts as one's own. */
const NO_HOST = "" as HostId;
const AT_ONCE = { leaveGraceMs: 0, holdDownMs: 0 };

/** Reads everything but the addresses. Throws StoreError. */
export async function readOverview(records: Records, signal: AbortSignal): Promise<Overview> {
  const [catalogue, hosts, members, restorations] = await Promise.all([
    records.read(CATALOGUE_RECORD, signal),
    records.list(HOSTS_FOLDER, signal),
    records.list(MEMBERS_FOLDER, signal),
    listRestorations(records, signal),
  ]);
  const table = new NamedNetworksTable(NO_HOST, AT_ONCE);
  table.restore([...(catalogue === null ? [] : [catalogue]), ...hosts, ...members]);
  const { view, problems } = table;
  const networks = [...view.networks.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const here = [...view.members].flatMap(([network, byHost]) =>
    [...byHost.values()].flatMap(({ host, members }) =>
      place(view.networks, view.hosts, network, host, members),
    ),
  );
  const away = members.flatMap((entry) => placeAway(entry, view.networks, view.hosts));
  return {
    networks,
    damaged: catalogue === null ? [] : damagedNetworks(catalogue),
    ids: catalogue === null ? null : idsIn(catalogue),
    hosts: view.hosts,
    members: [...here, ...away].sort(byNetworkAndHost),
    restorations,
    problems,
  };
}

/** Entries of the catalogue that cannot be used; one that is not a catalogue has none, and its own problem. */
function damagedNetworks({ value }: StoreEntry): readonly DamagedNetwork[] {
  let entries: readonly CatalogueEntry[];
  try {
    entries = decodeCatalogue(value).networks;
  } catch (error) {
    if (error instanceof TulleError) return [{ title: "the catalogue", problem: errorMessage(error) }];
    throw error;
  }
  return entries.flatMap((entry) =>
    entry.problem === null ? [] : [{ title: claimsOf(entry).title, problem: entry.problem }],
  );
}

function idsIn({ value }: StoreEntry): ReadonlySet<string> | null {
  try {
    return idsOf(decodeCatalogue(value));
  } catch (error) {
    if (error instanceof TulleError) return null;
    throw error;
  }
}

function place(
  networks: ReadonlyMap<NetworkId, NamedNetwork>,
  hosts: ReadonlyMap<HostId, HostRecord>,
  id: NetworkId,
  host: HostId,
  members: readonly Member[],
): readonly PlacedMember[] {
  const network = networks.get(id);
  if (network === undefined) return [];
  const record = hosts.get(host);
  const known = { network, host, hostName: record?.name ?? host, isHostHere: record !== undefined };
  return members.map((member) => ({ ...known, member }));
}

/** Members that no host uses at the moment, because theirs is away. */
function placeAway(
  { key, value }: StoreEntry,
  networks: ReadonlyMap<NetworkId, NamedNetwork>,
  hosts: ReadonlyMap<HostId, HostRecord>,
): readonly PlacedMember[] {
  const parsed = parseMembersRecord(key);
  if (parsed === null || hosts.has(parsed.host)) return [];
  try {
    return place(networks, hosts, parsed.network, parsed.host, decodeMembers(value).members);
  } catch (error) {
    // The table has its problem.
    if (error instanceof TulleError) return [];
    throw error;
  }
}

function byNetworkAndHost(a: PlacedMember, b: PlacedMember): number {
  const [left, right] = [a, b].map(({ network, hostName }) => `${network.name}\0${hostName}`);
  return (left ?? "") < (right ?? "") ? -1 : 1;
}
