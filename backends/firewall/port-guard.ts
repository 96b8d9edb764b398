/**
 * Lets each container send into its bridge with its own addresses only, whichever engine holds the other rules: one
 * table of nft's bridge family, with a chain for each port.
 *
 * iptables has no such hook. Where nft is not installed, the status says that frames are not checked.
 */

import { entriesOf, type Family } from "../../ipam/addresses/ip.ts";
import { CodecError } from "../../ipam/errors.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import type { CommandRunner } from "./command.ts";
import { type Drift, type RemoveOptions, unplanned } from "./engine.ts";
import { FirewallError } from "./errors.ts";
import { Listings } from "./listings.ts";
import { type FirewallPlans, type GuardedPort, LINK_LOCAL_PREFIX } from "./rules.ts";

const TABLE = "bridge tulle-ports";
const ENTRY = "prerouting";
const MAP = "ports";

/** What a chain must contain, and how this version of nft listed it after it was written. */
interface WrittenChain {
  readonly lines: string;
  readonly listed: string;
}

/** The table as nft lists it: rules by chain, and the chain of each port. */
interface ListedPorts {
  readonly chains: ReadonlyMap<string, string>;
  readonly ports: ReadonlySet<string>;
}

export class PortGuard {
  readonly #runner: CommandRunner;
  readonly #listings: Listings;
  /** By chain. Empty at the start, when every chain is written once. */
  readonly #written = new Map<string, WrittenChain>();
  /** By chain: the lines of those that were written and not listed since. */
  readonly #unconfirmed = new Map<string, string>();

  constructor(runner: CommandRunner, listings = new Listings()) {
    this.#runner = runner;
    this.#listings = listings;
  }

  /** Makes the table equal to the ports of all plans, and returns what differed. Throws FirewallError. */
  async reconcile(plans: FirewallPlans, signal?: AbortSignal): Promise<readonly Drift[]> {
    const plansWithPorts = [...plans.values()].flatMap(({ ports }) => (ports === undefined ? [] : [ports]));
    if (plansWithPorts.length === 0) return [];
    const wanted = plansWithPorts.flat();
    const listed = await this.#list(signal);
    const chains = new Map([[ENTRY, ENTRY_LINES], ...wanted.flatMap(chainsOf)]);
    this.#learn(listed);
    const stale = [...(listed?.chains.keys() ?? [])].filter((name) => !chains.has(name));
    const changed = [...chains].filter(([name, lines]) => !this.#isWritten(name, lines, listed));
    const ports = wanted.map(({ name }) => name);
    const unchecked = ports.filter((name) => !listed?.ports.has(name));
    const surplus = [...(listed?.ports ?? [])].filter((name) => !ports.includes(name));
    const drifts = [
      ...changed.map(
        ([name]) =>
          `table ${TABLE}: chain ${name} ${listed?.chains.has(name) ? "holds other rules" : "is missing"}`,
      ),
      ...stale.map((name) => unplanned(`table ${TABLE}: chain ${name}`)),
      ...unchecked.map((name) => `table ${TABLE}: port ${name} is not checked`),
      ...surplus.map((name) => unplanned(`table ${TABLE}: port ${name}`)),
    ];
    if (drifts.length === 0) return [];
    const isMapSame = unchecked.length === 0 && surplus.length === 0;
    await this.#apply(scriptOf([...chains.keys()], changed, stale, isMapSame ? null : ports), signal);
    for (const [name, lines] of changed) this.#unconfirmed.set(name, lines.join("\n"));
    for (const name of stale) this.#written.delete(name);
    return drifts;
  }

  /** Removes the table and returns what it was; `isDryRun` only returns. */
  async remove({ isDryRun = false, signal }: RemoveOptions = {}): Promise<readonly string[]> {
    if ((await this.#list(signal)) === null) return [];
    if (!isDryRun) await this.#apply([`delete table ${TABLE}`], signal);
    this.#written.clear();
    this.#unconfirmed.clear();
    return [`table ${TABLE}`];
  }

  #isWritten(name: string, lines: readonly string[], listed: ListedPorts | null): boolean {
    const written = this.#written.get(name);
    return (
      written !== undefined &&
      written.lines === lines.join("\n") &&
      written.listed === listed?.chains.get(name)
    );
  }

  /** Records how nft lists what was written. A chain that lost or gained rules meanwhile is written again. */
  #learn(shown: ListedPorts | null): void {
    for (const [name, lines] of this.#unconfirmed) {
      const listed = shown?.chains.get(name);
      if (listed !== undefined && countRules(listed) === lines.split("\n").length)
        this.#written.set(name, { lines, listed });
      else this.#written.delete(name);
    }
    this.#unconfirmed.clear();
  }

  async #apply(lines: readonly string[], signal?: AbortSignal): Promise<void> {
    const options = { script: `${lines.join("\n")}\n`, signal };
    this.#listings.forget(TABLE);
    const { exitCode, stderr } = await this.#runner.run("nft", [], options);
    if (exitCode !== 0)
      throw new FirewallError(
        `nft rejected the rules for containers' ports (table ${TABLE}): ${stderr.split("\n")[0]}; the kernel needs nf_tables with the bridge family (CONFIG_NF_TABLES_BRIDGE)`,
        { retryable: true },
      );
  }

  /** Null when there is no such table. */
  async #list(signal?: AbortSignal): Promise<ListedPorts | null> {
    const shown = { nft: (table: string) => table === TABLE };
    if (!this.#listings.mayShow(shown)) return null;
    return await this.#listings.get(TABLE, shown, () => this.#listByProgram(signal));
  }

  async #listByProgram(signal?: AbortSignal): Promise<ListedPorts | null> {
    const { exitCode, stdout, stderr } = await this.#runner.run(
      "nft",
      ["-j", "list", "table", ...TABLE.split(" ")],
      {
        signal,
      },
    );
    if (exitCode !== 0) {
      if (stderr.includes("No such file")) return null;
      throw new FirewallError(`nft cannot list table ${TABLE}: ${stderr.split("\n")[0]}`, {
        retryable: true,
      });
    }
    return parseListing(stdout);
  }
}

/** Frames of other devices than containers' ports leave after one look-up. */
const ENTRY_LINES: readonly string[] = [`iifname vmap @${MAP}`];

/** The chain of a port, and the one for its neighbour advertisements, which are not checked by their source. */
function chainsOf({ name, mac, addresses, tunnelPort }: GuardedPort): [string, readonly string[]][] {
  const advertisements = `${name}-na`;
  const sources = new Map(entriesOf(addresses).map(([family, address]) => [family, `${address}`]));
  const own = (family: Family, ...others: readonly string[]): string =>
    `{ ${[...(sources.has(family) ? [sources.get(family)] : []), ...others].join(", ")} }`;
  const ipv4 = sources.get(4);
  return [
    [
      advertisements,
      advertisementRules(sources.get(6) === undefined ? null : (addresses[6]?.toBytes() ?? null)),
    ],
    [
      name,
      [
        `ether saddr != ${mac} drop`,
        // Neither VLAN tags nor other protocols, in which addresses could hide.
        "ether type != { arp, ip, ip6 } drop",
        `arp saddr ether != ${mac} drop`,
        // The unspecified address is that of a probe (RFC 5227 §2.1.1), which changes no cache.
        `arp saddr ip != ${own(4, "0.0.0.0")} drop`,
        ipv4 === undefined ? "ether type ip drop" : `ip saddr != ${ipv4} drop`,
        `ip6 saddr != ${own(6, LINK_LOCAL_PREFIX[6], "::")} drop`,
        "icmpv6 type { nd-router-advert, nd-redirect } drop",
        `icmpv6 type nd-neighbor-advert jump ${advertisements}`,
        `udp dport ${tunnelPort} drop`,
      ],
    ],
  ];
}

/**
 * An advertisement says whose address the target is (RFC 4861 §4.4): bytes 8 to 23 of the message. nft 1.0 has no word
 * for it, so they are compared in words of 32 bits.
 */
function advertisementRules(address: Uint8Array | null): readonly string[] {
  const linkLocal = "@th,64,10 0x3fa return";
  if (address === null) return [linkLocal, "drop"];
  const words = [0, 4, 8, 12].map((at) => {
    const value = Buffer.from(address).readUInt32BE(at);
    return `@th,${64 + 8 * at},32 ${value}`;
  });
  return [`${words.join(" ")} return`, linkLocal, "drop"];
}

/** One transaction: no frame meets an incomplete chain. `ports`: null leaves the map as it is. */
function scriptOf(
  all: readonly string[],
  changed: readonly (readonly [string, readonly string[]])[],
  stale: readonly string[],
  ports: readonly string[] | null,
): readonly string[] {
  return [
    `add table ${TABLE}`,
    `add map ${TABLE} ${MAP} { type ifname : verdict; }`,
    ...all.map(
      (name) =>
        `add chain ${TABLE} ${name}${name === ENTRY ? " { type filter hook prerouting priority -300; }" : ""}`,
    ),
    ...changed.map(([name]) => `flush chain ${TABLE} ${name}`),
    ...changed.flatMap(([name, lines]) => lines.map((line) => `add rule ${TABLE} ${name} ${line}`)),
    ...(ports === null ? [] : [`flush map ${TABLE} ${MAP}`]),
    ...(ports ?? []).map((name) => `add element ${TABLE} ${MAP} { "${name}" : jump ${name} }`),
    ...stale.map((name) => `flush chain ${TABLE} ${name}`),
    ...stale.map((name) => `delete chain ${TABLE} ${name}`),
  ];
}

/** Handles change with every write and are left out. */
function parseListing(text: string): ListedPorts {
  const answer: unknown = JSON.parse(text);
  if (!isJsonObject(answer) || !Array.isArray(answer.nftables))
    throw new CodecError(`nft answered no listing of table ${TABLE}`);
  const chains = new Map<string, string[]>();
  const ports = new Set<string>();
  for (const entry of answer.nftables) {
    if (!isJsonObject(entry)) continue;
    const { chain, rule, map } = entry;
    if (isJsonObject(chain)) chains.set(String(chain.name), [hookOf(chain)]);
    if (isJsonObject(rule)) chains.get(String(rule.chain))?.push(JSON.stringify(rule.expr));
    if (isJsonObject(map) && map.name === MAP && Array.isArray(map.elem))
      for (const pair of map.elem) if (leadsToItsChain(pair)) ports.add(String((pair as unknown[])[0]));
  }
  return { chains: new Map([...chains].map(([name, rules]) => [name, rules.join("\n")])), ports };
}

/** A port whose element jumps elsewhere counts as absent. */
function leadsToItsChain(pair: unknown): boolean {
  if (!Array.isArray(pair) || !isJsonObject(pair[1])) return false;
  const { jump } = pair[1];
  return isJsonObject(jump) && jump.target === pair[0];
}

function hookOf({ type, hook, prio, policy }: JsonObject): string {
  return JSON.stringify([type, hook, prio, policy]);
}

/** The first line is the hook. */
function countRules(listed: string): number {
  return listed.split("\n").length - 1;
}
