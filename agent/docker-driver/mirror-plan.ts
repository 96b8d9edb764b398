/**
 * What must change so that the engine has exactly the named networks of the store, and the store those that users
 * created with the engine. Pure: snapshots in, steps out.
 */

import type { NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import { isAddressesOnly } from "./context.ts";
import { NETWORK_KEY } from "./driver-options.ts";
import type { EngineNetwork } from "./engine-model.ts";
import { isNetworkId, type NetworkId } from "./network-id.ts";
import { type DockerNetwork, isUnclaimed, type PoolRecord } from "./records.ts";

/** As in `docker network create -d tulle --ipam-driver tulle`. */
export const DRIVER = "tulle";

export interface MirrorFacts {
  readonly store: ReadonlyMap<NetworkId, NamedNetwork>;
  /** False: what is missing in `store` may exist. */
  readonly isStoreFollowed: boolean;
  readonly engine: readonly EngineNetwork[];
  readonly known: ReadonlyMap<string, DockerNetwork>;
  readonly pools: readonly PoolRecord[];
  /** Networks that are to be removed from the store. */
  readonly removals: ReadonlySet<NetworkId>;
  /** Whether a container of this host is on the engine's network. */
  readonly isInUse: (dockerId: string) => boolean;
  /** Whether the engine has been without the network for long: a list may be older than the last creation. */
  readonly isLost: (dockerId: string) => boolean;
  /** Whether a network had time to take the draft of this PoolID. */
  readonly isOldDraft: (poolId: string) => boolean;
}

export type MirrorStep =
  /** The engine has a network of ours that we do not remember. */
  | { readonly type: "learn"; readonly engine: EngineNetwork; readonly network: NetworkId | null }
  /** A user created it: publish, adopt or replace it. */
  | { readonly type: "settle"; readonly engine: EngineNetwork; readonly docker: DockerNetwork }
  /** Another network driver takes its addresses from us. */
  | { readonly type: "publish-lan"; readonly engine: EngineNetwork; readonly pools: readonly PoolRecord[] }
  /** No network came of the draft. */
  | { readonly type: "give-back"; readonly pool: PoolRecord }
  /** The engine has lost it. */
  | { readonly type: "forget"; readonly dockerId: string }
  | { readonly type: "create"; readonly network: NamedNetwork }
  | { readonly type: "delete"; readonly dockerId: string; readonly name: string }
  /** It cannot be as it should. */
  | { readonly type: "report"; readonly network: string; readonly problem: string };

/** In the order in which they are to be carried out. */
export function planMirror(facts: MirrorFacts): readonly MirrorStep[] {
  const { engine, known } = facts;
  const ours = engine.filter(({ driver }) => driver === DRIVER);
  const present = new Set(engine.map(({ dockerId }) => dockerId));
  const lost = [...known.keys()].filter((id) => !present.has(id) && facts.isLost(id));
  return [
    ...lost.map((dockerId) => ({ type: "forget", dockerId }) as const),
    ...ours.flatMap((network) => planPresent(facts, network)),
    ...planLans(facts),
    ...planLeftDrafts(facts),
    ...planMissing(facts),
  ];
}

function planPresent(facts: MirrorFacts, engine: EngineNetwork): readonly MirrorStep[] {
  const { store, known, isStoreFollowed, isInUse } = facts;
  const docker = known.get(engine.dockerId);
  if (docker === undefined) return [{ type: "learn", engine, network: recognize(facts, engine) }];
  if (docker.network === null) return [{ type: "settle", engine, docker }];
  if (store.has(docker.network) || !isStoreFollowed) return [];
  if (!isInUse(engine.dockerId)) return [{ type: "delete", dockerId: engine.dockerId, name: engine.name }];
  const problem = "was removed from the store while containers of this host use it: stop them";
  return [{ type: "report", network: engine.name, problem }];
}

/** By the mark of a network that tulled made, else by name and subnets. */
function recognize({ store }: MirrorFacts, engine: EngineNetwork): NetworkId | null {
  // Another IPAM driver gives addresses that containers of other hosts have.
  if (engine.ipamDriver !== DRIVER) return null;
  const mark = engine.options[NETWORK_KEY] ?? engine.ipamOptions[NETWORK_KEY] ?? "";
  if (isNetworkId(mark)) return mark;
  const same = [...store.values()].find(({ name }) => name === engine.name);
  return same !== undefined && hasSubnetsOf(engine, same) ? same.id : null;
}

/** Whether the engine's network has exactly the subnets of the named one. */
export function hasSubnetsOf({ subnets }: Pick<EngineNetwork, "subnets">, { pools }: NamedNetwork): boolean {
  const wanted = Object.values(pools).map(({ subnet }) => `${subnet}`);
  return wanted.length === subnets.length && subnets.every(({ subnet }) => wanted.includes(`${subnet}`));
}

function planLans({ engine, pools }: MirrorFacts): readonly MirrorStep[] {
  return engine.flatMap((network) => {
    if (network.driver === DRIVER || network.ipamDriver !== DRIVER) return [];
    const drafts = pools.filter(
      (pool) => pool.network === null && network.subnets.some(({ subnet }) => subnet.equals(pool.subnet)),
    );
    return drafts.length === 0 ? [] : [{ type: "publish-lan", engine: network, pools: drafts } as const];
  });
}

/**
 * The engine releases no pool whose request failed, and forgets one when it is killed before CreateNetwork. A network of
 * another driver has its drafts until they are published.
 */
function planLeftDrafts({ engine, pools, isOldDraft }: MirrorFacts): readonly MirrorStep[] {
  const lans = engine.filter(({ driver, ipamDriver }) => driver !== DRIVER && ipamDriver === DRIVER);
  const used = new Set(lans.flatMap(({ subnets }) => subnets.map(({ subnet }) => `${subnet}`)));
  return pools
    .filter((pool) => isUnclaimed(pool) && isOldDraft(pool.poolId) && !used.has(`${pool.subnet}`))
    .map((pool) => ({ type: "give-back", pool }));
}

function planMissing(facts: MirrorFacts): readonly MirrorStep[] {
  const { store, known, removals, engine } = facts;
  const here = new Set([...known.values()].map(({ network }) => network));
  for (const network of engine) {
    const mark = network.options[NETWORK_KEY];
    if (network.driver === DRIVER && mark !== undefined && isNetworkId(mark)) here.add(mark);
  }
  const missing = [...store.values()].filter(
    (network) => !here.has(network.id) && !removals.has(network.id) && !isAddressesOnly(network),
  );
  return missing.flatMap((network): MirrorStep[] => {
    const other = engine.find(({ name }) => name === network.name);
    if (other === undefined) return [{ type: "create", network }];
    // Ours is settled first: it is adopted, or replaced by this one.
    if (other.driver === DRIVER) return [];
    const problem = `cannot be created on this host: its Docker has a network of this name with the driver ${other.driver}; remove that one`;
    return [{ type: "report", network: network.name, problem }];
  });
}
